"""Inputs made anew of frames alone: numbers, times, clocks and, of a rig, bundles and states, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.frame import Bundle, Frame, Packet, SourceInfo, SourceState
from capture.playback import Playback, open_recording
from capture.recorded import Consent, Epoch, RecordingError
from capture.tape import Tape
from service.events import Rejected
from service.resync import resynced
from service.rig_file import RigFile

MS = 1_000_000
START = 10_000 * MS
CLIP = SourceInfo("cam", "video", "color", 8, 6, 25.0, "media", True)


def picture(number: int) -> np.ndarray:
    """A picture unlike the others."""
    return np.full((6, 8, 3), number, np.uint8)


def frame(source: str, seq: int, arrival_ms: float, device_ms: float | None = None) -> Frame:
    """A frame `arrival_ms` after the start."""
    device_t_ns = None if device_ms is None else round(device_ms * MS)
    arrival = START + round(arrival_ms * MS)
    if source == "deep":
        return Frame(source, "depth", seq, device_t_ns, arrival, np.full((6, 8), seq, np.uint16), scale=0.001, unit="m")
    return Frame(source, "color", seq, device_t_ns, arrival, picture(seq))


def recorded(path: Path, entries: Sequence[Frame | SourceInfo | SourceState], pixels: bool = True) -> Playback:
    with Tape(path, Epoch(10**18, START), Consent(None, "2026-01-01T00:00:00Z", "generated"), {}, pixels=pixels) as tape:
        for entry in entries:
            if isinstance(entry, SourceInfo):
                tape.source(entry)
            elif isinstance(entry, SourceState):
                tape.state(entry)
            else:
                tape.frame(entry)
    return open_recording(path)


def told(bundle: object) -> tuple[int, float, str, float]:
    """A bundle's number, time in ms, clock, and arrival in ms after the start."""
    assert isinstance(bundle, Bundle)
    return bundle.number, bundle.t_ns / MS, bundle.clock, (bundle.arrival_ns - START) / MS


def test_a_clips_times_are_its_own_however_unevenly_it_was_read(tmp_path: Path) -> None:
    frames = [frame("cam", 4, 10, 0), frame("cam", 5, 13, 40), frame("cam", 9, 190, 80.5)]
    found = list(resynced(recorded(tmp_path / "a.mcap", [CLIP, *frames])))
    assert [told(one) for one in found] == [(1, 0, "media", 10), (2, 40, "media", 13), (3, 80.5, "media", 190)]
    assert [one.frames["cam"].seq for one in found if isinstance(one, Bundle)] == [4, 5, 9]
    for one, number in zip(found, (4, 5, 9), strict=True):
        assert isinstance(one, Bundle)
        np.testing.assert_array_equal(one.frames["cam"].data, picture(number))


@pytest.mark.parametrize("info", [replace(CLIP, clock="host", ends=False), None])
def test_a_cameras_times_are_those_of_arrival_on_the_hosts_clock(tmp_path: Path, info: SourceInfo | None) -> None:
    frames = [frame("cam", 1, 10, 5000), frame("cam", 2, 45, 5033)]
    found = list(resynced(recorded(tmp_path / "a.mcap", [*([info] if info else []), *frames])))
    assert [told(one) for one in found] == [(1, 10_010, "host", 10), (2, 10_045, "host", 45)]


def test_a_picture_that_does_not_decode_keeps_its_number(tmp_path: Path) -> None:
    broken = Frame("cam", "color", 2, 40 * MS, START + 50 * MS, packet=Packet("jpeg", b"\xff\xd8\xff no picture"))
    found = list(resynced(recorded(tmp_path / "a.mcap", [CLIP, frame("cam", 1, 10, 0), broken, frame("cam", 3, 90, 80)])))
    assert [told(found[0]), told(found[2])] == [(1, 0, "media", 10), (3, 80, "media", 90)]
    assert isinstance(found[1], Rejected)
    assert (found[1].frame, found[1].code) == (2, "image-broken")


