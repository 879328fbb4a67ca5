"""FAULTS rows 31–33 in simulated time: a frozen camera, a clock that jumps, a thermal camera that is late, shut or gone."""

from __future__ import annotations

import numpy as np
import pytest

from capture.frame import SourceState
from capture.virtual_sensor import Exposure
from tests.faults.simulated import DEADLINE_NS, MS, TOLERANCE_NS, ZERO_NS, S, Simulation, bundles, states

MARGIN_NS = 15 * MS
"""What the clocks' estimates may be off by in a rig's first seconds, or just after a jump (jitter is up to 10 ms)."""


def seconds(t_ns: int) -> float:
    return (t_ns - ZERO_NS) / S


@pytest.mark.parametrize("source", ["color", "depth", "thermal"])
def test_row_31_a_frozen_camera_is_told_within_a_second_and_not_used(source: str) -> None:
    simulation = Simulation({source: "freeze@5+3"})
    said = list(simulation.run(12))
    (frozen, back) = states(said)
    assert (frozen[:2], back[:2]) == ((source, "frozen"), (source, "back"))
    assert 5.5 < frozen[2] <= 6.0 + 0.12
    assert 8.0 <= back[2] <= 8.2
    for bundle in bundles(said):
        if frozen[2] + 0.6 < seconds(bundle.t_ns) < 7.9 and source != "color":
            assert source in bundle.missing, "a picture that is not of now is held no longer than it may be, then missing"
        if source == "color" and frozen[2] < seconds(bundle.arrival_ns) < 8.0:
            assert "frozen" in bundle.frames["color"].flags
    assert len(bundles(said)) >= 355


def test_row_31_a_still_scene_with_sensor_noise_does_not_alarm() -> None:
    scene = np.random.default_rng(0).integers(29_000, 31_000, (60, 80)).astype(np.uint16)

    def picture(name: str, exposure: Exposure) -> np.ndarray:
        noise = np.random.default_rng((len(name), exposure.index)).standard_normal(scene.shape) * 5
        return (scene + noise).astype(np.uint16)

    said = list(Simulation(picture=picture).run(20))
    assert states(said) == []


@pytest.mark.parametrize("source", ["color", "depth", "thermal"])
@pytest.mark.parametrize("jump_s", [-0.7, 0.9, 3600.0, -0.2])
def test_row_32_a_clock_that_jumps_is_mapped_anew_and_nothing_is_paired_across(source: str, jump_s: float) -> None:
    simulation = Simulation({source: f"jump@6:{jump_s}"})
    said = list(simulation.run(10))
    ((who, state, at),) = states(said)
    assert (who, state) == (source, "timebase-reset")
    assert 6.0 <= at <= 6.2, "at its first frame; within a second it is mapped anew"
    times = [bundle.t_ns for bundle in bundles(said)]
    assert times == sorted(set(times)), "a session's time never runs back"
    reset_ns = next(one.what.since_ns for one in said if isinstance(one.what, SourceState))
    known = False
    for one in said:
        if isinstance(one.what, SourceState):
            known = True
            continue
        for name, frame in one.what.frames.items():
            if source in (name, "color") and frame.source != "color":
                assert not known or frame.arrival_t_ns >= reset_ns, "paired with a frame from before the jump"
            if name not in one.what.held:
                assert abs(simulation.truth.away_ns(one.what, name)) <= TOLERANCE_NS + MARGIN_NS
    after = [bundle for bundle in bundles(said) if seconds(bundle.t_ns) > 7.0]
    assert after
    assert all(not bundle.missing for bundle in after)


def test_row_33_a_thermal_camera_that_is_late_shut_or_gone() -> None:
    simulation = Simulation({"thermal": "late@5+4:2,shutter@14+1.5,unplug@20+3"})
    said = list(simulation.run(28))
    told = bundles(said)
    # Colour and depth go on, at colour's rate, without a break and without waiting longer than the deadline.
    assert [bundle.number for bundle in told] == list(
        range(1, simulation.given["color"] - simulation.rig.reports["color"].fates["waiting"] + 1)
    )
    assert all(said_.at_ns - said_.what.frames["color"].arrival_t_ns <= DEADLINE_NS + 20 * MS for said_ in said if said_.what in told)  # type: ignore[union-attr]
    assert all("depth" in bundle.frames for bundle in told)
    kinds = {}
    for bundle in told:
        at = seconds(bundle.t_ns)
        kinds[at] = "missing" if "thermal" in bundle.missing else "held" if "thermal" in bundle.held else "new"
        if "thermal" in bundle.frames:
            away = abs(simulation.truth.away_ns(bundle, "thermal"))
            assert away <= TOLERANCE_NS + MARGIN_NS or ("thermal" in bundle.held and away <= 500 * MS + MARGIN_NS)
        assert ("thermal" in bundle.skew_ns) == ("thermal" in bundle.frames)

    def between(first: float, last: float) -> set[str]:
        return {kind for at, kind in kinds.items() if first <= at < last}

    assert "missing" not in between(1, 5) | between(12, 14) | between(16, 20) | between(24, 27.9)
    for first, last in ((5.7, 9), (14.7, 15.4), (20.7, 23)):
        assert between(first, last) == {"missing"}, "nothing is fused that is not of now"
    for first, last in ((5.2, 5.4), (14.2, 14.4), (20.2, 20.4)):
        assert between(first, last) == {"held"}, "the last good picture is held, and said to be"
    assert [state[:2] for state in states(said)] == [("thermal", "lost"), ("thermal", "back")]


def test_whatever_is_wrong_every_frame_is_accounted_for() -> None:
    faults = {"color": "late@9+1:0.3,jump@20:1.5", "depth": "freeze@4+2,unplug@12+2,jump@25:-0.4", "thermal": "late@5+4:2,shutter@14+1.5"}
    simulation = Simulation(faults)
    said = list(simulation.run(30))
    for name, report in simulation.rig.reports.items():
        assert sum(report.fates.values()) == simulation.given[name] == report.frames
    assert len(bundles(said)) == simulation.given["color"] - simulation.rig.reports["color"].fates["waiting"]


def test_two_runs_are_one_run() -> None:
    faults = {"thermal": "late@2+2:1,jump@6:0.5", "depth": "freeze@3+2"}

    def run() -> list[object]:
        return [(s.at_ns, getattr(s.what, "number", None), getattr(s.what, "skew_ns", None), getattr(s.what, "state", None)) for s in
                Simulation(faults).run(9)]  # fmt: skip

    assert run() == run()
