"""The target-time rule: rates, causality, and no drift."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.windows.sampling import Sampler


def test_no_period_samples_every_frame() -> None:
    sampler = Sampler(None)
    assert all(sampler.admit(t) for t in (0, 1, 2, 10**12))


@given(fps=st.floats(4.1, 60), phase=st.integers(0, 10**9), jitter=st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=20))
def test_four_hertz_from_any_source(fps: float, phase: int, jitter: list[float]) -> None:
    sampler, step = Sampler(250_000_000), 1e9 / fps
    count = int(fps * 60)
    times = [phase + round((i + jitter[i % len(jitter)]) * step) for i in range(count)]
    taken = [t for t in times if sampler.admit(t)]
    rate = (len(taken) - 1) / ((taken[-1] - taken[0]) / 1e9)
    assert rate == pytest.approx(4.0, rel=0.03)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60), st.integers(10**6, 10**9))
def test_a_later_frame_never_changes_an_earlier_answer(steps: list[int], period: int) -> None:
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    whole, part = Sampler(period), Sampler(period)
    assert [whole.admit(t) for t in times][: len(times) // 2] == [part.admit(t) for t in times[: len(times) // 2]]


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=60), st.integers(10**6, 10**9))
def test_no_faster_than_asked_and_no_frame_passed_over_that_is_a_period_late(steps: list[int], period: int) -> None:
    sampler, times = Sampler(period), list(itertools.accumulate(steps))
    taken = [i for i, t in enumerate(times) if sampler.admit(t)]
    # Targets lie a period apart or more; of two frames the first may be a period late, the second a quarter early.
    for i, j in itertools.combinations(range(len(taken)), 2):
        assert times[taken[j]] - times[taken[i]] >= (j - i - 1.25) * period
    assert taken[0] == 0
    for i in set(range(len(times))) - set(taken):
        assert times[i] - times[max(k for k in taken if k < i)] < period


# Times in ms; the frames that are sampled, worked out on paper: in brackets the target after each of them.
TABLE = {
    "steady, 30 fps, 250 ms": (
        250,
        [round(k * 100 / 3, 3) for k in range(31)],
        [0, 6, 14, 21, 29],
    ),  # (250) (500) (750) (1000)
    "on the target": (100, [0, 100, 200, 300], [0, 1, 2, 3]),
    "a quarter early is taken": (100, [0, 75, 175], [0, 1, 2]),  # (100) (200) (300)
    "a hair more than a quarter early is not": (100, [0, 74.999, 75, 174.999, 175], [0, 2, 4]),
    "a frame late by a period keeps the grid": (
        100,
        [0, 200, 201, 202, 274, 275, 374, 375],
        [0, 1, 2, 5, 7],
    ),  # (100) (200) (300) (400)
    "a frame later still begins a new grid": (100, [0, 200.001, 274, 275, 276], [0, 1, 4]),  # (100) (300.001)
    "after a long hole": (100, [0, 100, 350, 360, 424, 425, 524, 525], [0, 1, 2, 5, 7]),  # (100) (200) (450) (550)
    "a source as slow as the period": (250, [0, 249, 499, 750, 1000], [0, 1, 2, 3, 4]),
    "a source slower than the period": (250, [0, 300, 600, 900], [0, 1, 2, 3]),
}


@pytest.mark.parametrize(("period_ms", "times_ms", "sampled"), TABLE.values(), ids=TABLE)
def test_exactly_these_frames_are_sampled(period_ms: int, times_ms: list[float], sampled: list[int]) -> None:
    sampler = Sampler(period_ms * 1_000_000)
    times = [round(t * 1e6) for t in times_ms]
    assert [i for i, t in enumerate(times) if sampler.admit(t)] == sampled


def test_the_grid_does_not_drift_over_an_hour() -> None:
    sampler = Sampler(250_000_000)
    # Targets at 0, 0.25, … 3599.75 s, and the last frame, of 3599.967 s, is early enough for the one at 3600 s.
    assert sum(sampler.admit(round(k * 1e9 / 30)) for k in range(30 * 3600)) == 4 * 3600 + 1


def test_restart_samples_the_next_frame() -> None:
    sampler = Sampler(100)
    assert [sampler.admit(t) for t in (0, 10)] == [True, False]
    sampler.restart()
    # From 11 on, not from 100: the target is 111, a quarter early is 86.
    assert [sampler.admit(t) for t in (11, 85, 86)] == [True, False, True]


def test_a_period_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Sampler(0)


def test_the_shortest_period_samples_every_frame() -> None:
    sampler = Sampler(1)
    assert [sampler.admit(t) for t in (0, 1, 2, 3)] == [True] * 4
