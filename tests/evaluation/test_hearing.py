"""From events written by hand to a clip's label and trace: which track speaks, over gaps, at the annotator's times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from service.evaluation.dataset import Annotation, Labelled
from service.evaluation.hearing import FrameTrace, Heard, heard, sampled, within
from service.events import FaceEvent, Prediction, Rejected, SessionEvent
from service.intake import Source
from tests.session.written import clip, event, seen, spoken


def labelled(t_s: Sequence[float] = (), valence: Sequence[float] = ()) -> Labelled:
    truth = Annotation(np.array(t_s), {"valence": np.array(valence)}) if len(t_s) else None
    return Labelled(Source(Path("a.mp4"), "a.mp4"), None, truth)


def says(valence: float, *frames: int) -> Prediction:
    """A window of these frames that says "happy" as far as valence is above 0."""
    happy = (1 + valence) / 2
    return spoken({"happy": happy, "sad": 1 - happy}, (min(frames), max(frames)), (valence, -valence))


def fold(*events: SessionEvent) -> Heard:
    return heard(labelled(), events)


def trace_of(one: Heard) -> FrameTrace:
    assert one.trace is not None
    return one.trace


# Tracks.


def together(long: int, short: int) -> list[SessionEvent]:
    """Ten frames of 100 ms, track `long` in all of them and `short` in the first four: in these both have a value."""
    events: list[SessionEvent] = []
    for n in range(1, 11):
        faces: list[FaceEvent] = [seen(long, says(0.5, n))]
        if n <= 4:
            faces.append(seen(short, says(-0.5, n)))
        events.append(event(n, n * 100, sorted(faces, key=lambda one: one.track)))
    said = {
        long: clip(long, {"happy": 0.75, "sad": 0.25}, (0.5, -0.5)),
        short: clip(short, {"happy": 0.25, "sad": 0.75}, (-0.5, 0.5)),
    }
    return [*events, said[1], said[2]]


@pytest.mark.parametrize(("long", "short"), [(1, 2), (2, 1)])
def test_of_two_faces_at_once_the_one_that_is_seen_longest_is_meant(long: int, short: int) -> None:
    one = fold(*together(long, short))
    assert (one.label, one.probability, dict(one.values)) == ("happy", 0.75, {"valence": 0.5, "arousal": -0.5})
    assert (one.tracks, one.frames, one.with_face) == (2, 10, 10)
    assert trace_of(one).labels == ("happy",) * 10
    assert trace_of(one).values["valence"] == pytest.approx([0.5] * 10)
    assert trace_of(one).held.all()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_seen_as_long_the_first_is_meant(order: tuple[int, int]) -> None:
    says_of = {1: says(0.5, 1, 2), 2: says(-0.5, 1, 2)}
    faces = [seen(track, says_of[track]) for track in order]
    ends = [clip(track, {"happy": 0.75, "sad": 0.25} if track == 1 else {"happy": 0.25, "sad": 0.75}) for track in order]
    one = fold(event(1, 0, [seen(1), seen(2)]), event(2, 100, faces), *ends)
    assert (one.label, trace_of(one).labels) == ("happy", ("happy", "happy"))


def test_frames_in_which_a_face_was_tentative_do_not_count_for_it() -> None:
    """Track 1 is seen in five frames, in three of them tentatively; track 2 in three."""
    tentative = [event(n, n * 100, [seen(1, tentative=True)]) for n in (1, 2, 3)]
    both = [event(n, n * 100, [seen(1, says(-0.5, n)), seen(2, says(0.5, n))]) for n in (4, 5)]
    one = fold(*tentative, *both, event(6, 600, [seen(2, says(0.5, 6))]), clip(1, {"sad": 1.0}), clip(2, {"happy": 1.0}))
    assert one.label == "happy"
    assert trace_of(one).labels == ("happy",) * 6
    assert (one.frames, one.with_face) == (6, 6)


def test_a_face_that_was_never_confirmed_is_no_track() -> None:
    one = fold(event(1, 0, [seen(1, tentative=True)]), event(2, 100))
    assert (one.tracks, one.frames, one.with_face, one.label, one.trace) == (0, 2, 1, None, None)


def test_after_one_another_each_track_speaks_for_its_frames_and_between_them_is_a_line() -> None:
    one = fold(
        event(1, 0, [seen(1, says(0.8, 1))]), event(2, 100, [seen(1, says(0.8, 2))]), event(3, 200), event(4, 500),
        event(5, 600, [seen(2, says(-0.8, 5))]), event(6, 700),
    )  # fmt: skip
    found = trace_of(one)
    # 0.8 at 100 ms, −0.8 at 600 ms: 0.32 less per 100 ms; after the last, the last.
    assert found.values["valence"] == pytest.approx([0.8, 0.8, 0.48, -0.48, -0.8, -0.8])
    assert found.values["arousal"] == pytest.approx([-0.8, -0.8, -0.48, 0.48, 0.8, 0.8])
    assert found.labels == ("happy", "happy", "happy", "sad", "sad", "sad")
    assert found.held.tolist() == [True, True, False, False, True, False]
    assert found.t_s == pytest.approx([0, 0.1, 0.2, 0.5, 0.6, 0.7])


def test_a_clip_whose_stamps_begin_again_is_taken_in_the_order_of_its_times() -> None:
    one = fold(
        event(1, 500, [seen(1, says(0.5, 1))]),
        event(2, 600, [seen(1, says(0.3, 2))]),
        event(3, 50, [seen(2, says(-0.1, 3))]),
    )
    assert trace_of(one).t_s == pytest.approx([0.05, 0.5, 0.6])
    assert trace_of(one).values["valence"] == pytest.approx([-0.1, 0.5, 0.3])


def test_a_rejected_frame_is_no_frame_of_the_clip() -> None:
    one = fold(event(1, 0, [seen(1, says(0.5, 1))]), Rejected(2, "image-broken", "by hand"))
    assert (one.frames, len(trace_of(one).t_s)) == (1, 1)


def test_what_is_said_of_one_dimension_only() -> None:
    one = fold(event(1, 0, [seen(1, spoken({}, (1, 1), (0.5, None)))]), clip(1, {}, (0.25, None)))
    assert (set(trace_of(one).values), dict(one.values), one.label, trace_of(one).labels) == (
        {"valence"},
        {"valence": 0.25},
        None,
        (),
    )


# The annotator's times.

# A clip of ten frames of 100 ms, from 0 to 900 ms; the frames at 300 to 500 ms have no value of their own.
TRACE = FrameTrace(
    np.arange(10) / 10,
    np.array([True] * 3 + [False] * 3 + [True] * 4),
    (),
    {"valence": np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) / 10},
)


def at(*t_s: float, trace: FrameTrace | None = TRACE) -> Heard:
    return Heard(labelled(t_s, [0.1 * k for k in range(len(t_s))]), None, None, {}, trace, 1, 10, 10)


def test_truth_is_compared_with_the_value_at_its_time() -> None:
    found = sampled(at(0.0, 0.05, 0.42, 0.9, 0.95), "valence")
    assert found is not None
    assert found.pair.t_s == pytest.approx([0.0, 0.05, 0.42, 0.9, 0.95])
    assert found.pair.truth == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    # Within the last frame, which lasts until the next would come, its value holds.
    assert found.pair.predicted == pytest.approx([0.0, 0.05, 0.42, 0.9, 0.9])


@pytest.mark.parametrize(
    ("t_s", "interpolated"),
    [
        ((0.2,), 0),
        ((0.24,), 0),
        ((0.26,), 1),
        ((0.3, 0.4, 0.5), 3),
        ((0.54,), 1),
        ((0.56,), 0),
        ((0.0,), 0),
        ((0.99,), 0),
    ],
)
def test_a_value_counts_as_interpolated_if_the_nearest_frame_is(t_s: tuple[float, ...], interpolated: int) -> None:
    found = sampled(at(*t_s), "valence")
    assert found is not None
    assert found.interpolated == interpolated


@pytest.mark.parametrize(("t_s", "inside"), [((0.0, 0.9, 1.0), [True] * 3), ((0.5, 1.001, 1.5), [True, False, False])])
def test_a_frame_lasts_until_the_next_would_come(t_s: tuple[float, ...], inside: list[bool]) -> None:
    assert within(at(*t_s)).tolist() == inside
    found = sampled(at(*t_s), "valence")
    assert found is not None
    assert (len(found.pair.t_s), found.outside) == (sum(inside), len(inside) - sum(inside))


def test_where_there_is_nothing_to_compare_there_is_nothing() -> None:
    assert sampled(at(0.0, 0.1), "arousal") is None
    assert sampled(at(5.0, 6.0), "valence") is None
    assert sampled(at(0.0, trace=None), "valence") is None
    assert within(at(0.0, 99.0, trace=None)).tolist() == [True, True]


def test_a_picture_has_one_value_at_its_one_time() -> None:
    one = FrameTrace(np.array([0.0]), np.array([True]), (), {"valence": np.array([0.7])})
    found = sampled(at(0.0, 0.1, trace=one), "valence")
    assert found is not None
    assert (found.pair.predicted.tolist(), found.interpolated, found.outside) == ([0.7], 0, 1)
