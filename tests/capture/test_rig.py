"""Rig, pure: bundles in true time, mid-exposure honoured, health and clocks bound together."""

from __future__ import annotations

import numpy as np
import pytest

from capture.frame import Bundle, Frame, SourceInfo, SourceState, Tick
from capture.rig import Rig, RigSource
from tests.faults.simulated import MS, ZERO_NS, S, Simulation, bundles

SENSORS = {
    "color": {"fps": 30, "offset_ms": 500, "drift_ppm": 200, "jitter_ms": 10, "exposure_ms": 4, "seed": 5},
    "depth": {"fps": 30, "offset_ms": -500, "drift_ppm": -200, "jitter_ms": 10, "exposure_ms": 30, "phase": 0.3, "seed": 6},
    "thermal": {"fps": 9, "offset_ms": -77, "drift_ppm": 200, "jitter_ms": 10, "exposure_ms": 0, "seed": 7},
}


def test_the_skew_that_is_told_is_the_true_one_between_the_middles_of_exposures() -> None:
    simulation = Simulation(sensors=SENSORS)
    said = bundles(list(simulation.run(40)))
    late = [bundle for bundle in said if bundle.t_ns - ZERO_NS > 11 * S]
    assert len(late) > 800
    for bundle in late:
        assert abs(bundle.t_ns - simulation.truth.of["color", bundle.frames["color"].seq].t_ns) <= 2 * MS
        for name, skew_ns in bundle.skew_ns.items():
            assert abs(skew_ns - simulation.truth.away_ns(bundle, name)) <= 3 * MS


@pytest.mark.parametrize("mid_exposure", [False, True])
def test_the_middle_of_the_exposure_is_the_time(mid_exposure: bool) -> None:
    rig = Rig([RigSource("c", "color", 30.0, mid_exposure)], 30 * MS, 60 * MS)
    data = np.zeros((1, 1), np.uint8)
    (bundle,) = rig.advance(Frame("c", "color", 1, 5 * S, 9 * S, data, exposure_ns=20 * MS))
    assert isinstance(bundle, Bundle)
    assert bundle.t_ns == pytest.approx(9 * S + (0 if mid_exposure else 10 * MS), abs=2000)


def test_a_source_learns_from_its_device() -> None:
    info = SourceInfo("x", "virtual", "depth", 1, 1, 15.0, "host", ends=False, mid_exposure=True)
    assert RigSource("d", "depth", None, latency_ns=3, hold_ns=4).learned(info) == RigSource("d", "depth", 15.0, True, 3, 4)


def test_a_source_without_stamps_goes_by_arrival() -> None:
    rig = Rig([RigSource("c", "color", 30.0, latency_ns=5 * MS)], 30 * MS, 60 * MS)
    (bundle,) = rig.advance(Frame("c", "color", 1, None, 9 * S, np.zeros((1, 1), np.uint8)))
    assert isinstance(bundle, Bundle)
    assert bundle.t_ns == 9 * S - 5 * MS
    assert rig.reports["c"].fix is None


def test_after_a_loss_the_devices_clock_begins_anew_without_an_alarm() -> None:
    rig = Rig([RigSource("c", "color", 30.0)], 30 * MS, 60 * MS)
    random = np.random.default_rng(0)
    said = []
    for i in range(30):
        said += rig.advance(
            Frame("c", "color", i + 1, 100 * S + i * 33 * MS, S + i * 33 * MS, random.integers(0, 9, (4, 4)).astype(np.uint8))
        )
    said += rig.advance(SourceState("c", "color", "lost", 2 * S))
    said += rig.advance(Tick(3 * S))
    said += rig.advance(SourceState("c", "color", "back", 4 * S))
    said += rig.advance(Frame("c", "color", 31, 0, 4 * S, random.integers(0, 9, (4, 4)).astype(np.uint8), dropped_before=2))
    assert [one.state for one in said if isinstance(one, SourceState)] == ["lost", "back"]
    newest = [one for one in said if isinstance(one, Bundle)][-1]
    assert newest.t_ns == pytest.approx(4 * S, abs=2000)
    report = rig.reports["c"]
    assert (report.frames, report.device_drops, report.state) == (31, 2, "well")
    assert report.fix is not None
    assert report.fix.epoch == 2


def test_a_small_jump_of_the_colour_clock_is_told_within_a_second_and_nothing_is_paired_across_it() -> None:
    """10 fps, set back by 45 ms after 20 s: less than half an interval, so it may as well be lateness until it has stayed."""
    random, came = np.random.default_rng(0), list[tuple[int, Frame]]()
    for name, fps, back_ns in (("color", 10, 45 * MS), ("depth", 30, 0)):
        for i in range(40 * fps):
            t_ns = S + i * S // fps
            arrival_ns = t_ns + 15 * MS + int(random.integers(0, 5 * MS))
            data = random.integers(0, 255, (2, 2)).astype(np.uint16)
            came.append(
                (
                    arrival_ns,
                    Frame(name, "color" if fps == 10 else "depth", i + 1, t_ns - (back_ns if i >= 20 * fps else 0), arrival_ns, data),
                )
            )
    rig = Rig([RigSource("color", "color", 10.0), RigSource("depth", "depth", 30.0)], 40 * MS, 80 * MS)
    said = [one for _, frame in sorted(came, key=lambda one: one[0]) for one in rig.advance(frame)]
    (reset,) = (one for one in said if isinstance(one, SourceState))
    assert (reset.source, reset.state) == ("color", "timebase-reset")
    assert 20 * S <= reset.since_ns - S <= 21 * S
    bundles = [one for one in said if isinstance(one, Bundle)]
    for bundle in bundles:
        if "depth" in bundle.frames:
            # Both come 15 to 20 ms after they were taken.
            assert abs(bundle.frames["color"].arrival_t_ns - bundle.frames["depth"].arrival_t_ns) <= 45 * MS
    unpaired = [bundle for bundle in bundles[20:] if "depth" in bundle.missing]
    assert 3 <= len(unpaired) <= 8
    assert all(20 * S <= bundle.frames["color"].arrival_t_ns - S <= 21 * S for bundle in unpaired)
