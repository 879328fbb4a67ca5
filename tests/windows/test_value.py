"""What a window says, in numbers worked out by hand: averaging, affect, scores, entropy, calibration, label sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engines.manifest import Expression
from service.events import Affect, Score
from service.perception.synthetic import LABELS, synthetic_expression
from service.windows import value as values
from service.windows.buffer import Sample
from service.windows.value import Value
from service.windows.window import Window, of_clip
from tests.session.world import bundle, face, model, odds, pipeline, results

NUMBERS = ("valence", "arousal")


def manifest(**extra: Any) -> Expression:
    return synthetic_expression(6, 2, 2, 1, **extra)


def regressor(*roles: str, **extra: Any) -> Expression:
    """A frame graph of probabilities and one number per role of `roles`; its outputs are not named as its roles."""
    names = {"probabilities": "p", "features": "features"} | {role: f"{role}_out" for role in roles}
    graph = manifest().graphs["frame"].model_dump(mode="json")
    graph["outputs"] = [{"name": name, "dtype": "float32", "shape": [4 if name == "p" else 1]} for name in names.values()]
    return manifest(outputs=names, graphs={"frame": graph}, **extra)


def window(*rows: dict[str, Any]) -> Window:
    """A window of samples with these values."""
    samples = [Sample(n, n, {name: np.array(numbers, np.float32) for name, numbers in row.items()}) for n, row in enumerate(rows, 1)]
    return of_clip(samples, synthetic_expression(6, len(samples), len(samples), 1), False)


# Averaging modes. The square roots of products of the first two rows are 0.16, 0.16, 0.32, 0.08, which sum to 0.72.
SQUARES = ((0.64, 0.16, 0.16, 0.04), (0.04, 0.16, 0.64, 0.16))
# The greatest of these are 0.6 and 0.3: they weigh 2 and 1.
SURE_AND_UNSURE = ((0.6, 0.2, 0.1, 0.1), (0.2, 0.3, 0.2, 0.3))
MODES = [
    ("mean-probabilities", SQUARES, (0.34, 0.16, 0.40, 0.10)),
    ("mean-logits", SQUARES, (2 / 9, 2 / 9, 4 / 9, 1 / 9)),
    ("mean-probabilities", SURE_AND_UNSURE, (0.4, 0.25, 0.15, 0.2)),
    ("confidence-weighted", SURE_AND_UNSURE, (7 / 15, 7 / 30, 2 / 15, 1 / 6)),
]


@pytest.mark.parametrize(("mode", "rows", "expected"), MODES)
def test_each_way_of_averaging(mode: str, rows: tuple[tuple[float, ...], ...], expected: tuple[float, ...]) -> None:
    found = values.aggregate(window(*({"probabilities": row} for row in rows)), manifest(aggregate=mode))
    assert found.probabilities == pytest.approx(expected, abs=1e-6)
    assert found.affect is None


@pytest.mark.parametrize(("mode", "rows", "expected"), MODES)
def test_each_way_of_averaging_in_a_session(mode: str, rows: tuple[tuple[float, ...], ...], expected: tuple[float, ...]) -> None:
    pipe = pipeline(model(2, 2, 2, aggregate=mode), confirm=1)
    pipe.push(bundle(1, [face(mood=odds(*rows[0]))]))
    (event,) = results(pipe.push(bundle(2, [face(mood=odds(*rows[1]))])))
    assert event.faces[0].prediction is not None
    said = {score.name: score.probability for score in event.faces[0].prediction.scores}
    assert said == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-6)


def test_a_frame_that_is_sure_that_it_is_not_leaves_numbers() -> None:
    found = values.aggregate(window({"probabilities": (1, 0, 0, 0)}, {"probabilities": (0, 1, 0, 0)}), manifest(aggregate="mean-logits"))
    # Nothing below 1e-12: two labels of (1 · 1e-12)^½ and two of 1e-12, which are 1 to 1e-6.
    assert found.probabilities == pytest.approx([0.5, 0.5, 5e-7, 5e-7], rel=1e-5)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("mean-probabilities", (0.1, 0.2)), ("mean-logits", (0.1, 0.2)), ("confidence-weighted", (0.2, 0.0))],
)
def test_valence_and_arousal_are_averaged_with_the_weights_of_their_frames(mode: str, expected: tuple[float, float]) -> None:
    rows = [{"p": row, "valence_out": v, "arousal_out": a} for row, v, a in zip(SURE_AND_UNSURE, (0.4, -0.2), (-0.4, 0.8), strict=True)]
    found = values.aggregate(window(*rows), regressor(*NUMBERS, aggregate=mode))
    assert found.affect == pytest.approx(expected, abs=1e-6)


def test_a_model_without_labels_says_its_numbers_alone() -> None:
    graph = manifest().graphs["frame"].model_dump(mode="json")
    graph["outputs"] = [{"name": name, "dtype": "float32", "shape": [1]} for name in NUMBERS]
    given = manifest(outputs={name: name for name in NUMBERS}, graphs={"frame": graph}, labels=(), aggregate="confidence-weighted")
    found = values.aggregate(window({"valence": 0.5, "arousal": 0.25}, {"valence": 0.0, "arousal": -0.75}), given)
    assert found.probabilities is None
    assert values.affect(found, given) == Affect(0.25, -0.25, False)
    assert (values.scores(found, given), values.uncertainty(found, given)) == ((), None)


# Valence and arousal.


@pytest.mark.parametrize(
    ("roles", "outputs", "expected"),
    [
        (NUMBERS, (0.25, -0.5), Affect(0.25, -0.5, False)),
        (("valence",), (0.25, -0.5), Affect(0.25, None, False)),
        (("arousal",), (0.25, -0.5), Affect(None, -0.5, False)),
        (NUMBERS, (1.5, -0.5), Affect(1.0, -0.5, False, (1.5, -0.5))),
        (NUMBERS, (0.25, -2.0), Affect(0.25, -1.0, False, (0.25, -2.0))),
        (("valence",), (-1.25, 0.0), Affect(-1.0, None, False, (-1.25, None))),
    ],
)
def test_predicted_affect_is_clamped_and_the_raw_pair_kept(roles: tuple[str, ...], outputs: tuple[float, float], expected: Affect) -> None:
    given = regressor(*roles)
    rows = {"p": np.full(4, 0.25), "valence_out": np.array([outputs[0]]), "arousal_out": np.array([outputs[1]])}
    assert values.affect(values.of_outputs(rows, given), given) == expected


# Neither the points nor the labels are in alphabetical order, and no two orders give the same sum.
POINTS = {"sad": (-0.6, -0.2), "neutral": (0.0, 0.1), "angry": (-0.4, 0.8), "happy": (0.8, 0.4)}


@pytest.mark.parametrize(
    ("probabilities", "valence", "arousal"),
    [
        ((1.0, 0.0, 0.0, 0.0), 0.0, 0.1),  # neutral
        ((0.0, 1.0, 0.0, 0.0), 0.8, 0.4),  # happy
        ((0.0, 0.0, 1.0, 0.0), -0.6, -0.2),  # sad
        ((0.0, 0.0, 0.0, 1.0), -0.4, 0.8),  # angry
        ((0.1, 0.2, 0.3, 0.4), -0.18, 0.35),  # 0.16 − 0.18 − 0.16; 0.01 + 0.08 − 0.06 + 0.32
    ],
)
def test_derived_affect_is_the_mean_of_the_points_of_its_labels(probabilities: tuple[float, ...], valence: float, arousal: float) -> None:
    given = manifest(affect={"points": POINTS, "source": "a test"})
    found = values.affect(Value(np.array(probabilities), None), given)
    assert found == Affect(pytest.approx(valence), pytest.approx(arousal), True)


def test_what_the_network_predicts_comes_before_what_could_be_derived() -> None:
    given = regressor(*NUMBERS, affect={"points": POINTS, "source": "a test"})
    found = values.affect(Value(np.array([0.0, 1.0, 0.0, 0.0]), np.array([-0.5, 0.25])), given)
    assert found == Affect(-0.5, 0.25, False)


def test_without_points_nothing_is_derived() -> None:
    assert values.affect(Value(np.array([0.0, 1.0, 0.0, 0.0]), None), manifest()) is None


# Scores, entropy, calibration.


def test_scores_are_by_probability_and_ties_in_the_manifests_order() -> None:
    assert values.scores(Value(np.array([0.2, 0.2, 0.5, 0.1]), None), manifest()) == (
        Score("sad", 0.5), Score("neutral", 0.2), Score("happy", 0.2), Score("angry", 0.1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("probabilities", "nats"),
    [
        ((1.0, 0.0, 0.0, 0.0), 0.0),
        ((0.5, 0.5, 0.0, 0.0), math.log(2)),
        ((0.25, 0.25, 0.25, 0.25), math.log(4)),
        ((0.5, 0.25, 0.125, 0.125), 1.75 * math.log(2)),
    ],
)
def test_entropy_is_in_nats(probabilities: tuple[float, ...], nats: float) -> None:
    found = values.uncertainty(Value(np.array(probabilities), None), manifest())
    assert found is not None
    assert found.entropy == pytest.approx(nats, abs=1e-9)
    assert (found.calibrated, found.set) == (False, None)


def _calibration(temperature: float, **more: Any) -> dict[str, Any]:
    return {"temperature": temperature, "source": "a test", "ece": 0.1, **more}


@pytest.mark.parametrize(
    ("temperature", "runtime", "expected"),
    [
        (2.0, True, (4 / 9, 2 / 9, 2 / 9, 1 / 9)),  # square roots: 0.8, 0.4, 0.4, 0.2
        (0.5, True, (256 / 289, 16 / 289, 16 / 289, 1 / 289)),  # squares: 0.4096, 0.0256, 0.0256, 0.0016
        (2.0, None, SQUARES[0]),  # the graph has done it
        (0.002, True, (1, 0, 0, 0)),  # 0.16^500 is 0 in a float64, 0.64^500 is 1e-97
        (0.0005, True, (1, 0, 0, 0)),  # 0.64^2000 would be 0 as well: the greatest is divided out first
    ],
)
def test_a_temperature_raises_to_its_reciprocal(temperature: float, runtime: bool | None, expected: tuple[float, ...]) -> None:
    given = manifest(calibration=_calibration(temperature, runtime=runtime))
    found = values.calibrated(Value(np.array(SQUARES[0]), np.array([0.5, 0.25])), given)
    assert found.probabilities == pytest.approx(expected, abs=1e-12)
    assert found.affect == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        ((0.5, 0.3, 0.15, 0.05), ("neutral", "happy")),  # sad is below its floor of 0.2
        ((0.49, 0.25, 0.2, 0.06), ("neutral", "sad")),  # happy below 0.3; sad on its floor
        ((0.1, 0.25, 0.15, 0.5), ("angry",)),  # the most probable is always there, though its floor is 0.9
    ],
)
def test_a_label_set_holds_the_best_and_what_reaches_its_floor(probabilities: tuple[float, ...], labels: tuple[str, ...]) -> None:
    floor = {"angry": 0.9, "happy": 0.3, "neutral": 0.4, "sad": 0.2}
    sets = {"coverage": 0.9, "floor": floor, "per_label": True, "groups": 20}
    found = values.uncertainty(Value(np.array(probabilities), None), manifest(calibration=_calibration(1.0, sets=sets)))
    assert found is not None
    assert found.set == labels
    assert found.calibrated


@pytest.mark.parametrize(
    ("probabilities", "affect", "finite"),
    [
        ((0.5, 0.5, 0.0, 0.0), (0.0, 0.0), True),
        ((0.5, math.nan, 0.0, 0.0), (0.0, 0.0), False),
        ((0.5, 0.5, 0.0, 0.0), (0.0, math.inf), False),
        (None, (math.nan, 0.0), False),
        (None, None, True),
    ],
)
def test_a_value_is_finite_if_all_its_numbers_are(probabilities: Any, affect: Any, finite: bool) -> None:
    found = Value(*(None if numbers is None else np.array(numbers) for numbers in (probabilities, affect)))
    assert found.finite == finite


def test_sums_shares_and_smoothing_of_both_kinds_of_numbers() -> None:
    one = Value(np.array([0.8, 0.2]), np.array([0.5, -0.5]))
    other = Value(np.array([0.4, 0.6]), np.array([-0.1, 0.3]))
    for found, probabilities, affect in (
        (values.added(one, other), (1.2, 0.8), (0.4, -0.2)),
        (values.scaled(one, 0.25), (0.2, 0.05), (0.125, -0.125)),
        (values.smoothed(one, other, 0.25), (0.5, 0.5), (0.05, 0.1)),
        (values.smoothed(one, None, 0.25), (0.8, 0.2), (0.5, -0.5)),
    ):
        assert found.probabilities == pytest.approx(probabilities)
        assert found.affect == pytest.approx(affect)
    bare = values.added(Value(one.probabilities, None), Value(other.probabilities, None))
    assert bare.affect is None
