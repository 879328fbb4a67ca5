"""From events to scores: gaps and tracks of a clip, the annotator's times, folds by subject."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.finishing import PostProcessing
from service.evaluation import judging, scores
from service.evaluation.dataset import Annotation, DatasetError, Labelled
from service.evaluation.hearing import FrameTrace, Heard, heard, sampled
from service.evaluation.judging import folds, judge, spread
from service.events import Event, SessionEvent
from service.intake import Source
from service.perception.synthetic import LABELS
from service.windows.trace import Trace
from tests.session.world import bundle, face, model, pipeline, push_all

POINTS = {label: (v, -v) for label, v in zip(LABELS, (0.0, 0.9, -0.8, 0.3), strict=True)}
HAPPY, SAD = (0.0, 4.0, 0.0, 0.0), (0.0, 0.0, 4.0, 0.0)


def clip(label: str | None = None, name: str = "a.mp4", subject: str = "", fold: str = "", truth: Annotation | None = None) -> Labelled:
    return Labelled(Source(Path(name), name), label, truth, subject, False, fold)


def events(faces: dict[int, list[Any]], frames: int) -> list[SessionEvent]:
    one = model(4, 4, 2, window={"max_gap_ms": 100}, affect={"points": POINTS, "source": "a test"})
    return push_all(pipeline(one, ends=True), [bundle(k, faces.get(k, [])) for k in range(1, frames + 1)])


def steady(mood: Any, first: int, last: int, x: float = 0.0) -> dict[int, list[Any]]:
    return {k: [face(mood=mood, x=x)] for k in range(first, last + 1)}


def test_a_gap_between_two_tracks_is_interpolated_and_the_longer_one_speaks() -> None:
    said = events(steady(HAPPY, 1, 12) | steady(SAD, 23, 44, x=400.0), 50)
    one = heard(clip("sad"), said)
    assert (one.tracks, one.frames, one.label) == (2, 50, "sad")
    assert one.trace is not None
    assert list(np.flatnonzero(one.trace.held) + 1) == [*range(1, 13), *range(23, 45)]
    # The fold of events is the same for frames that windows hold; between them it is a straight line in time.
    values = {v.frame: v for v in _trace(said) if not v.interpolated}
    np.testing.assert_allclose(one.trace.values["valence"][:12], [values[k].valence for k in range(1, 13)])
    (a, b) = one.trace.values["valence"][[11, 22]]
    np.testing.assert_allclose(one.trace.values["valence"][12:22], a + (b - a) * np.arange(1, 11) / 11, atol=1e-6)
    assert set(one.trace.values["valence"][44:]) == {one.trace.values["valence"][43]}
    assert one.trace.labels[:12] == ("happy",) * 12
    assert one.trace.labels[22:] == ("sad",) * 28


def _trace(said: list[SessionEvent]) -> list[Any]:
    trace = Trace()
    for event in said:
        trace.add(event)
    return trace.values()


def test_no_face_is_no_prediction_and_a_short_clip_has_no_trace() -> None:
    nobody, short = heard(clip("happy"), events({}, 12)), heard(clip("happy"), events(steady(HAPPY, 1, 3), 3))
    assert (nobody.label, nobody.trace, dict(nobody.values), nobody.with_face) == (None, None, {}, 0)
    assert (short.label, short.trace) == ("happy", None)
    whole = heard(clip("happy"), events(steady(HAPPY, 1, 12), 12))
    found = judge([nobody, short, whole], LABELS, {})
    assert found.clip is not None
    assert found.frame is not None
    assert scores.accuracy(found.clip.counts) == pytest.approx(2 / 3)
    # Frames of a clip in which nobody was found are wrong; a clip too short for a window says nothing by frame.
    assert scores.accuracy(found.frame.counts) == pytest.approx(12 / 24)
    assert judge([short], LABELS, {}).frame is None


def test_truth_is_met_at_its_own_times() -> None:
    said = events(steady(HAPPY, 1, 30), 30)
    times = np.array([0.0, 0.05, 0.5, 0.999, 1.2, 3.0])
    truth = Annotation(times, {"valence": np.linspace(-1, 1, 6)})
    found = sampled(heard(clip(truth=truth), said), "valence")
    assert found is not None
    np.testing.assert_array_equal(found.pair.t_s, times[:4])
    assert (found.interpolated, found.outside) == (0, 2)
    assert sampled(heard(clip(truth=truth), said), "arousal") is None


def test_truths_after_the_end_of_a_clip_are_in_no_mean() -> None:
    said = events(steady(HAPPY, 1, 30), 30)
    # The mean of what lies within the clip is what the model says of it; that of all is far off. Of the mood 0, 4, 0, 0
    # the softmax is e⁴ to three times 1, and the points of the labels are 0, 0.9, −0.8 and 0.3.
    value = (0.9 * np.e**4 - 0.8 + 0.3) / (np.e**4 + 3)
    within, beyond = ([value - 0.1, value + 0.1], [-1.0, -1.0, -1.0])
    truth = Annotation(np.array([0.0, 0.5, 2.0, 3.0, 4.0]), {"valence": np.array(within + beyond)})
    found = judge([heard(clip(truth=truth), said)], LABELS, {})
    assert found.means["valence"].rmse == pytest.approx(0, abs=1e-6)
    assert (found.means["valence"].outside, found.traces["valence"].outside) == (3, 3)
    late = Annotation(np.array([40.0, 80.0]), {"valence": np.array([0.0, 0.0])})
    nothing = judge([heard(clip(truth=late), said)], LABELS, {})
    assert (nothing.means, nothing.traces) == ({}, {})


def test_interpolated_values_are_counted() -> None:
    trace = FrameTrace(np.arange(10) / 10, np.array([True] * 4 + [False] * 3 + [True] * 3), (), {"valence": np.arange(10) / 10})
    # Frames at 0.4, 0.5 and 0.6 s are interpolated: nearest to them are 0.36, 0.41, 0.46, 0.51, 0.56 and 0.61 s.
    truth = Annotation(np.arange(0, 1, 0.05) + 0.01, {"valence": np.zeros(20)})
    one = Heard(clip(truth=truth), None, None, {}, trace, 1, 10, 7)
    found = sampled(one, "valence")
    assert found is not None
    assert found.interpolated == 6
    np.testing.assert_allclose(found.pair.predicted[:18], truth.t_s[:18])
    np.testing.assert_allclose(found.pair.predicted[18:], 0.9)


def heard_trace(seed: int, subject: str = "") -> Heard:
    rng = np.random.default_rng(seed)
    t_s, truth = np.arange(50) / 25, rng.uniform(-1, 1, 50)
    said = np.clip(truth * 0.5 + 0.2 + rng.normal(0, 0.1, 50), -1, 1)
    given = clip(name=f"{seed}.mp4", subject=subject, truth=Annotation(t_s, {"valence": truth}))
    return Heard(
        given,
        None,
        None,
        {"valence": float(said.mean())},
        FrameTrace(t_s, np.ones(50, bool), (), {"valence": said}),
        1,
        50,
        50,
    )


def test_traces_are_pooled_as_one_and_a_chain_is_applied() -> None:
    clips = [heard_trace(seed) for seed in range(3)]
    found = judge(clips, (), {"valence": PostProcessing(bias=-0.2, gain=2.0, source="a test")})
    truth = np.concatenate([c.clip.annotation.values["valence"] for c in clips if c.clip.annotation])
    said = np.concatenate([c.trace.values["valence"] for c in clips if c.trace])
    raw, finished = found.traces["valence"], found.finished["valence"]
    assert (raw.n, raw.clips, raw.missing, raw.interpolated) == (150, 3, 0, 0)
    assert raw.ccc == pytest.approx(scores.ccc(truth, said))
    assert finished.ccc == pytest.approx(scores.ccc(truth, np.clip((said - 0.2) * 2, -1, 1)))
    assert finished.ccc > raw.ccc
    assert found.means["valence"].n == 3
    assert set(found.figures()) == {f"valence {n}{k}" for n in ("rmse", "cc", "ccc") for k in ("", " post-processed", " of clips")}
    silent = Heard(clips[0].clip, None, None, {}, None, 0, 50, 0)
    assert judge([*clips, silent], (), {}).traces["valence"].missing == 1


@given(st.lists(st.integers(0, 14), min_size=2, max_size=60), st.integers(2, 12))
def test_folds_keep_subjects_together_and_even(of_subject: list[int], wanted: int) -> None:
    clips = [clip(name=f"{k}.mp4", subject=f"s{subject}") for k, subject in enumerate(of_subject)]
    subjects = {c.subject for c in clips}
    if wanted > len(subjects):
        with pytest.raises(DatasetError, match=f"there are {len(subjects)} subjects"):
            folds(clips, wanted)
        return
    found = folds(clips, wanted)
    assert len(found) == wanted
    assert Counter(c.source.name for some in found.values() for c in some) == Counter(c.source.name for c in clips)
    assert all(len({name for name, some in found.items() if subject in {c.subject for c in some}}) == 1 for subject in subjects)
    sizes, largest = [len(some) for some in found.values()], max(Counter(of_subject).values())
    assert max(sizes) - min(sizes) <= largest


def test_folds_by_subject_by_default_and_by_the_csv() -> None:
    assert list(folds([clip(subject=s) for s in "bca"], None)) == ["a", "b", "c"]
    assert len(folds([clip(subject=f"{k}") for k in range(23)], None)) == 10
    assert folds([clip(), clip()], None) == {}
    assert folds([clip(subject="a"), clip(subject="a")], None) == folds([clip(fold="1"), clip(fold="1")], None) == {}
    assert list(folds([clip(subject="a", fold="2"), clip(subject="b", fold="1")], None)) == ["1", "2"]
    with pytest.raises(DatasetError, match="subject 'a' is in folds '2' and '1'"):
        folds([clip(subject="a", fold="2"), clip(subject="a", fold="1")], None)
    with pytest.raises(DatasetError, match="give one of the two"):
        folds([clip(subject="a", fold="2")], 2)
    with pytest.raises(DatasetError, match="the CSV has no column subject"):
        folds([clip(), clip()], 2)


def test_spread_is_over_folds_where_a_figure_is_defined() -> None:
    found = [judge([heard_trace(seed)], (), {}) for seed in range(4)]
    flat = Heard(clip(truth=Annotation(np.arange(3.0), {"valence": np.zeros(3)})), None, None, {},
                 FrameTrace(np.arange(3.0), np.ones(3, bool), (), {"valence": np.full(3, 0.5)}), 1, 3, 3)  # fmt: skip
    over = spread([*found, judge([flat], (), {})])
    values = [one.traces["valence"].cc for one in found]
    assert over["valence cc"] == judging.Spread(pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)), 4)
    assert over["valence rmse"].folds == 5
    assert math.isnan(spread(found[:1])["valence cc"].std)


def test_events_that_are_no_results_change_nothing() -> None:
    said = events(steady(HAPPY, 1, 12), 12)
    frames = sum(isinstance(event, Event) for event in said)
    assert heard(clip("happy"), said).frames == frames == 12
