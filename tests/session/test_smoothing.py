"""Causal smoothing, number by number: p ← alpha · p + (1 − alpha) · previous, of one track and model, over no gap."""

from __future__ import annotations

from typing import Any

import pytest

from service.events import ClipPrediction, Prediction
from service.inputs import Change, Input
from service.perception.synthetic import LABELS
from service.pipeline import Pipeline
from tests.session.world import MS, bundle, face, model, odds, pipeline, results

HIGH, LOW = odds(0.7, 0.1, 0.1, 0.1), odds(0.1, 0.7, 0.1, 0.1)
A_FIFTH = {"alpha": 0.2}


def smoothing(alpha: float, hop: int = 1, **more: Any) -> Pipeline:
    """A session whose windows are single frames, so that each says its face's mood."""
    return pipeline(model(1, 1, hop, smoothing={"alpha": alpha}), confirm=1, **more)


def neutral(pipe: Pipeline, inputs: list[Input], track: int = 1) -> list[float | None]:
    """What is said of "neutral" in each frame."""
    events = [event for given in inputs for event in results(pipe.push(given))]
    by_track = [{face.track: face.prediction for face in event.faces}.get(track) for event in events]
    return [None if prediction is None else probability(prediction, "neutral") for prediction in by_track]


def probability(said: Prediction | ClipPrediction, label: str) -> float:
    return next(score.probability for score in said.scores if score.name == label)


def stream(*moods: Any, start: int = 1, gates: dict[int, str] | None = None, step_ms: int = 100) -> list[Input]:
    return [bundle(n, [face(mood=mood, gate=(gates or {}).get(n))], n * step_ms * MS) for n, mood in enumerate(moods, start)]


# 0.7; then a fifth of 0.1 and four fifths of what was said before: 0.02 + 0.56 = 0.58; 0.02 + 0.464; 0.14 + 0.3872.
FALLING = [0.7, 0.58, 0.484, 0.5272]


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.2, FALLING), (0.5, [0.7, 0.4, 0.25, 0.475]), (0.9, [0.7, 0.16, 0.106, 0.6406]), (1.0, [0.7, 0.1, 0.1, 0.7])],
)
def test_a_share_of_alpha_is_new(alpha: float, expected: list[float]) -> None:
    assert neutral(smoothing(alpha), stream(HIGH, LOW, LOW, HIGH)) == pytest.approx(expected, abs=1e-6)


def test_all_labels_are_smoothed_and_the_label_is_of_the_smoothed() -> None:
    pipe = smoothing(0.2)
    said = [event.faces[0].prediction for given in stream(HIGH, LOW) for event in results(pipe.push(given))]
    assert said[1] is not None
    assert {score.name: score.probability for score in said[1].scores} == pytest.approx(
        {"neutral": 0.58, "happy": 0.22, "sad": 0.1, "angry": 0.1}, abs=1e-6
    )
    assert said[1].label == "neutral"
    assert said[1].scores[0].name == "neutral"


def test_nothing_is_smoothed_without_being_asked() -> None:
    pipe = pipeline(model(1, 1, 1), confirm=1)
    assert neutral(pipe, stream(HIGH, LOW, HIGH)) == pytest.approx([0.7, 0.1, 0.7], abs=1e-6)


# A gap in the samples of a track: the face is there, so that the track goes on, but its pictures are blurred.
@pytest.mark.parametrize(("blurred", "after"), [(4, 0.58), (5, 0.1)])
def test_an_old_mood_ends_with_a_gap(blurred: int, after: float) -> None:
    """Frames of 100 ms, gap 500 ms: after 4 blurred ones it is 500 ms from sample to sample, after 5 it is 600."""
    gates = dict.fromkeys(range(2, 2 + blurred), "blurred")
    said = neutral(smoothing(0.2), stream(HIGH, *[HIGH] * blurred, LOW, LOW, gates=gates))
    assert said[0] == pytest.approx(0.7, abs=1e-6)
    assert said[1 : 1 + blurred] == [None] * blurred
    assert said[1 + blurred] == pytest.approx(after, abs=1e-6)
    assert said[2 + blurred] == pytest.approx(0.2 * 0.1 + 0.8 * after, abs=1e-6)


def test_a_new_track_knows_nothing_of_the_old_one() -> None:
    pipe = smoothing(0.2)
    assert neutral(pipe, stream(HIGH, HIGH)) == pytest.approx([0.7, 0.7], abs=1e-6)
    # 600 ms later, in the same place.
    assert neutral(pipe, stream(LOW, HIGH, start=8), track=2) == pytest.approx([0.1, 0.22], abs=1e-6)


def test_two_faces_are_smoothed_each_by_itself() -> None:
    pipe = smoothing(0.2, faces=2)
    inputs: list[Input] = [
        bundle(n, [face(0, mood=one), face(1, x=400, mood=other)], n * 100 * MS)
        for n, (one, other) in enumerate([(HIGH, LOW), (LOW, LOW), (LOW, HIGH)], 1)
    ]
    events = [event for given in inputs for event in results(pipe.push(given))]
    said = [[probability(f.prediction, "neutral") for f in event.faces if f.prediction] for event in events]
    assert said == [pytest.approx(row, abs=1e-6) for row in ([0.7, 0.1], [0.58, 0.1], [0.484, 0.22])]


@pytest.mark.parametrize(
    ("change", "after"),
    [(Change(hop=1), 0.58), (Change(faces=2), 0.58), (Change(period_ms=None), 0.58), (Change(model="second"), 0.1)],
)
def test_another_model_forgets_what_was_said_and_other_changes_do_not(change: Change, after: float) -> None:
    second = model(1, 1, 1, id="second", smoothing=A_FIFTH)
    pipe = smoothing(0.2, models={"second": second})
    neutral(pipe, stream(HIGH))
    pipe.push(change)
    assert neutral(pipe, stream(LOW, start=2)) == pytest.approx([after], abs=1e-6)


def test_frames_that_are_not_due_smooth_nothing() -> None:
    # Due are 2, 4 and 6: 0.7, then 0.58, then 0.484, whatever the frames between them show.
    said = neutral(smoothing(0.2, hop=2), stream(LOW, HIGH, HIGH, LOW, HIGH, LOW))
    assert said == [
        None,
        pytest.approx(0.7, abs=1e-6),
        None,
        pytest.approx(0.58, abs=1e-6),
        None,
        pytest.approx(0.484, abs=1e-6),
    ]


def test_a_frame_without_numbers_is_left_out_of_it() -> None:
    broken = (float("nan"), 0.0, 0.0, 0.0)
    said = neutral(smoothing(0.2), stream(HIGH, broken, LOW))
    assert said == [pytest.approx(0.7, abs=1e-6), None, pytest.approx(0.58, abs=1e-6)]


def test_the_clip_prediction_is_the_mean_of_windows_that_are_not_smoothed() -> None:
    pipe = smoothing(0.2, ends=True)
    neutral(pipe, stream(HIGH, LOW, LOW, LOW))
    (clip,) = pipe.finish()
    assert isinstance(clip, ClipPrediction)
    assert [probability(clip, label) for label in LABELS] == pytest.approx([0.25, 0.55, 0.1, 0.1], abs=1e-6)
    assert (clip.label, clip.windows, clip.frames) == ("happy", 4, (1, 4))
