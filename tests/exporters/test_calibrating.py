"""Temperature, calibration error and label sets: recovered where the truth is known, and held against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporters import calibrated, label_sets, temperature
from exporters.calibrated import Windows
from exporters.temperature import CalibrationRefused

LABELS = tuple("abcdef")
Rows = NDArray[np.float64]


def softmax(logits: Rows) -> Rows:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def overconfident(count: int, by: float, seed: int) -> tuple[Rows, NDArray[np.int64]]:
    """Labels drawn from honest probabilities, and those probabilities made too sure by a factor of the logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, len(LABELS)))
    labels = np.array([rng.choice(len(LABELS), p=row) for row in softmax(logits)], np.int64)
    return softmax(logits * by), labels


def grouped(groups: int, by: float, seed: int, people: bool = False) -> Windows:
    """Groups of 1 to 6 windows: those of a group have one label and resemble one another."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(LABELS), groups)
    sizes = rng.integers(1, 7, groups)
    shared = rng.normal(0, 1, (groups, len(LABELS)))
    shared[np.arange(groups), truth] += 1.2
    group = np.repeat(np.arange(groups), sizes)
    logits = shared[group] + rng.normal(0, 0.5, (len(group), len(LABELS)))
    return Windows(softmax(logits * by), truth[group].astype(np.int64), group, group, people, LABELS, ("0" * 64,), "m")


@pytest.mark.parametrize("by", [0.5, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_temperature_is_recovered_and_the_figures_fall(by: float, seed: int) -> None:
    rows, labels = overconfident(6000, by, seed)
    found = temperature.fit(rows, labels)
    assert found == pytest.approx(by, rel=0.08)
    fresh, fresh_labels = overconfident(6000, by, seed + 100)
    after = temperature.tempered(fresh, found)
    assert temperature.calibration_error(after, fresh_labels) < 0.03
    if by != 1.0:
        assert temperature.likelihood_loss(after, fresh_labels) < temperature.likelihood_loss(fresh, fresh_labels)
        assert temperature.calibration_error(after, fresh_labels) < 0.5 * temperature.calibration_error(fresh, fresh_labels)


@given(st.integers(0, 1000), st.floats(0.3, 3))
@settings(max_examples=25)
def test_another_optimiser_finds_the_same(seed: int, by: float) -> None:
    rows, labels = overconfident(300, by, seed)
    weights = np.random.default_rng(seed).uniform(0.1, 2, 300)

    def loss(log_temperature: float) -> float:
        scaled = np.log(np.maximum(rows, 1e-12)) / np.exp(log_temperature)
        picked = scaled[np.arange(300), labels] - scipy.special.logsumexp(scaled, axis=1)
        return -float(np.average(picked, weights=weights))

    theirs = scipy.optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    found = temperature.fit(rows, labels, weights)
    assert found == pytest.approx(float(np.exp(theirs.x)), rel=1e-4)
    assert temperature.likelihood_loss(temperature.tempered(rows, found), labels, weights) == pytest.approx(theirs.fun, abs=1e-9)


@given(st.integers(0, 1000), st.integers(1, 20))
def test_calibration_error_is_its_definition(seed: int, bins: int) -> None:
    rows, labels = overconfident(200, 3.0, seed)
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == labels
    expected = 0.0
    for k in range(bins):
        inside = (confidence > k / bins) & (confidence <= (k + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert temperature.calibration_error(rows, labels, bins=bins) == pytest.approx(expected, abs=1e-12)


def test_what_has_no_temperature_is_refused() -> None:
    sure = np.array([[0.9, 0.1], [0.8, 0.2]])
    with pytest.raises(CalibrationRefused, match="every window is right"):
        temperature.fit(sure, np.array([0, 0]))
    with pytest.raises(CalibrationRefused, match="no better than chance"):
        temperature.fit(sure, np.array([1, 1]))
    with pytest.raises(CalibrationRefused, match="no windows"):
        temperature.fit(np.zeros((0, 2)), np.zeros(0, np.int64))


@given(st.integers(0, 10_000), st.integers(1, 30), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_a_floor_is_the_largest_that_weighs_enough(seed: int, groups: int, coverage: float) -> None:
    windows = grouped(groups, 1.0, seed)
    of_truth = windows.probabilities[np.arange(len(windows.truth)), windows.truth]
    floor = label_sets.floor_of(of_truth, windows.group, coverage)

    def weighs(least: float) -> float:
        return sum(float(np.mean(of_truth[windows.group == g] >= least)) for g in range(groups)) / (groups + 1)

    enough = [value for value in of_truth if weighs(value) >= coverage - 1e-9]
    assert floor == (max(enough) if enough else 0.0)
    assert (floor == 0.0) == (groups < label_sets.least_groups(coverage))


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_least_groups(coverage: float, needed: int) -> None:
    assert label_sets.least_groups(coverage) == needed


@pytest.mark.parametrize("per_label", [False, True])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_truth_as_often_as_promised(coverage: float, per_label: bool) -> None:
    trials, count = 400, 40 if not per_label else 150
    covered, sizes = 0, []
    for trial in range(trials):
        windows = grouped(count + 1, 2.0, 1000 * trial + per_label)
        old, new = windows.of(windows.group < count), windows.of(windows.group == count)
        floor = label_sets.floors(old.probabilities, old.truth, old.group, coverage, per_label)
        one = np.random.default_rng(trial).integers(len(new.truth))
        within = label_sets.members(new.probabilities, floor)[one]
        covered += bool(within[new.truth[one]])
        sizes.append(within.sum())
    # A fair coin of that promise comes so low once in ten thousand such tests.
    assert covered >= scipy.stats.binom.ppf(1e-4, trials, coverage)
    assert np.mean(sizes) < 0.8 * len(LABELS)


def test_of_one_window_each_the_promise_is_not_exceeded_by_much() -> None:
    covered, trials = 0, 1000
    for trial in range(trials):
        rows, labels = overconfident(21, 2.0, trial)
        floor = label_sets.floor_of(rows[:20][np.arange(20), labels[:20]], np.arange(20), 0.9)
        covered += bool(rows[20, labels[20]] >= floor)
    low, high = scipy.stats.binom.ppf(1e-4, trials, 0.9), scipy.stats.binom.ppf(1 - 1e-4, trials, 0.9 + 1 / 21)
    assert low <= covered <= high


def test_calibrate_splits_by_group_and_measures_on_the_other_half() -> None:
    windows = grouped(200, 4.0, 5, people=True)
    outcome = calibrated.calibrate(windows)
    assert outcome.calibration.temperature > 1.5
    assert outcome.loss[1] < outcome.loss[0]
    assert outcome.error[1] < outcome.error[0]
    assert outcome.calibration.ece == outcome.error[1]
    assert "of 100 people" in outcome.fitted_on
    assert "of 100 people" in outcome.held_out
    assert outcome.calibration.sets is not None
    assert outcome.calibration.sets.groups == 100
    assert outcome.notes == ()
    assert calibrated.calibrate(windows) == outcome
    assert calibrated.calibrate(windows, seed=1).calibration.temperature != outcome.calibration.temperature


def test_few_groups_make_no_sets_and_one_makes_nothing() -> None:
    outcome = calibrated.calibrate(grouped(12, 4.0, 3))
    assert outcome.calibration.sets is None
    assert any("no label sets: 6 clips in the held-out half, 9 are needed" in note for note in outcome.notes)
    with pytest.raises(CalibrationRefused, match="1 clip with windows"):
        calibrated.calibrate(grouped(1, 4.0, 3))


def test_rare_labels_are_always_in_sets_per_label_and_said() -> None:
    windows = grouped(60, 3.0, 1)
    rare = windows.of((windows.truth != 5) | (windows.group == windows.group[windows.truth == 5][0]))
    outcome = calibrated.calibrate(rare, 0.8, per_label=True)
    assert outcome.calibration.sets is not None
    assert outcome.calibration.sets.floor["f"] == 0.0
    assert any("always in the sets" in note and note.endswith("f") for note in outcome.notes)


def test_a_temperature_that_does_not_help_is_not_taken() -> None:
    rows, labels = overconfident(40, 1.0, 0)
    outcomes = [
        calibrated.calibrate(Windows(rows, labels, np.arange(40), np.arange(40), False, LABELS, ("0" * 64,), "m"), seed=s) for s in range(8)
    ]
    # At temperature 1 both are one loss, and an older numpy rounds it once otherwise.
    assert all(outcome.loss[1] <= outcome.loss[0] + 1e-12 for outcome in outcomes)
    kept = [outcome for outcome in outcomes if outcome.calibration.temperature == 1.0]
    assert kept
    assert all("does not help" in outcome.notes[0] for outcome in kept)
