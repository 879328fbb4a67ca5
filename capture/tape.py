"""A recording being written: one MCAP file of Foxglove messages, in chunks that are whole on disk.

Owns the file: its channels, its chunks and when they are written, and how it ends when the disk is full. Does not own what
a message looks like (`foxglove.py`, `recorded.py`) or a thread (`recorder.py`).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC, CompressionType, Writer

from capture import foxglove, recorded
from capture.foxglove import Encoded
from capture.frame import Frame, SourceInfo, SourceState
from capture.operating_system import sync_data
from capture.recorded import Consent, Epoch, Json, RecordingError, topic

CHUNK_BYTES = 4 << 20
"""A chunk is written when it is this long, or when `flush` is called."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
# The records "data end" and "footer", both saying that no index follows, and the magic.
_NO_INDEX = struct.pack("<BQI", Opcode.DATA_END, 4, 0) + struct.pack("<BQQQI", Opcode.FOOTER, 20, 0, 0, 0) + MCAP0_MAGIC
_FACTS: Json = {
    "type": "object", "title": "mien.Frame",
    "properties": {
        "source": {"type": "string"}, "modality": {"type": "string"}, "seq": {"type": "integer"},
        "device_t_ns": {"type": ["integer", "null"]}, "arrival_t_ns": {"type": "integer"}, "dropped_before": {"type": "integer"},
        "scale": {"type": "number"}, "offset": {"type": "number"}, "unit": {"type": ["string", "null"]},
        "flags": {"type": "array", "items": {"type": "string"}}, "picture": {"type": "object"},
    },
}  # fmt: skip


