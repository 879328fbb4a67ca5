"""Frames on a tape and back: nothing changed, whatever the file went through."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foxglove.messages
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from capture.frame import Frame, Packet, SourceInfo, SourceState
from capture.image import decode_color
from capture.playback import Noted, Playback, open_recording
from capture.recorded import Consent, Epoch, RecordingError
from capture.recorder import Recorder
from capture.tape import Note, Tape
from tests.api.tiny import picture
from tests.small_disk import small_disk
from tests.waiting import PATIENCE_S

EPOCH = Epoch(1_700_000_000_000_000_000, 5_000_000_000)
CONSENT = Consent("Ada", "2026-01-01T00:00:00Z", "a test")
NOTE = {"type": "object", "title": "mien.Test"}
MIB = 1 << 20


def tape(path: Path, **options: Any) -> Tape:
    return Tape(path, EPOCH, CONSENT, {}, **options)


def noise(seq: int, source: str = "cam", height: int = 48, width: int = 64) -> Frame:
    data = np.random.default_rng(seq).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Frame(source, "color", seq, seq * 33_000_000, EPOCH.monotonic_ns + seq * 33_000_000, data=data)


def frames(playback: Playback) -> list[Frame]:
    return [entry for entry in playback.entries() if isinstance(entry, Frame)]


def same(one: Frame, other: Frame) -> bool:
    facts = [f for f in Frame.__slots__ if f != "data"]
    assert {f: getattr(one, f) for f in facts} == {f: getattr(other, f) for f in facts}
    if one.packet is not None:
        return True
    assert one.data is not None
    assert other.data is not None
    assert one.data.dtype == other.data.dtype
    return bool(np.array_equal(one.data, other.data, equal_nan=one.data.dtype.kind == "f"))


@st.composite
def pictures(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"packet": Packet(draw(st.sampled_from(["jpeg", "png"])), draw(st.binary(min_size=1, max_size=64)))}
    height, width = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    kind = draw(st.sampled_from(["rgb", "u8", "u16", "f32"]))
    raw = draw(st.binary(min_size=height * width * 4, max_size=height * width * 4))
    if kind == "rgb":
        return {"data": np.frombuffer(raw, np.uint8)[: height * width * 3].reshape(height, width, 3).copy()}
    dtype = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}[kind]
    return {"data": np.frombuffer(raw, dtype)[: height * width].reshape(height, width).copy()}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["door", "thermal"]), pictures(), st.none() | st.integers(-(2**62), 2**62), st.integers(0, 2**62),
            st.sampled_from(["color", "depth", "thermal", "ir"]), st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.just("K"), st.integers(0, 9), st.frozensets(st.text(max_size=5), max_size=3),
        ),
        max_size=8,
    )
)  # fmt: skip
@settings(max_examples=60)
def test_any_frame_comes_back_as_it_was(given_frames: list[tuple[Any, ...]]) -> None:
    written = [
        Frame(source, modality, seq, device, arrival, **picture, scale=scale, unit=unit, dropped_before=drops, flags=flags)
        for seq, (source, picture, device, arrival, modality, scale, unit, drops, flags) in enumerate(given_frames, 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mcap"
        with tape(path) as out:
            for frame in written:
                out.frame(frame)
        read = frames(open_recording(path))
    assert len(read) == len(written)
    assert all(map(same, written, read))


def test_sources_calibration_consent_and_notes_come_back(tmp_path: Path) -> None:
    info = SourceInfo(
        "cam", "webcam", "color", 640, 480, 29.97, "host", False, serial="7", intrinsics={"fx": 1.5, "fy": 2.0, "cx": 3.0, "cy": 4.0}
    )
    with tape(tmp_path / "a.mcap") as out:
        out.source(info)
        out.source(info)
        out.note(Note("/mien/x", NOTE, b'{"a":[1,null]}', EPOCH.monotonic_ns + 7))
        out.state(SourceState("cam", "color", "lost", EPOCH.monotonic_ns, "why"))
        out.line("warning", "cam", "lost", EPOCH.monotonic_ns)
    playback = open_recording(tmp_path / "a.mcap")
    entries = list(playback.entries())
    assert [entry for entry in entries if isinstance(entry, SourceInfo)] == [info]
    assert [entry for entry in entries if isinstance(entry, Noted)] == [Noted("/mien/x", {"a": [1, None]}, EPOCH.utc_ns + 7)]
    assert [entry for entry in entries if isinstance(entry, SourceState)] == [
        SourceState("cam", "color", "lost", EPOCH.monotonic_ns, "why")
    ]
    assert playback.metadata["mien.consent"] == {"by": "Ada", "at": "2026-01-01T00:00:00Z", "purpose": "a test", "given": "true"}
    assert playback.messages == {"/cam/calibration": 1, "/cam/state": 1, "/mien/x": 1, "/mien/log": 1}
    assert playback.epoch == EPOCH
    assert (tmp_path / "a.mcap").stat().st_mode & 0o777 == 0o600


def test_without_pixels_no_picture_is_in_the_file(tmp_path: Path) -> None:
    with tape(tmp_path / "a.mcap", pixels=False) as out:
        for seq in (1, 2):
            out.frame(noise(seq))
    playback = open_recording(tmp_path / "a.mcap")
    assert [(frame.seq, frame.data.size) for frame in frames(playback) if frame.data is not None] == [(1, 0), (2, 0)]
    assert playback.messages == {"/cam/frame": 2}
    assert not playback.has_pixels


def test_a_recording_is_what_foxglove_s_own_schemas_say(tmp_path: Path) -> None:
    """Read with mcap's indexed reader; each schema equals the one in Foxglove's SDK, which is not the package that wrote it."""
    jpeg = picture()
    with tape(tmp_path / "a.mcap") as out:
        out.source(SourceInfo("cam", "x", "color", 64, 48, None, "host", False, intrinsics={"fx": 1.0, "fy": 1.0, "cx": 1.0, "cy": 1.0}))
        out.frame(Frame("cam", "color", 1, None, EPOCH.monotonic_ns, packet=Packet("jpeg", jpeg)))
        out.frame(Frame("deep", "depth", 1, None, EPOCH.monotonic_ns, data=np.full((2, 3), 513, np.uint16), scale=0.001, unit="m"))
        out.line("error", "cam", "gone", EPOCH.monotonic_ns)
    from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
    from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    found = {}
    with (tmp_path / "a.mcap").open("rb") as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            assert schema is not None
            found[channel.topic] = (schema, message.data)
    assert set(found) == {"/cam/calibration", "/cam/image", "/cam/frame", "/deep/image", "/deep/frame", "/mien/log"}
    for schema, _ in found.values():
        if schema.encoding == "protobuf":
            theirs = getattr(foxglove.messages, schema.name.removeprefix("foxglove.")).get_schema()
            ours, known = (
                {m.name: m for f in FileDescriptorSet.FromString(d).file for m in f.message_type} for d in (schema.data, theirs.data)
            )
            assert {n: [(f.name, f.number, f.type) for f in m.field] for n, m in ours.items()} == {
                n: [(f.name, f.number, f.type) for f in m.field] for n, m in known.items()
            }
        else:
            json.loads(schema.data)
    color = CompressedImage.FromString(found["/cam/image"][1])
    assert (color.data, color.format, color.timestamp.ToNanoseconds()) == (jpeg, "jpeg", EPOCH.utc_ns)
    assert decode_color(color.data).ndim == 3
    depth = RawImage.FromString(found["/deep/image"][1])
    assert (depth.encoding, depth.step, depth.data) == ("16UC1", 6, bytes([1, 2]) * 6)


def test_a_file_cut_anywhere_reads_to_its_last_whole_chunk(tmp_path: Path) -> None:
    path, offsets = tmp_path / "a.mcap", [0]
    with tape(path) as out:
        for seq in range(1, 9):
            out.frame(noise(seq))
            out.flush()
            offsets.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in [*offsets[1:], *np.random.default_rng(0).integers(offsets[1], len(whole), 40).tolist()]:
        (tmp_path / "cut.mcap").write_bytes(whole[:cut])
        playback = open_recording(tmp_path / "cut.mcap")
        assert len(frames(playback)) == sum(offset <= cut for offset in offsets[1:])
        assert playback.cut
    damaged = bytearray(whole)
    damaged[offsets[3] + 200] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(damaged)
    playback = open_recording(tmp_path / "damaged.mcap")
    assert (len(frames(playback)), playback.cut) == (3, True)


@pytest.mark.parametrize("data", [b"", b"\x89MCAP0\r\n", bytes(100), b"\x89MCAP0\r\n" + bytes(100), b"\x89MCAP0\r\n" + b"\xff" * 100])
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mcap").write_bytes(data)
    with pytest.raises(RecordingError, match="is not a recording that mien can read") as caught:
        open_recording(tmp_path / "a.mcap")
    assert caught.value.code == "not-a-recording"


def test_nothing_is_written_over_and_a_number_that_does_not_grow_is_an_error(tmp_path: Path) -> None:
    with tape(tmp_path / "a.mcap") as out:
        out.frame(noise(2))
        with pytest.raises(RecordingError) as caught:
            out.frame(noise(2))
    assert caught.value.code == "bad-sequence"
    assert len(frames(open_recording(tmp_path / "a.mcap"))) == 1
    with pytest.raises(RecordingError) as caught:
        tape(tmp_path / "a.mcap")
    assert caught.value.code == "file-exists"
    with pytest.raises(ValueError, match="neither may be empty"):
        Consent("Ada", "now", " ")


def test_nobody_is_said_to_have_agreed_where_nobody_was_asked(tmp_path: Path) -> None:
    with Tape(tmp_path / "a.mcap", EPOCH, Consent(None, "now", "a public clip"), {}):
        pass
    playback = open_recording(tmp_path / "a.mcap")
    list(playback.entries())
    assert playback.metadata["mien.consent"] == {"at": "now", "purpose": "a public clip", "given": "false"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with small_disk(tmp_path / "disk", 4) as path:
        yield path


def test_row_15_a_full_disk_ends_a_recording_with_an_error_and_a_file_that_reads(disk: Path) -> None:
    errors: list[RecordingError] = []
    recorder = Recorder(tape(disk / "a.mcap"), errors.append)
    recorder.start()
    seq, end = 0, time.monotonic() + PATIENCE_S
    while not errors and time.monotonic() < end:
        seq += 1
        recorder.put(noise(seq, height=100, width=100))
        time.sleep(0.005)
    with pytest.raises(RecordingError) as caught:
        recorder.close()
    assert [error.code for error in errors] == ["storage-full"]
    assert caught.value is errors[0]
    playback = open_recording(disk / "a.mcap")
    read = frames(playback)
    assert 10 < len(read) < seq
    assert all(same(noise(n, height=100, width=100), frame) for n, frame in enumerate(read, 1))
    with (disk / "a.mcap").open("rb") as file:
        assert make_reader(file).get_summary() is None


def test_a_mailbox_that_overflows_is_an_error_and_what_came_before_is_kept(tmp_path: Path) -> None:
    errors: list[RecordingError] = []
    recorder = Recorder(tape(tmp_path / "a.mcap"), errors.append, max_bytes=100_000)
    for seq in range(1, 21):
        recorder.put(noise(seq))
    assert [error.code for error in errors] == ["recording-overflow"]
    recorder.start()
    with pytest.raises(RecordingError) as caught:
        recorder.close()
    assert caught.value is errors[0]
    playback = open_recording(tmp_path / "a.mcap")
    kept = frames(playback)
    assert [frame.seq for frame in kept] == list(range(1, len(kept) + 1))
    assert playback.metadata["mien.end"] == {"error": "recording-overflow", "lost": str(20 - len(kept))}


KILLED = """
import sys, time
from pathlib import Path
from capture.recorder import Recorder
from tests.record.test_tape import noise, tape
recorder = Recorder(tape(Path(sys.argv[1])), print)
recorder.start()
seq = 0
while True:
    seq += 1
    recorder.put(noise(seq))
    print(seq, flush=True)
    time.sleep(0.02)
"""


def test_a_killed_recording_has_all_but_its_last_half_second(tmp_path: Path, checkout: Path) -> None:
    path = tmp_path / "a.mcap"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=checkout) as process:
        assert process.stdout is not None
        put = 0
        while put < 120:
            put = int(process.stdout.readline())
        process.kill()
        put += sum(1 for _ in process.stdout)
    playback = open_recording(path)
    read = frames(playback)
    assert playback.cut
    assert all(same(noise(n), frame) for n, frame in enumerate(read, 1))
    assert put - 25 * 5 <= len(read) <= put  # what comes in half a second, with slack
    assert len(read) >= 50
