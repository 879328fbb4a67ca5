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
def test_samples_keep_their_distance_unless_catching_up(steps: list[int], period: int) -> None:
    sampler, taken, t = Sampler(period), [], 0
    for step in steps:
        t += step
        if sampler.admit(t):
            taken.append(t)
    # Two in a row may be late and early: never closer than the early share allows on a target grid.
    assert all(b - a >= 0 for a, b in itertools.pairwise(taken))
    # n samples span at least n−1 periods less the tolerance: nothing is sampled faster than asked.
    if len(taken) > 2:
        assert taken[-1] - taken[0] >= (len(taken) - 1) * period - 2 * 1.25 * period


def test_restart_samples_the_next_frame() -> None:
    sampler = Sampler(100)
    assert sampler.admit(0)
    assert not sampler.admit(10)
    sampler.restart()
    assert sampler.admit(11)


def test_a_period_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Sampler(0)
