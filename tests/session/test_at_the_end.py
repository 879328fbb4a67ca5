"""Clip predictions: of whom, over which frames, from how many windows; worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from service.events import ClipPrediction, SessionEvent
from service.inputs import Change, Input
from service.perception.synthetic import LABELS, SyntheticFace
from tests.session.world import MS, bundle, face, model, odds, pipeline, push_all, results

NEUTRAL, HAPPY, SAD = odds(0.7, 0.1, 0.1, 0.1), odds(0.1, 0.7, 0.1, 0.1), odds(0.1, 0.1, 0.7, 0.1)
A, B = 0.0, 400.0
"""Where two people sit."""


def frames(*seen: dict[float, Any], start: int = 1) -> list[Input]:
    """Frames of 100 ms, with a face per place and its mood."""
    inputs: list[Input] = []
    for n, there in enumerate(seen, start):
        faces: list[SyntheticFace] = [face(int(x), x=x, mood=mood) for x, mood in there.items()]
        inputs.append(bundle(n, faces, n * 100 * MS))
    return inputs


def ends(said: list[SessionEvent]) -> list[ClipPrediction]:
    return [event for event in said if isinstance(event, ClipPrediction)]


def shares(clip: ClipPrediction) -> list[float]:
    return [next(s.probability for s in clip.scores if s.name == label) for label in LABELS]


def test_a_face_that_is_gone_before_the_end_has_its_prediction_too() -> None:
    """The first leaves after frame 4, and 500 ms later its track ends; the second is there from frame 3 to frame 14."""
    seen = [{A: NEUTRAL}] * 2 + [{A: NEUTRAL, B: SAD}] * 2 + [{B: SAD}] * 10
    clips = ends(push_all(pipeline(model(2, 2, 2), faces=2, ends=True), frames(*seen)))
    assert [(clip.track, clip.label, clip.frames, clip.windows, clip.filled) for clip in clips] == [
        # Windows of the first, confirmed in frame 3: in 4. Of the second, confirmed in frame 5: in 6, 8, 10, 12, 14.
        (1, "neutral", (1, 4), 1, 1.0),
        (2, "sad", (3, 14), 5, 1.0),
    ]


def test_the_last_frame_of_a_track_is_the_last_it_was_seen_in() -> None:
    clips = ends(push_all(pipeline(model(2, 2, 2), ends=True), frames(*[{A: HAPPY}] * 5, {}, {}, {})))
    assert [(clip.frames, clip.windows) for clip in clips] == [((1, 5), 1)]


def test_who_was_never_confirmed_has_none() -> None:
    """At the end the second face has been there for two frames, one too few."""
    seen = [{A: HAPPY}] * 4 + [{A: HAPPY, B: SAD}] * 2
    clips = ends(push_all(pipeline(model(1, 1, 1), faces=2, ends=True), frames(*seen)))
    assert [clip.track for clip in clips] == [1]
    seen = [{A: HAPPY}] * 4 + [{A: HAPPY, B: SAD}] * 3
    clips = ends(push_all(pipeline(model(1, 1, 1), faces=2, ends=True), frames(*seen)))
    assert [(clip.track, clip.frames, clip.windows) for clip in clips] == [(1, (1, 7), 5), (2, (5, 7), 1)]


def test_a_tentative_face_has_no_window_however_full_its_buffer() -> None:
    events = results(push_all(pipeline(model(1, 1, 1)), frames(*[{A: HAPPY}] * 3)))
    told = [(f.no_call and (f.no_call.code, f.no_call.filled), f.prediction is not None) for event in events for f in event.faces]
    assert told == [(("window-filling", 1.0), False), (("window-filling", 1.0), False), (None, True)]


def test_a_face_without_a_full_window_has_one_of_what_there_is() -> None:
    """Of three samples 0.7, 0.7 and 0.1 neutral; the last stands for the fourth."""
    (clip,) = ends(push_all(pipeline(model(4, 4, 4), ends=True), frames({A: NEUTRAL}, {A: NEUTRAL}, {A: HAPPY})))
    assert shares(clip) == pytest.approx([0.4, 0.4, 0.1, 0.1], abs=1e-6)
    assert clip.window is not None
    assert (clip.window.frames, clip.window.candidates, clip.window.keyframes) == ((1, 2, 3, 3), (1, 3), False)
    assert (clip.window.span_ms, clip.window.filled, clip.filled, clip.windows) == (200.0, 0.75, 0.75, 1)


def test_samples_that_never_met_a_due_frame_make_one_window_too() -> None:
    """Hop 8, T 2, six frames: no frame was due. The last two of the buffer, for a model without selector."""
    (clip,) = ends(push_all(pipeline(model(2, 2, 8), ends=True), frames(*[{A: NEUTRAL}] * 5, {A: SAD})))
    assert clip.window is not None
    assert (clip.window.frames, clip.filled, clip.windows) == ((5, 6), 1.0, 1)
    assert shares(clip) == pytest.approx([0.4, 0.1, 0.4, 0.1], abs=1e-6)


def test_a_face_that_no_gate_let_through_has_none() -> None:
    inputs: list[Input] = [bundle(n, [face(gate="too-dark")], n * 100 * MS) for n in range(1, 9)]
    assert ends(push_all(pipeline(model(2, 2, 2), ends=True), inputs)) == []


def test_windows_without_numbers_are_in_no_mean() -> None:
    broken = (float("nan"), 0.0, 0.0, 0.0)
    (clip,) = ends(push_all(pipeline(model(1, 1, 1), confirm=1, ends=True), frames({A: NEUTRAL}, {A: broken}, {A: HAPPY})))
    assert shares(clip) == pytest.approx([0.4, 0.4, 0.1, 0.1], abs=1e-6)
    assert clip.windows == 2


@pytest.mark.parametrize("aggregate", ["window-mean", "trace-mean"])
def test_what_another_model_said_is_not_the_models(aggregate: str) -> None:
    """Also of a face that has gone: with the model its windows are forgotten."""
    second = model(1, 1, 1, id="second", window={"clip": aggregate})
    pipe = pipeline(model(1, 1, 1, window={"clip": aggregate}), confirm=1, ends=True, faces=2, models={"second": second})
    before = frames({A: NEUTRAL, B: SAD}, *[{A: NEUTRAL}] * 7)
    after = frames({A: HAPPY}, {A: HAPPY}, start=9)
    clips = ends(push_all(pipe, [*before, Change(model="second"), *after]))
    assert [(clip.track, clip.windows, clip.model.id, clip.frames) for clip in clips] == [(1, 2, "second", (1, 10))]
    assert shares(clips[0]) == pytest.approx([0.1, 0.7, 0.1, 0.1], abs=1e-6)


@pytest.mark.parametrize("aggregate", ["window-mean", "trace-mean"])
def test_each_face_has_a_mean_of_its_own(aggregate: str) -> None:
    pipe = pipeline(model(2, 2, 1, window={"clip": aggregate}), confirm=1, ends=True, faces=2)
    clips = ends(push_all(pipe, frames(*[{A: NEUTRAL, B: SAD}] * 3)))
    assert [clip.track for clip in clips] == [1, 2]
    assert shares(clips[0]) == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=1e-6)
    assert shares(clips[1]) == pytest.approx([0.1, 0.1, 0.7, 0.1], abs=1e-6)


@pytest.mark.parametrize("aggregate", ["window-mean", "trace-mean"])
def test_the_mean_of_windows_and_the_mean_of_frames(aggregate: str) -> None:
    """T 2, hop 1, frames of 0.7, 0.1 and 0.1 neutral: windows 0.4 and 0.1. By frames: 0.4, (0.4 + 0.1) / 2, 0.1."""
    pipe = pipeline(model(2, 2, 1, window={"clip": aggregate}), confirm=1, ends=True)
    (clip,) = ends(push_all(pipe, frames({A: NEUTRAL}, {A: HAPPY}, {A: HAPPY})))
    assert shares(clip)[0] == pytest.approx(0.25, abs=1e-6)
    # One more frame of 0.7: a window of 0.4. By windows 0.9 / 3; by frames 0.4, 0.25, 0.25, 0.4.
    pipe = pipeline(model(2, 2, 1, window={"clip": aggregate}), confirm=1, ends=True)
    (clip,) = ends(push_all(pipe, frames({A: NEUTRAL}, {A: HAPPY}, {A: HAPPY}, {A: NEUTRAL})))
    assert shares(clip)[0] == pytest.approx(0.3 if aggregate == "window-mean" else 0.325, abs=1e-6)


def test_a_session_without_an_end_has_none() -> None:
    pipe = pipeline(model(1, 1, 1), confirm=1)
    assert ends(push_all(pipe, frames(*[{A: HAPPY}] * 3))) == []
