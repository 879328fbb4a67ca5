"""A device's clock from stamps: offset and drift recovered within 2 ms, jumps told from lateness."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.clock import WINDOW_S, DeviceClock

MS = 1_000_000
LEAST_MS = 20


def stamps(
    fps: float, seconds: float, offset_ms: float = 0.0, drift_ppm: float = 0.0, seed: int = 0, jitter: str = "even"
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """True host time, device time and arrival of a source's frames, ns; delays of 20 ms and up to 10 ms more, or a heavy tail."""
    rng = np.random.default_rng(seed)
    true = 10**12 + (np.arange(int(fps * seconds)) * 1e9 / fps).astype(np.int64) + int(rng.uniform(0, 1e9 / fps))
    device = (true * (1 + drift_ppm * 1e-6) + offset_ms * MS).astype(np.int64)
    late = rng.uniform(0, 10 * MS, len(true)) if jitter == "even" else rng.lognormal(np.log(5 * MS), 1.0, len(true))
    return true, device, true + LEAST_MS * MS + late.astype(np.int64)


def errors_ms(fps: float, seconds: float, from_s: float = 10.0, **hidden: float) -> list[float]:
    """What the estimate is off by at each frame after `from_s`; the least delay is part of the offset."""
    clock, wrong = DeviceClock(), []
    true, device, arrival = stamps(fps, seconds, **hidden)  # type: ignore[arg-type]
    for t, d, a in zip(true.tolist(), device.tolist(), arrival.tolist(), strict=True):
        assert clock.observe(d, a) == "ok"
        fix = clock.fix
        assert fix is not None
        if t - true[0] >= from_s * 1e9:
            wrong.append((fix.host_ns(d) - t) / MS - LEAST_MS)
    return wrong


@pytest.mark.parametrize("fps", [9.0, 10.0, 15.0, 30.0])
@pytest.mark.parametrize(("offset_ms", "drift_ppm"), [(500, 200), (-500, -200), (500, -200), (0, 0), (-123, 57)])
def test_hidden_offset_and_drift_are_found_within_two_milliseconds(fps: float, offset_ms: float, drift_ppm: float) -> None:
    for seed in range(4):
        wrong = errors_ms(fps, 25.0, offset_ms=offset_ms, drift_ppm=drift_ppm, seed=seed)
        assert max(map(abs, wrong)) <= 2.0


@pytest.mark.parametrize("drift_ppm", [200.0, -200.0])
def test_over_minutes_the_drift_itself_is_found(drift_ppm: float) -> None:
    clock = DeviceClock()
    true, device, arrival = stamps(30, 240, drift_ppm=drift_ppm)
    for d, a in zip(device.tolist(), arrival.tolist(), strict=True):
        clock.observe(d, a)
    assert clock.fix is not None
    # Host per device time: the reverse of the device's drift.
    assert clock.fix.drift_ppm == pytest.approx(-drift_ppm, abs=8)
    assert abs(clock.fix.host_ns(int(device[-1])) - int(true[-1]) - LEAST_MS * MS) <= MS
    assert clock.fix.uncertainty_ns < MS


def test_the_window_bounds_memory() -> None:
    """Twice the window is as much as the window: a clock that kept every stamp would be many times larger."""
    clock, sizes = DeviceClock(), []
    _, device, arrival = stamps(100, 3 * WINDOW_S)
    for n, (d, a) in enumerate(zip(device.tolist(), arrival.tolist(), strict=True), 1):
        clock.observe(d, a)
        if n % round(100 * WINDOW_S) == 0:
            sizes.append(len(pickle.dumps(clock)))
    assert len(sizes) == 3
    assert max(sizes) < 1.1 * sizes[0]
    assert max(sizes) < 100 * WINDOW_S * 8, "less than the stamps of one window"


def test_heavy_tails_widen_the_uncertainty() -> None:
    told = {}
    for jitter in ("even", "tail"):
        clock = DeviceClock()
        for _, d, a in zip(*(x.tolist() for x in stamps(9, 30, jitter=jitter)), strict=True):
            clock.observe(d, a)
        assert clock.fix is not None
        told[jitter] = clock.fix.uncertainty_ns
    assert told["tail"] > told["even"] > 0


