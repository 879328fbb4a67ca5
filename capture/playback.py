"""A recording being read: its metadata, then frames and notes in the order in which they were recorded.

Owns reading of MCAP files that `tape.py` wrote, whole or cut off (by a kill, a full disk, a copy): reading ends with the last
whole chunk, and says so. Does not own what is done with it. The file is not trusted: sizes are bounded, checksums are checked.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Footer, McapRecord, Message, Metadata, Schema, Statistics
from mcap.stream_reader import StreamReader, breakup_chunk

from capture import recorded
from capture.foxglove import Encoded, picture_of
from capture.frame import Frame, SourceInfo, SourceState
from capture.recorded import Epoch, Json, RecordingError, frame_of, info_of, state_of

MAX_RECORD_BYTES = 1 << 30
"""No record of ours is nearly as long, packed or unpacked."""
_BROKEN = (McapError, struct.error, UnicodeDecodeError, ValueError, KeyError, zstandard.ZstdError)
_PICTURES = ("foxglove.CompressedImage", "foxglove.RawImage")
_OF_FRAMES = (*_PICTURES, "mien.Frame")


@dataclass(frozen=True, slots=True)
class Noted:
    """A JSON message that is not a frame's facts."""

    topic: str
    body: Json
    utc_ns: int


@dataclass(frozen=True, slots=True)
class Said:
    """A metadata record: its name and its values."""

    name: str
    values: dict[str, str]


Entry = Frame | SourceInfo | SourceState | Noted | Said


@dataclass(slots=True)
class Playback:
    """One recording. `metadata`: the last record of each name read so far; those of the beginning are there from the start.

    `cut`: reading has met the end of what was written before the end of the recording. `messages`: per topic, as the index at
    the end says, None until it was read.
    """

    path: Path
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    cut: bool = False
    messages: dict[str, int] | None = None

    @property
    def epoch(self) -> Epoch:
        """Return the moment on both clocks."""
        about = self.metadata[recorded.RECORDING]
        return Epoch(int(about["utc_ns"]), int(about["monotonic_ns"]))

    @property
    def has_pixels(self) -> bool:
        """Return whether pictures were recorded."""
        return self.metadata[recorded.RECORDING].get("pixels") == "true"

    @property
    def whole(self) -> bool:
        """Return whether, once all was read, the recording had ended as it should: not by a kill, a full disk or an overflow."""
        end = self.metadata.get(recorded.END)
        return not self.cut and end is not None and "error" not in end

    def entries(self, frames: bool = True) -> Iterator[Entry]:
        """Yield everything, or all but the frames, in the order in which it was recorded; may be called again.

        Raises:
            RecordingError: the file cannot be read, or holds what no recording of ours does.
        """
        channels: dict[int, tuple[str, str]] = {}
        pictures: dict[str, tuple[int, Encoded]] = {}
        schemas: dict[int, str] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                channels[record.id] = (record.topic, schemas.get(record.schema_id, ""))
            elif isinstance(record, Metadata):
                self.metadata[record.name] = record.metadata
                yield info_of(record.metadata) if record.name == recorded.SOURCE else Said(record.name, record.metadata)
            elif isinstance(record, Message):
                known = channels.get(record.channel_id)
                if known is None:
                    raise RecordingError(
                        "recording-broken", f"{self.path}: a message of channel {record.channel_id}, which nothing describes"
                    )
                topic, schema = known
                if not frames and schema in _OF_FRAMES:
                    continue
                if schema in _PICTURES:
                    pictures[topic.rpartition("/")[0]] = (record.sequence, Encoded(schema, record.data))
                elif schema == "mien.Frame":
                    yield self._frame(record, pictures.pop(topic.rpartition("/")[0], None))
                elif schema == "mien.SourceState":
                    yield state_of(_object(record.data))
                elif not schema.startswith("foxglove."):
                    yield Noted(topic, _object(record.data), record.log_time)
            elif isinstance(record, Statistics):
                self.messages = {channels[id][0]: count for id, count in record.channel_message_counts.items() if id in channels}

    def _frame(self, record: Message, kept: tuple[int, Encoded] | None) -> Frame:
        facts = _object(record.data)
        if kept is None:
            return frame_of(facts, None)
        sequence, message = kept
        if sequence != record.sequence:
            raise RecordingError("recording-broken", f"{self.path}: picture {sequence} stands before the facts of frame {record.sequence}")
        return frame_of(facts, picture_of(message, facts))

    def _records(self) -> Iterator[McapRecord]:
        with self._opened() as file:
            reader = StreamReader(file, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES).records
            while True:
                try:
                    record = next(reader)
                    unpacked = _unpacked(record) if isinstance(record, Chunk) else [record]
                except StopIteration:
                    return
                except _BROKEN:
                    # The last whole chunk was the end, as after a kill; what follows cannot be trusted either.
                    self.cut = True
                    return
                yield from unpacked
                if isinstance(record, Footer):
                    return

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            raise RecordingError("no-such-file", f"{self.path}: there is no such file; check the path") from None
        except OSError as error:
            raise RecordingError("recording-unreadable", f"{self.path}: {error.strerror}; check the path and its permissions") from None


def open_recording(path: Path) -> Playback:
    """Return the recording at `path`, its first metadata read.

    Raises:
        RecordingError: "no-such-file", "recording-unreadable", "not-a-recording".
    """
    playback = Playback(path)
    with playback._opened() as file:
        records = StreamReader(file, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES).records
        try:
            for record in records:
                if isinstance(record, Metadata):
                    playback.metadata[record.name] = record.metadata
                if isinstance(record, Chunk):
                    break
        except _BROKEN:
            playback.cut = True
    about = playback.metadata.get(recorded.RECORDING, {})
    if about.get("version") != str(recorded.VERSION):
        said = (
            f"version {about['version']}, known is {recorded.VERSION}"
            if "version" in about
            else "it has no metadata record 'mien.recording'"
        )
        raise RecordingError("not-a-recording", f"{path}: is not a recording that mien can read ({said}); `mien record` makes them")
    try:
        _ = playback.epoch
    except (KeyError, ValueError) as error:
        raise RecordingError("recording-broken", f"{path}: its clocks cannot be read: {error!r}") from None
    return playback


def _unpacked(chunk: Chunk) -> list[McapRecord]:
    if chunk.uncompressed_size > MAX_RECORD_BYTES:
        raise ValueError(f"a chunk of {chunk.uncompressed_size} bytes")
    return breakup_chunk(chunk, validate_crc=True)


def _object(data: bytes) -> Json:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise RecordingError("recording-broken", f"a message of {len(data)} bytes is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RecordingError("recording-broken", "a JSON message is not an object")
    return body
