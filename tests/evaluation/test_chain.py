"""The post-processing chain: each step against its definition, and a fit that finds what was done to a trace."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engines.finishing import PostProcessing
from service.evaluation import chain, scores
from service.evaluation.chain import STEPS, USUAL, Pair


def wave(seconds: float = 60.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    t_s = np.arange(0, seconds, 0.04)
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    return t_s, 0.3 * np.sin(t_s / 3 + phase[0]) + 0.15 * np.sin(t_s / 7 + phase[1]) + 0.1


@given(st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=30)
def test_the_median_is_scipys_inside(seed: int, half: int) -> None:
    values = np.random.default_rng(seed).normal(size=120)
    found = chain.median(np.arange(120) * 0.04, values, 2 * half * 0.04)
    np.testing.assert_array_equal(found[half:-half], scipy.ndimage.median_filter(values, 2 * half + 1)[half:-half])
    assert found[0] == np.median(values[: half + 1])


def test_the_median_goes_by_time_and_not_by_count() -> None:
    t_s = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 9.0])
    np.testing.assert_array_equal(chain.median(t_s, np.array([1.0, 2, 9, 4, 6, 7]), 0.4), [2, 2, 2, 5, 5, 7])


def test_identity_is_the_default_and_values_stay_in_range() -> None:
    t_s, values = wave()
    np.testing.assert_array_equal(chain.apply(PostProcessing(source="none"), t_s, values), values)
    assert np.abs(chain.apply(PostProcessing(source="x", gain=50.0), t_s, values)).max() == 1.0


def test_a_shift_says_it_later() -> None:
    t_s, values = wave()
    np.testing.assert_allclose(chain.shifted(t_s, values, 2.0)[50:], values[:-50], atol=1e-12)
    assert set(chain.shifted(t_s, values, 2.0)[:50]) == {values[0]}


# At 0 to 5 s; within a second of each the medians are 0.3, 0, 0.2, 0.2, 0.2, 0.3.
JAGGED = np.array([0.0, 0.6, 0.0, 0.2, 0.2, 0.4])
STEP_BY_STEP = [
    ({"median_s": 2.0}, [0.3, 0.0, 0.2, 0.2, 0.2, 0.3]),
    ({"median_s": 2.0, "bias": 0.1}, [0.4, 0.1, 0.3, 0.3, 0.3, 0.4]),
    (
        {"median_s": 2.0, "bias": 0.1, "centre": 0.2, "gain": 2.0},
        [0.6, 0.0, 0.4, 0.4, 0.4, 0.6],
    ),  # (0.4 − 0.2) · 2 + 0.2
    ({"median_s": 2.0, "bias": 0.1, "centre": 0.2, "gain": 2.0, "shift_s": 1.0}, [0.6, 0.6, 0.0, 0.4, 0.4, 0.4]),
    ({"median_s": 2.0, "bias": 0.1, "centre": 0.2, "gain": 2.0, "shift_s": 0.5}, [0.6, 0.3, 0.2, 0.4, 0.4, 0.5]),
    ({"median_s": 2.0, "bias": 0.1, "centre": 0.2, "gain": 8.0}, [1.0, -0.6, 1.0, 1.0, 1.0, 1.0]),  # 1.8, −0.6, 1.0
    ({"bias": -0.5, "gain": 4.0}, [-1.0, 0.4, -1.0, -1.0, -1.0, -0.4]),
]


@pytest.mark.parametrize(("steps", "expected"), STEP_BY_STEP)
def test_the_chain_step_by_step(steps: dict[str, float], expected: list[float]) -> None:
    found = chain.apply(PostProcessing(source="by hand", **steps), np.arange(6.0), JAGGED)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_fit_by_hand() -> None:
    """Said is half of the truth and 0.3 too much: 0.3 off, then twice as far from the middle."""
    truth = np.array([-0.4, 0.0, 0.4, 0.2, -0.2])
    pairs = [Pair(np.arange(3.0), truth[:3], truth[:3] / 2 + 0.3), Pair(np.arange(2.0), truth[3:], truth[3:] / 2 + 0.3)]
    found = chain.fit(pairs, ("centre", "scale"), "by hand")
    assert (found.bias, found.centre, found.gain) == (
        pytest.approx(-0.3),
        pytest.approx(0.0, abs=1e-12),
        pytest.approx(2.0),
    )
    assert (found.median_s, found.shift_s, found.source) == (0.0, 0.0, "by hand")
    only = chain.fit(pairs, ("centre",), "by hand")
    assert (only.bias, only.gain) == (pytest.approx(-0.3), 1.0)


@given(st.floats(0.2, 3), st.floats(-0.5, 0.5), st.integers(0, 50))
@example(3.0, 0.0, 37)  # too large a prediction, cut off at the top: centring helps only together with scaling
@settings(max_examples=10)
def test_centring_and_scaling_undo_gain_and_offset(gain: float, offset: float, seed: int) -> None:
    t_s, truth = wave(seed=seed)
    fitted = chain.fit([Pair(t_s, truth, truth * gain + offset)], USUAL)
    fresh_t, fresh = wave(seed=seed + 1000)
    assert scores.ccc(fresh, chain.apply(fitted, fresh_t, fresh * gain + offset)) > 0.98


def test_noise_is_smoothed_and_lag_is_shifted() -> None:
    t_s, truth = wave()
    rng = np.random.default_rng(3)
    early = np.interp(t_s + 2.0, t_s, truth) + rng.normal(0, 0.15, len(t_s))
    pairs = [Pair(t_s, truth, early)]
    usual, all_steps = chain.fit(pairs), chain.fit(pairs, STEPS)
    assert usual.median_s >= 0.4
    assert usual.shift_s == 0
    assert all_steps.shift_s == pytest.approx(2.0, abs=0.5)
    before, after, best = (scores.ccc(truth, values) for values in
                           (early, chain.apply(usual, t_s, early), chain.apply(all_steps, t_s, early)))  # fmt: skip
    assert before < after < best


@given(st.integers(0, 300))
@settings(max_examples=20)
def test_a_fit_never_lowers_ccc_where_it_was_fitted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [Pair(np.arange(80) * 0.1, rng.uniform(-1, 1, 80), rng.uniform(-1, 1, 80)) for _ in range(2)]
    fitted = chain.fit(pairs, STEPS)
    truth, raw = np.concatenate([p.truth for p in pairs]), np.concatenate([p.predicted for p in pairs])
    finished = np.concatenate([chain.apply(fitted, p.t_s, p.predicted) for p in pairs])
    assert scores.ccc(truth, finished) >= scores.ccc(truth, raw) - 1e-12
    assert fitted.median_s <= 4
    assert fitted.shift_s <= 4


def test_degenerate_parts() -> None:
    t_s, truth = wave(4)
    assert chain.fit([], source="x") == PostProcessing(source="x")
    for pair in (
        Pair(t_s, truth, np.full(len(t_s), 0.2)),
        Pair(t_s, np.full(len(t_s), 0.2), truth),
        Pair(t_s[:1], truth[:1], truth[:1]),
    ):
        fitted = chain.fit([pair], STEPS)
        assert fitted.gain == 1.0
        assert np.isfinite(chain.apply(fitted, pair.t_s, pair.predicted)).all()
    with pytest.raises(ValueError, match="no step 'smoth'"):
        chain.fit([Pair(t_s, truth, truth)], ["smoth"])