@pytest.mark.parametrize(("jitter", "share"), [("even", 0.98), ("tail", 0.85)])
@pytest.mark.parametrize("fps", [9.0, 30.0])
def test_its_own_uncertainty_covers_its_errors(fps: float, jitter: str, share: float) -> None:
    covered = []
    for seed in range(8):
        clock = DeviceClock()
        true, device, arrival = stamps(fps, 40, offset_ms=300, drift_ppm=150 - 40 * seed, seed=seed, jitter=jitter)
        for t, d, a in zip(true.tolist(), device.tolist(), arrival.tolist(), strict=True):
            clock.observe(d, a)
            fix = clock.fix
            assert fix is not None
            if t - true[0] >= 10e9:
                covered.append(abs(fix.host_ns(d) - t - LEAST_MS * MS) <= fix.uncertainty_ns)
    assert np.mean(covered) >= share


@given(st.integers(-5_000, 5_000).filter(lambda ms: abs(ms) >= 120), st.sampled_from([9.0, 30.0]), st.integers(0, 50))
def test_a_jump_is_seen_at_its_first_frame_and_mapped_anew(jump_ms: int, fps: float, seed: int) -> None:
    clock = DeviceClock()
    true, device, arrival = stamps(fps, 8, offset_ms=100, drift_ppm=50, seed=seed)
    at = len(true) // 2
    device[at:] += jump_ms * MS
    for i, (t, d, a) in enumerate(zip(true.tolist(), device.tolist(), arrival.tolist(), strict=True)):
        assert (clock.observe(d, a) == "jump") == (i == at)
        fix = clock.fix
        assert fix is not None
        assert fix.epoch == (1 if i < at else 2)
        if i >= at:
            assert abs(fix.host_ns(d) - t - LEAST_MS * MS) <= 15 * MS


@pytest.mark.parametrize("fps", [9.0, 15.0, 30.0])
@pytest.mark.parametrize("jump_ms", [-110, -90, -60, -45, -30, 30, 45, 60, 90, 110])
def test_a_jump_of_less_than_an_interval_is_known_within_a_second_and_doubted_meanwhile(jump_ms: int, fps: float) -> None:
    for seed in range(3):
        clock = DeviceClock()
        true, device, arrival = stamps(fps, 16, offset_ms=100, drift_ppm=100 - 40 * seed, seed=seed)
        at = len(true) // 2 + seed
        device[at:] += jump_ms * MS
        jumps = []
        for i, (t, d, a) in enumerate(zip(true.tolist(), device.tolist(), arrival.tolist(), strict=True)):
            if clock.observe(d, a) == "jump":
                jumps.append(i)
            assert clock.fix is not None
            wrong = abs(clock.fix.host_ns(d) - t - LEAST_MS * MS)
            if i >= at:
                assert wrong <= max(15 * MS, clock.fix.uncertainty_ns + 10 * MS)
        assert len(jumps) == 1
        assert 0 <= jumps[0] - at <= 0.6 * fps


@pytest.mark.parametrize("late_ms", [60, 500, 2000])
def test_lateness_is_no_jump_and_does_not_move_the_estimate(late_ms: int) -> None:
    clock = DeviceClock()
    true, device, arrival = stamps(9, 120, offset_ms=-200, drift_ppm=100)
    from_i = len(true) // 3
    # Behind by so much from one frame on, for good: frames queue, none is lost.
    arrival[from_i:] += late_ms * MS
    for i, (t, d, a) in enumerate(zip(true.tolist(), device.tolist(), arrival.tolist(), strict=True)):
        verdict = clock.observe(d, a)
        assert verdict == ("ok" if i < from_i else "late")
        assert clock.fix is not None
        if i >= from_i + 16:
            assert abs(clock.fix.host_ns(d) - t - LEAST_MS * MS) <= 15 * MS
            assert clock.fix.uncertainty_ns >= late_ms * MS - 15 * MS, "what comes so late may as well be a clock that was set back"


def test_a_backlog_that_drains_and_frames_that_are_lost_are_no_jumps() -> None:
    clock = DeviceClock()
    true, device, arrival = stamps(30, 10)
    arrival[:45] = arrival[45] - (45 - np.arange(45)) * 1_000_000
    keep = np.ones(len(true), bool)
    keep[100:130] = False
    for d, a in zip(device[keep].tolist(), arrival[keep].tolist(), strict=True):
        assert clock.observe(d, a) != "jump"
    assert clock.fix is not None
    assert abs(clock.fix.host_ns(int(device[-1])) - int(true[-1]) - LEAST_MS * MS) <= 2 * MS


def test_a_restart_is_a_new_epoch_without_memory() -> None:
    clock = DeviceClock()
    assert clock.fix is None
    clock.observe(5, 10**9)
    clock.restart()
    assert clock.fix is None
    assert clock.observe(7, 5 * 10**9) == "ok"
    assert clock.fix is not None
    assert clock.fix.epoch == 2
    assert clock.fix.host_ns(7) == pytest.approx(5 * 10**9, abs=2000)
