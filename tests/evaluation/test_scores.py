"""The scores against scikit-learn and scipy, and what they say of degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.evaluation import scores
from service.evaluation.scores import NONE

LABELS = ("neutral", "happy", "sad", "angry")
NUMBERS = st.floats(-1, 1, allow_nan=False, width=32)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    truth = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=60))
    return truth, draw(st.lists(st.sampled_from([*LABELS, NONE]), min_size=len(truth), max_size=len(truth)))


@st.composite
def traces(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(2, 80))
    first, second = (draw(arrays.arrays(np.float64, count, elements=NUMBERS)) for _ in range(2))
    return first, second


@given(answers())
def test_labels_agree_with_scikit_learn(given_answers: tuple[list[str], list[str]]) -> None:
    truth, predicted = given_answers
    counts = scores.confusion(truth, predicted, LABELS)
    every = [*LABELS, NONE]
    np.testing.assert_array_equal(counts, sklearn.metrics.confusion_matrix(truth, predicted, labels=every)[:-1])
    assert scores.accuracy(counts) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    there = [label for label in LABELS if label in truth or label in predicted]
    theirs = sklearn.metrics.f1_score(truth, predicted, labels=there, average=None, zero_division=0.0)
    ours = scores.f1(counts)
    np.testing.assert_allclose([ours[LABELS.index(label)] for label in there], theirs, atol=1e-12)
    assert np.isnan([ours[LABELS.index(label)] for label in LABELS if label not in there]).all()
    assert scores.macro_f1(counts) == pytest.approx(np.mean(theirs))
    occurring = [label for label in LABELS if label in truth]
    theirs = sklearn.metrics.recall_score(truth, predicted, labels=occurring, average="macro", zero_division=0.0)
    assert scores.macro_recall(counts) == pytest.approx(theirs)


@given(traces())
def test_traces_agree_with_scipy_and_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    assert scores.rmse(truth, predicted) == pytest.approx(sklearn.metrics.root_mean_squared_error(truth, predicted), abs=1e-12)
    # Nearly constant traces are left to the rules below: scipy itself warns that its own figure is not to be trusted there.
    assume(np.ptp(truth) > 1e-3 and np.ptp(predicted) > 1e-3)
    assert scores.cc(truth, predicted) == pytest.approx(scipy.stats.pearsonr(truth, predicted).statistic, abs=1e-9)


@given(traces())
def test_ccc_is_its_formula_and_bounded_by_cc(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    assume(np.ptp(truth) > 1e-3 and np.ptp(predicted) > 1e-3)
    rho = scipy.stats.pearsonr(truth, predicted).statistic
    by_words = 2 * rho * truth.std() * predicted.std() / (truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2)
    found = scores.ccc(truth, predicted)
    assert found == pytest.approx(by_words, abs=1e-9)
    assert abs(found) <= abs(scores.cc(truth, predicted)) + 1e-9
    assert scores.ccc(predicted, truth) == pytest.approx(found, abs=1e-12)
    assert scores.ccc(truth, truth) == pytest.approx(1.0)


@given(traces(), st.floats(0.1, 5), st.floats(-2, 2))
def test_cc_does_not_see_scale_and_offset_and_ccc_does(pair: tuple[np.ndarray, np.ndarray], gain: float, offset: float) -> None:
    truth, predicted = pair
    assume(np.ptp(truth) > 1e-2 and np.ptp(predicted) > 1e-2)
    moved = predicted * gain + offset
    assert scores.cc(truth, moved) == pytest.approx(scores.cc(truth, predicted), abs=1e-6)
    assert scores.ccc(truth, truth + 1.0) < 1.0


@pytest.mark.parametrize("value", [0.0, 0.1, -0.7, 1 / 3])
def test_constant_traces(value: float) -> None:
    flat, moving = np.full(7, value), np.linspace(-1, 1, 7)
    for truth, predicted in ((flat, moving), (moving, flat), (flat, flat)):
        assert math.isnan(scores.cc(truth, predicted))
    assert scores.ccc(flat, moving) == scores.ccc(moving, flat) == 0.0
    assert scores.ccc(flat, flat + 0.5) == 0.0
    assert math.isnan(scores.ccc(flat, flat))
    assert scores.rmse(flat, flat) == 0.0


@given(arrays.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e-200, 1e-200)))
def test_tiny_traces_do_not_underflow(values: np.ndarray) -> None:
    assume(np.ptp(values) > 1e-210)
    assert scores.cc(values, values) == pytest.approx(1.0)
    assert scores.ccc(values, values) == pytest.approx(1.0)


def test_little_and_nothing() -> None:
    assert math.isnan(scores.rmse([], []))
    assert math.isnan(scores.cc([], []))
    assert math.isnan(scores.ccc([], []))
    assert math.isnan(scores.cc([0.5], [0.4]))
    assert math.isnan(scores.ccc([0.5], [0.4]))
    nothing = scores.confusion([], [], LABELS)
    assert all(math.isnan(score(nothing)) for score in (scores.accuracy, scores.macro_f1, scores.macro_recall))


def test_no_prediction_is_wrong_and_is_no_class() -> None:
    counts = scores.confusion(["happy", "happy", "sad"], ["happy", NONE, "sad"], LABELS)
    assert scores.accuracy(counts) == pytest.approx(2 / 3)
    np.testing.assert_allclose(scores.f1(counts), [np.nan, 2 / 3, 1.0, np.nan])
    assert scores.macro_f1(counts) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: scores.confusion(["happy"], [], LABELS), "1 true labels and 0 predicted"),
        (lambda: scores.confusion(["joy"], ["happy"], LABELS), "'joy'"),
        (lambda: scores.confusion([NONE], ["happy"], LABELS), "none of neutral"),
        (lambda: scores.confusion([], [], ["a", "a"]), "differ"),
        (lambda: scores.rmse([1.0], [1.0, 2.0]), r"\(1,\)"),
        (lambda: scores.cc([1.0, math.nan], [1.0, 2.0]), "NaN"),
        (lambda: scores.ccc([1.0, 2.0], [1.0, math.inf]), "infinity"),
    ],
)
def test_what_cannot_be_scored_is_refused(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
