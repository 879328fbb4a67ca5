"""The virtual rig: what it shows, how it lies, and that no frame tells the truth."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest

from capture import virtual_world as worlds
from capture.driver import SourceError, create
from capture.drivers import virtual
from capture.drivers.virtual import Options
from capture.frame import Frame, SourceInfo
from capture.virtual_sensor import Exposure, Sensor, Timing, faults
from tests.waiting import until

S, MS = 10**9, 10**6
ZERO = 7 * S


def exposures(seconds: float, **options: object) -> list[Exposure]:
    timing = Timing(**({"fps": 10.0, "delay_ns": 20 * MS} | options))  # type: ignore[arg-type]
    return list(itertools.takewhile(lambda e: e.t_ns < ZERO + seconds * S, Sensor(timing, ZERO).exposures()))


def shot(modality: str, exposure: Exposure, **options: object) -> Frame:
    said, size = Options(**options), virtual.SIZES[modality]  # type: ignore[arg-type]
    return virtual.frame(worlds.DrawnWorld(), exposure, "x", virtual.KINDS[modality], size, said, 1, exposure.arrival_ns)


def test_a_sensor_has_a_clock_and_a_cable_of_its_own() -> None:
    said = exposures(10, offset_ns=300 * MS, drift_ppm=200.0, jitter_ns=10 * MS, exposure_ns=8 * MS)
    assert len(said) == 100
    for one in said:
        start = one.t_ns - 4 * MS
        assert one.device_t_ns == pytest.approx(ZERO + (start - ZERO) * (1 + 200e-6) + 300 * MS, abs=2)
        assert 24 * MS <= one.arrival_ns - one.t_ns < 34 * MS
    assert len({(one.arrival_ns - one.t_ns) // MS for one in said}) > 5
    assert said == exposures(10, offset_ns=300 * MS, drift_ppm=200.0, jitter_ns=10 * MS, exposure_ns=8 * MS)


def test_faults_come_when_they_are_scripted() -> None:
    said = exposures(30, faults=faults("unplug@2+1,freeze@5+2,shutter@10+1.5,late@14+3:2,jump@20:-0.7"))
    since = {e.index: (e.t_ns - ZERO) / S for e in said}
    assert not [e for e in said if 2 <= since[e.index] < 3]
    assert [e.device_t_ns for e in said if since[e.index] == 3.5] == [S // 2], "power was gone: its clock began at zero"
    assert {e.picture for e in said if 5 <= since[e.index] < 7} == {50}
    assert {since[e.index] for e in said if e.flags} == {10 + i / 10 for i in range(15)}
    late = [e for e in said if 14 <= since[e.index] < 17]
    assert all(e.arrival_ns - e.t_ns == 2020 * MS for e in late)
    assert all(b.arrival_ns > a.arrival_ns for a, b in itertools.pairwise(said))
    before, after = next(e for e in said if since[e.index] == 19.9), next(e for e in said if since[e.index] == 20)
    assert after.device_t_ns - before.device_t_ns == -600 * MS


@pytest.mark.parametrize("text", ["unplug@2", "freeze@x+1", "late@1+2", "jump@1+2:1", "jump@1", "shutter@1+2:3", "melt@1"])
def test_a_fault_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not like unplug"):
        faults(text)


def test_depth_heat_and_colour_are_of_one_head() -> None:
    (one, *_) = exposures(1)
    head = worlds.DrawnWorld().head(one.t_ns)
    for modality, (rows, columns) in virtual.SIZES.items():
        frame = shot(modality, one)
        assert frame.data is not None
        y, x = int(head.nose[1] * rows), int(head.nose[0] * columns)
        physical = np.asarray(frame.data, np.float64) * frame.scale
        if modality == "depth":
            assert 0.4 < physical[y, x] < 0.7 < 1.9 < physical[3, 3] < 2.1
            assert physical[y, x] < physical[y, x + int(0.08 * columns)], "the nose stands out"
            assert 0.001 < (frame.data == 0).mean() < 0.01
        elif modality == "thermal":
            eye = physical[int(head.right_eye[1] * rows), int(head.right_eye[0] * columns)]
            assert 304 < physical[y, x] < 307 < eye < 309
            assert 293 < physical[3, 3] < 296
        else:
            assert frame.data.shape == (rows, columns, 3)


def test_breath_warms_the_nose() -> None:
    x, y = 80, 45
    nose = []
    for t in np.arange(0, 1 / worlds.BREATHS_HZ, 0.1):
        head = worlds.Head(0.5, 0.45, 0.24, 0.42, (0.45, 0.4), (0.55, 0.4), ((x + 0.5) / 160, (y + 0.5) / 90), (0.5, 0.6))
        nose.append(worlds.heat(head, (90, 160), int(t * S))[y, x])
    assert 0.5 < max(nose) - min(nose) < 1.0


def test_noise_changes_every_frame_and_a_frozen_one_none() -> None:
    said = exposures(4, faults=faults("freeze@2+1"))
    pictures = [shot("thermal", e).data for e in said]
    same = [bool(np.array_equal(a, b)) for a, b in itertools.pairwise(pictures) if a is not None and b is not None]
    assert [i for i, alike in enumerate(same) if alike] == list(range(20, 29))


def test_no_frame_tells_the_truth() -> None:
    said = exposures(2, offset_ns=300 * MS, exposure_ns=8 * MS)
    for one in said:
        frame = shot("depth", one, exposure_ms=8.0)
        assert frame.device_t_ns == one.device_t_ns
        assert one.t_ns not in (frame.device_t_ns, frame.arrival_t_ns)
        assert frame.exposure_ns == 8 * MS


def test_the_driver_gives_frames_in_time_and_is_gone_while_unplugged() -> None:
    driver = create("virtual:thermal?fps=50&delay_ms=5&jitter_ms=2&faults=unplug@0.5%2B1.5", "warm")
    info = driver.open()
    assert (info.name, info.modality, info.width, info.height, info.serial) == (
        "warm",
        "thermal",
        160,
        90,
        "virtual-thermal-0",
    )
    frames: list[Frame] = []

    def until_gone() -> None:
        while len(frames) < 100:
            frames.extend(driver.read())

    with pytest.raises(SourceError, match="unplugged") as lost:
        until_gone()
    assert lost.value.code == "source-lost"
    assert 5 <= len(frames) <= 26
    driver.close()
    with pytest.raises(SourceError, match="unplugged"):
        driver.open()

    def opened() -> SourceInfo | None:
        try:
            return driver.open()
        except SourceError:
            return None

    assert until(opened, "it is plugged in").serial == info.serial
    (again,) = until(driver.read, "a frame")
    assert again.seq == len(frames) + 1
    assert again.device_t_ns is not None
    assert again.device_t_ns < 1.5 * S, "power was gone: its clock began at zero"
    driver.close()


def test_a_clip_is_seen_with_the_faces_its_sidecar_says(media: Path, checkout: Path, tmp_path: Path) -> None:
    clip, sidecar = media / "single_face.mp4", checkout / "deploy" / "rigs" / "single_face.mp4.faces.json"
    world = worlds.clip_world(clip, sidecar)
    head = world.head(0)
    assert head is not None
    assert 0.3 < head.x < 0.6
    assert world.color(0, (360, 640)).shape == (360, 640, 3)
    # The clip has 72 frames and lasts as long as 72 of their intervals: over and over.
    with av.open(str(clip)) as container:
        stamps_ns = sorted(round(float(frame.pts * frame.time_base) * 1e9) for frame in container.decode(video=0) if frame.pts is not None)
    last_ns = stamps_ns[-1] - stamps_ns[0]
    length_ns = last_ns * 72 // 71
    assert len(stamps_ns) == 72
    shown = [world.color(t_ns, (90, 160)) for t_ns in (0, last_ns, length_ns + 1_000_000, length_ns + last_ns)]
    assert np.array_equal(shown[0], shown[2])
    assert not np.array_equal(shown[0], shown[1])
    short = json.loads(sidecar.read_text())
    short["faces"] = short["faces"][:-1]
    (tmp_path / "short.json").write_text(json.dumps(short))
    (tmp_path / "wrong.json").write_text("[]")
    for name, code in (("short.json", "bad-sidecar"), ("wrong.json", "bad-sidecar"), ("none.json", "no-sidecar")):
        with pytest.raises(SourceError) as refused:
            worlds.ClipWorld(clip, tmp_path / name)
        assert refused.value.code == code