def test_what_cannot_be_put_together_is_refused(tmp_path: Path) -> None:
    deep = SourceInfo("deep", "x", "depth", 8, 6, 15.0, "host", False)
    several = recorded(tmp_path / "a.mcap", [CLIP, deep, frame("cam", 1, 10, 0), frame("deep", 1, 12)])
    with pytest.raises(RecordingError, match="has the sources cam, deep and does not say of which rig") as caught:
        list(resynced(several))
    assert caught.value.code == "resync-unsupported"
    with pytest.raises(RecordingError, match="was recorded with --features-only") as caught:
        list(resynced(recorded(tmp_path / "b.mcap", [CLIP, frame("cam", 1, 10, 0)], pixels=False)))
    assert caught.value.code == "no-pixels"


RIG = RigFile.model_validate({
    "tolerance_ms": 40.0, "deadline_ms": 80.0,
    "sources": {"cam": {"modality": "color", "uri": "webcam:0"}, "deep": {"modality": "depth", "uri": "virtual:depth"}},
})  # fmt: skip


def test_a_rigs_frames_are_matched_by_their_times(tmp_path: Path) -> None:
    """Arrivals in ms, tolerance 40 ms. Without stamps of a device a frame's time is its arrival."""
    colors = [frame("cam", n, at) for n, at in enumerate((0, 100, 200, 300, 400, 2900), 1)]
    deeps = [frame("deep", n, at) for n, at in enumerate((8, 95, 238), 1)]
    entries = sorted([*colors, *deeps], key=lambda one: one.arrival_t_ns)
    found = list(resynced(recorded(tmp_path / "a.mcap", entries), RIG))
    bundles = [one for one in found if isinstance(one, Bundle)]
    assert [told(one) for one in bundles] == [
        (1, 10_000, "host", 8),  # its arrival is that of the depth frame
        (2, 10_100, "host", 100),
        (3, 10_200, "host", 238),
        (4, 10_300, "host", 300),
        (5, 10_400, "host", 400),
        (6, 12_900, "host", 2900),
    ]
    # 8 ms after colour, 5 before, 38 after; the last depth frame is 62 ms before the fourth.
    assert [dict(one.skew_ns) for one in bundles] == [
        {"deep": 8 * MS},
        {"deep": -5 * MS},
        {"deep": 38 * MS},
        {},
        {},
        {},
    ]
    assert [one.missing for one in bundles] == [()] * 3 + [("deep",)] * 3
    assert [{name: f.seq for name, f in one.frames.items()} for one in bundles] == [
        {"cam": 1, "deep": 1}, {"cam": 2, "deep": 2}, {"cam": 3, "deep": 3}, {"cam": 4}, {"cam": 5}, {"cam": 6},
    ]  # fmt: skip
    # While nothing comes, time passes in steps of 20 ms: after 2.5 s a source that is silent is lost.
    (lost,) = [one for one in found if isinstance(one, SourceState)]
    assert lost == SourceState("deep", "depth", "lost", START + 238 * MS, "no frame for 2.5 s")
    assert found.index(lost) == 5, "before the frame that came then"


def test_what_a_reader_said_of_a_source_is_passed_on_at_its_time(tmp_path: Path) -> None:
    said = SourceState("deep", "depth", "lost", START + 50 * MS, "unplugged")
    entries = [frame("cam", 1, 0), frame("deep", 1, 4), said, frame("cam", 2, 100)]
    found = list(resynced(recorded(tmp_path / "a.mcap", entries), RIG))
    assert [type(one).__name__ for one in found] == ["Bundle", "SourceState", "Bundle"]
    assert found[1] == said
    assert told(found[2]) == (2, 10_100, "host", 100)


def test_frames_that_wait_at_the_end_are_given_out(tmp_path: Path) -> None:
    found = list(resynced(recorded(tmp_path / "a.mcap", [frame("deep", 1, 0), frame("cam", 1, 30)]), RIG))
    assert [told(one) for one in found] == [(1, 10_030, "host", 30)]
    assert isinstance(found[0], Bundle)
    assert dict(found[0].skew_ns) == {"deep": -30 * MS}