_STATE: Json = {
    "type": "object", "title": "mien.SourceState",
    "properties": {
        "source": {"type": "string"}, "modality": {"type": "string"}, "state": {"type": "string"}, "since_ns": {"type": "integer"},
        "detail": {"type": "string"},
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Note:
    """One JSON message: its topic, its JSON schema (whose `title` names it), its text, host monotonic time."""

    topic: str
    schema: Json
    data: bytes
    t_ns: int


class Tape:
    """Writes frames, notes and lines. Any method but `close` raises RecordingError when the file cannot be written on.

    After "storage-full" or "storage-failed" the file ends with its last whole chunk, and stays readable.
    """

    def __init__(self, path: Path, epoch: Epoch, consent: Consent, about: Json, pixels: bool = True) -> None:
        self.path = path
        self.epoch = epoch
        self._pixels = pixels
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._infos: dict[str, SourceInfo] = {}
        self._seqs: dict[str, int] = {}
        try:
            # Pictures of people: nobody else's to read. Never over another recording.
            self._file = _Whole(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise RecordingError("file-exists", f"{path}: exists already and is not written over; give another name") from None
        except OSError as error:
            raise RecordingError("storage-failed", f"{path}: {error.strerror}; check the folder and its permissions") from None
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)  # type: ignore[arg-type]
        self._whole = self._synced = 0
        self._do(lambda: self._writer.start(recorded.PROFILE, "mien"))
        body = {"version": recorded.VERSION, "utc_ns": epoch.utc_ns, "monotonic_ns": epoch.monotonic_ns, "pixels": pixels, **about}
        self.metadata(recorded.RECORDING, recorded.strings(body))
        receipt: Json = {"at": consent.at, "purpose": consent.purpose, "given": consent.by is not None}
        self.metadata(recorded.CONSENT, recorded.strings(receipt | ({} if consent.by is None else {"by": consent.by})))

    def metadata(self, name: str, values: dict[str, str]) -> None:
        """Write a metadata record, at once."""
        self._do(lambda: self._writer.add_metadata(name, values))

    def source(self, info: SourceInfo) -> None:
        """Write what is known of a source, unless it has been written already."""
        if self._infos.get(info.name) == info:
            return
        self._infos[info.name] = info
        self.metadata(recorded.SOURCE, recorded.info_strings(info))
        known = foxglove.calibration(info, self.epoch.utc_ns)
        if known is not None:
            self._message(topic(info.name, "calibration"), known, self.epoch.utc_ns, 0)

    def frame(self, frame: Frame) -> None:
        """Write a frame: its facts and, unless the recording is without pixels, its picture.

        Raises:
            RecordingError: also "bad-sequence": its source's numbers do not increase, so that no log could refer to it.
        """
        if frame.seq <= self._seqs.get(frame.source, 0):
            before = self._seqs[frame.source]
            raise RecordingError("bad-sequence", f"source {frame.source!r}: frame {frame.seq} comes after {before}; its driver is at fault")
        self._seqs[frame.source] = frame.seq
        utc_ns = self.epoch.utc(frame.arrival_t_ns)
        facts = recorded.facts_of(frame)
        if self._pixels:
            self._message(topic(frame.source, "image"), foxglove.image(frame, utc_ns), utc_ns, frame.seq)
        self.note(Note(topic(frame.source, "frame"), _FACTS, recorded.dumped(facts), frame.arrival_t_ns), frame.seq)

    def state(self, state: SourceState) -> None:
        """Write what became of a source."""
        self.note(Note(topic(state.source, "state"), _STATE, recorded.dumped(asdict(state)), state.since_ns))

    def note(self, note: Note, sequence: int = 0) -> None:
        """Write a JSON message."""
        channel = self._channels.get(note.topic)
        if channel is None:
            schema = self._schema(str(note.schema["title"]), "jsonschema", lambda: recorded.dumped(note.schema))
            channel = self._channels[note.topic] = self._do(lambda: self._writer.register_channel(note.topic, "json", schema))
        self._add(channel, self.epoch.utc(note.t_ns), note.data, sequence)

    def line(self, level: foxglove.Level, name: str, text: str, t_ns: int) -> None:
        """Write a line for people, as Foxglove's log panel shows it."""
        utc_ns = self.epoch.utc(t_ns)
        self._message("/mien/log", foxglove.log(level, name, text, utc_ns), utc_ns, 0)

    def flush(self) -> None:
        """Write what there is as a chunk, and have it on disk."""
        self._do(self._writer.flush)
        if self._file.written > self._synced:
            self._do(lambda: sync_data(self._file.fd))
            self._synced = self._file.written

    def close(self, values: dict[str, str] | None = None) -> None:
        """Write the last chunk, `values` as the end's metadata, and the index.

        Raises:
            RecordingError: the disk is full; the file ends with its last whole chunk.
        """
        if self._file.fd < 0:
            return
        if values is not None:
            self.flush()
            self.metadata(recorded.END, values)
        self._do(self._writer.finish)
        self._do(lambda: os.fsync(self._file.fd))
        self._file.close()

    def __enter__(self) -> Tape:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self._cut()

    def _message(self, topic: str, message: Encoded, utc_ns: int, sequence: int) -> None:
        # A source may give packets and then pixels (a camera reopened in another format): a channel has one schema.
        key = f"{topic} {message.schema}"
        channel = self._channels.get(key)
        if channel is None:
            schema = self._schema(message.schema, "protobuf", lambda: foxglove.descriptors(message.schema))
            channel = self._channels[key] = self._do(lambda: self._writer.register_channel(topic, "protobuf", schema))
        self._add(channel, utc_ns, message.data, sequence)

    def _add(self, channel: int, utc_ns: int, data: bytes, sequence: int) -> None:
        self._do(lambda: self._writer.add_message(channel, utc_ns, data, utc_ns, sequence % 2**32))

    def _schema(self, name: str, encoding: str, data: Callable[[], bytes]) -> int:
        if name not in self._schemas:
            self._schemas[name] = int(self._do(lambda: self._writer.register_schema(name, encoding, data())))
        return self._schemas[name]

    def _do(self, act: Callable[[], int | None]) -> int:
        """Run what writes; the file must not end in the middle of a record."""
        if self._file.fd < 0:
            raise RecordingError("recording-closed", f"{self.path}: has been closed")
        try:
            done = act() or 0
            self._whole = self._file.written  # the library writes whole records
            return done
        except OSError as error:
            why = error
        self._cut()
        if why.errno in _FULL:
            raise RecordingError("storage-full", f"{self.path}: the disk is full; what was recorded until then is kept; free some space")
        raise RecordingError("storage-failed", f"{self.path}: {why.strerror}; what was recorded until then is kept")

    def _cut(self) -> None:
        """Drop what follows the last whole chunk, end the file without an index, and close it."""
        if self._file.fd < 0:
            return
        try:
            os.ftruncate(self._file.fd, self._whole)
            os.lseek(self._file.fd, self._whole, os.SEEK_SET)
            self._file.write(_NO_INDEX)
        except OSError:  # not even that: a reader stops at the last whole chunk all the same
            pass
        finally:
            self._file.close()


class _Whole:
    """A file that is written without a buffer: an error comes with the write that it belongs to."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.written = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            count = os.write(self.fd, view)
            view, self.written = view[count:], self.written + count
        return len(data)

    def tell(self) -> int:
        return self.written

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)
