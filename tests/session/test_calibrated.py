"""A temperature and label sets in the manifest: what the session says is calibrated, in events and for the whole clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from engines.finishing import Calibration
from engines.manifest import Expression
from service.events import ClipPrediction, Prediction, wire
from service.settings import Uncalibrated
from service.windows.value import Value, calibrated
from tests.session.world import bundle, face, model, pipeline, push_all, results

MOODS = [(0.0, 1.0, 0.2, -1.0), (0.3, 0.9, 0.0, 0.0), (1.5, 0.0, 0.1, 0.0), (0.0, 0.4, 0.3, 0.2)]


def said(
    frames: int = 12, window: dict[str, Any] | None = None, **extra: Any
) -> tuple[list[Prediction], ClipPrediction, list[Uncalibrated]]:
    heard: list[Uncalibrated] = []
    pipe = pipeline(model(4, 4, 2, window=window, **extra), ends=True, on_window=heard.append)
    events = push_all(pipe, [bundle(k, [face(mood=MOODS[k % 4])]) for k in range(1, frames + 1)])
    spoken = [f.prediction for e in results(events) for f in e.faces if f.prediction is not None]
    (clip,) = [event for event in events if isinstance(event, ClipPrediction)]
    return spoken, clip, heard


def by_label(prediction: Prediction | ClipPrediction) -> np.ndarray:
    scores = {score.name: score.probability for score in prediction.scores}
    return np.array([scores[label] for label in sorted(scores)])


def runtime(temperature: float, sets: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"temperature": temperature, "source": "a test", "ece": 0.01, "runtime": True, "sets": sets}


def softened(p: np.ndarray, temperature: float) -> np.ndarray:
    return p ** (1 / temperature) / (p ** (1 / temperature)).sum()


@pytest.mark.parametrize("smoothing", [None, {"alpha": 0.2}])
def test_events_and_the_clip_are_calibrated_after_smoothing(smoothing: dict[str, float] | None) -> None:
    plain, _, heard_plain = said(smoothing=smoothing)
    spoken, clip, heard = said(smoothing=smoothing, calibration=runtime(2.5))
    assert len(spoken) == len(heard) == 5
    for before, after, raw, raw_plain in zip(plain, spoken, heard, heard_plain, strict=True):
        np.testing.assert_allclose(by_label(after), softened(by_label(before), 2.5), atol=1e-12)
        np.testing.assert_array_equal(raw.probabilities, raw_plain.probabilities)
        assert np.sort(raw.probabilities) == pytest.approx(np.sort(by_label(before)))
        assert raw.frame == after.window.frames[-1]
    unsmoothed = [by_label(p) for p in said()[0]]
    np.testing.assert_allclose(by_label(clip), np.mean([softened(p, 2.5) for p in unsmoothed], axis=0), atol=1e-12)
    assert spoken[0].uncertainty is not None
    assert spoken[0].uncertainty.calibrated
    assert spoken[0].uncertainty.set is None


def test_a_temperature_inside_the_graph_is_not_applied_again() -> None:
    plain, clip, _ = said()
    inside, inside_clip, _ = said(calibration={"temperature": 2.5, "source": "a test", "ece": 0.01})
    assert [p.scores for p in inside] == [p.scores for p in plain]
    assert inside_clip.scores == clip.scores


@pytest.mark.parametrize("window", [{"scope": "clip"}, None])
def test_a_clip_of_one_window_is_calibrated_too(window: dict[str, Any] | None) -> None:
    _, before, _ = said(frames=3, window=window)
    _, after, heard = said(frames=3, window=window, calibration=runtime(0.5))
    np.testing.assert_allclose(by_label(after), softened(by_label(before), 0.5), atol=1e-12)
    assert [raw.filled for raw in heard] == [0.75]


def test_sets_hold_the_best_label_and_those_above_their_floor() -> None:
    names = [score.name for score in said()[0][0].scores]
    floor = dict.fromkeys(names, 0.999)
    spoken, _, _ = said(calibration=runtime(1.0, {"coverage": 0.9, "floor": floor, "per_label": False, "groups": 20}))
    assert {p.uncertainty.set for p in spoken if p.uncertainty} == {(spoken[0].label,)}
    floor |= {names[2]: 0.0}
    spoken, _, _ = said(calibration=runtime(1.0, {"coverage": 0.9, "floor": floor, "per_label": True, "groups": 20}))
    (first, *_) = spoken
    assert first.uncertainty is not None
    assert first.uncertainty.set == (names[0], names[2])
    pipe = pipeline(model(4, 4, 2, calibration=runtime(1.0, {"coverage": 0.9, "floor": floor, "per_label": True, "groups": 20})))
    event = results(push_all(pipe, [bundle(k, [face(mood=MOODS[0])]) for k in range(1, 5)]))[-1]
    assert wire(event)["faces"][0]["prediction"]["uncertainty"]["set"] == [names[0], names[2]]


def test_sets_must_name_every_label() -> None:
    sets = {"coverage": 0.9, "floor": {"neutral": 0.5}, "per_label": False, "groups": 20}
    with pytest.raises(ValidationError, match=r"calibration\.sets\.floor must have one number for each of labels"):
        model(4, 4, 2, calibration=runtime(1.0, sets))


def test_a_probability_of_zero_stays_finite() -> None:
    manifest = model(4, 4, 2).manifest
    assert isinstance(manifest, Expression)
    changed = manifest.model_copy(update={"calibration": Calibration(temperature=3.0, source="a test", ece=0.0, runtime=True)})
    value = calibrated(Value(np.array([1.0, 0.0, 0.0, 0.0]), None), changed)
    assert value.finite
    assert value.probabilities is not None
    assert value.probabilities.sum() == pytest.approx(1.0)
