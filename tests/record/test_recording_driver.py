"""A recording as a camera: its frames, its stamps, its pace, its end."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from capture.driver import Driver, EndOfStream, SourceError, create
from capture.frame import Clock, Frame, Packet, SourceInfo
from capture.recorded import Consent, Epoch
from capture.tape import Tape
from tests.api.tiny import picture

STEP_NS = 20_000_000


def made(path: Path, clock: Clock = "host", count: int = 5) -> Path:
    """Colour packets with a stamp of their device, and thermal pixels, in turn."""
    with Tape(path, Epoch(10**18, 10**9), Consent(None, "now", "generated"), {}) as tape:
        tape.source(SourceInfo("heat", "x", "thermal", 4, 3, 9.0, "host", False))
        tape.source(SourceInfo("door", "webcam", "color", 64, 48, 50.0, clock, False, serial="7"))
        for seq in range(1, count + 1):
            at = 10**9 + seq * STEP_NS
            tape.frame(Frame("heat", "thermal", seq, None, at, data=np.full((3, 4), seq, np.uint16), scale=0.04, unit="K"))
            tape.frame(Frame("door", "color", seq, seq * 1000, at, packet=Packet("jpeg", picture((seq, 0, 0)))))
    return path


def read_all(driver: Driver, at_most: int = 100) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < at_most:
        try:
            frames += driver.read()
        except EndOfStream:
            break
    return frames


def test_the_first_colour_source_is_given_with_its_packets(tmp_path: Path) -> None:
    driver = create(f"recording:{made(tmp_path / 'a.mcap')}", "cam")
    for _ in range(2):  # it may be opened again
        info = driver.open()
        assert (info.name, info.driver, info.modality, info.width, info.clock, info.ends, info.serial) == (
            "cam", "recording", "color", 64, "media", True, "7",
        )  # fmt: skip
        frames = read_all(driver)
        assert [frame.device_t_ns for frame in frames] == [n * STEP_NS for n in range(5)]
        assert [frame.packet and frame.packet.data for frame in frames] == [picture((n, 0, 0)) for n in range(1, 6)]
        assert all(frame.source == "cam" and abs(time.monotonic_ns() - frame.arrival_t_ns) < 10**10 for frame in frames)
        driver.close()
    assert [frame.seq for frame in frames] == [6, 7, 8, 9, 10]


def test_a_clip_s_own_stamps_are_kept_and_a_loop_goes_on(tmp_path: Path) -> None:
    driver = create(f"recording:{made(tmp_path / 'a.mcap', 'media')}?loop=1")
    assert not driver.open().ends
    stamps = [frame.device_t_ns for frame in read_all(driver, 12)]
    assert stamps[:5] == [1000, 2000, 3000, 4000, 5000]
    assert stamps == sorted(set(stamps), key=lambda t: t or 0)


def test_another_source_is_chosen_by_name_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mcap")
    driver = create(f"recording:{path}?source=heat")
    assert driver.open().modality == "thermal"
    frames = read_all(driver)
    assert [int(frame.data[0, 0]) for frame in frames if frame.data is not None] == [1, 2, 3, 4, 5]
    assert {(frame.scale, frame.unit) for frame in frames} == {(0.04, "K")}
    with pytest.raises(SourceError, match="no frame of a source 'attic'; sources: door, heat") as caught:
        create(f"recording:{path}?source=attic").open()
    assert caught.value.code == "no-such-source"


def test_paced_frames_come_when_their_stamps_say(tmp_path: Path) -> None:
    driver = create(f"recording:{made(tmp_path / 'a.mcap', count=20)}?realtime=1")
    driver.open()
    began = time.monotonic()
    frames = read_all(driver)
    assert len(frames) == 20
    assert time.monotonic() - began >= 0.018 * 19  # 20 ms apart


def test_a_recording_cut_off_ends_with_its_last_chunk(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mcap")
    path.write_bytes(path.read_bytes()[:-300])
    driver = create(f"recording:{path}")
    driver.open()
    assert len(read_all(driver)) == 5  # the index is what is missing
    path.write_bytes(b"\x89MCAP0\r\n" + bytes(50))
    with pytest.raises(SourceError) as caught:
        driver.open()
    assert caught.value.code == "not-a-recording"
    with pytest.raises(SourceError) as caught:
        create(f"recording:{tmp_path / 'b.mcap'}").open()
    assert caught.value.code == "no-such-file"
