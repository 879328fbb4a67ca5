"""The trace against means worked out by hand: overlaps, gaps, finality, affect, several tracks, labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.events import Event, Rejected
from service.windows.trace import Trace, TraceValue, track_mean
from tests.session.written import clip, event, seen, spoken


def odds(neutral: float) -> dict[str, float]:
    return {"neutral": neutral, "happy": 1 - neutral}


def folded(*events: Event) -> Trace:
    trace = Trace()
    for one in events:
        trace.add(one)
    return trace


def rows(trace: Trace, ended: bool = True, track: int = 1) -> list[tuple[int, float, int, bool, bool]]:
    """Frame, probability of neutral, windows, final, interpolated."""
    neutral = trace.labels.index("neutral")
    return [
        (v.frame, pytest.approx(v.scores[neutral]), v.windows, v.final, v.interpolated)
        for v in trace.values(ended)
        if v.track == track
    ]  # fmt: skip


# Frames of 100 ms but the last, which comes 300 ms after the one before. Frame 4 was not sampled.
# Windows: 1–3 says 0.9, 2–5 says 0.5, 5–6 says 0.1.
STREAM = (
    event(1, 0, [seen(1)]),
    event(2, 100, [seen(1)]),
    event(3, 200, [seen(1, spoken(odds(0.9), (1, 3)))]),
    event(4, 300, [seen(1, sampled=False)]),
    event(5, 400, [seen(1, spoken(odds(0.5), (2, 5)))]),
    event(6, 700, [seen(1, spoken(odds(0.1), (5, 6)))]),
)


def test_a_frames_value_is_the_mean_of_the_windows_that_hold_it() -> None:
    assert rows(folded(*STREAM)) == [
        (1, 0.9, 1, True, False),
        (2, 0.7, 2, True, False),  # 0.9 and 0.5
        (3, 0.7, 2, True, False),
        (4, 0.5, 0, True, True),  # halfway in time between 0.7 at 200 ms and 0.3 at 400 ms
        (5, 0.3, 2, True, False),  # 0.5 and 0.1
        (6, 0.1, 1, True, False),
    ]


def test_a_frame_is_final_when_the_newest_window_begins_after_it() -> None:
    assert [row[3] for row in rows(folded(*STREAM), ended=False)] == [True, True, True, True, False, False]
    assert [row[3] for row in rows(folded(*STREAM[:4]), ended=False)] == [False] * 4
    # Once the track is no more in the picture, nothing can be added to it.
    assert [row[3] for row in rows(folded(*STREAM, event(7, 800)), ended=False)] == [True] * 6


def test_what_lies_before_the_first_window_and_after_the_last_has_the_nearest_value() -> None:
    trace = folded(
        event(1, 0, [seen(1, sampled=False)]),
        event(2, 100, [seen(1)]),
        event(3, 200, [seen(1, spoken(odds(0.8), (2, 3)))]),
        event(4, 900, [seen(1)]),
    )
    assert rows(trace) == [
        (1, 0.8, 0, True, True),
        (2, 0.8, 1, True, False),
        (3, 0.8, 1, True, False),
        (4, 0.8, 0, True, True),
    ]


def test_between_frames_it_is_a_line_in_time_and_not_in_frames() -> None:
    trace = folded(
        event(1, 0, [seen(1, spoken(odds(0.2), (1, 1)))]),
        event(2, 100, [seen(1, sampled=False)]),
        event(3, 400, [seen(1, spoken(odds(0.6), (3, 3)))]),
    )
    assert rows(trace)[1] == (2, 0.3, 0, True, True)


def test_tracks_are_apart_and_in_the_order_of_their_numbers() -> None:
    trace = folded(
        event(1, 0, [seen(2, spoken(odds(0.2), (1, 1))), seen(1, spoken(odds(0.8), (1, 1)))]),
        event(2, 100, [seen(2, spoken(odds(0.4), (1, 2))), seen(7)]),
    )
    assert [(v.track, v.frame) for v in trace.values()] == [(1, 1), (2, 1), (2, 2)]  # of track 7 there is no window
    assert rows(trace, track=1) == [(1, 0.8, 1, True, False)]
    assert rows(trace, track=2) == [(1, 0.3, 2, True, False), (2, 0.4, 1, True, False)]
    assert [(v.track, v.final) for v in trace.values(ended=False)] == [(1, True), (2, False), (2, False)]


def test_valence_and_arousal_are_averaged_like_probabilities() -> None:
    trace = folded(
        event(1, 0, [seen(1)]),
        event(2, 100, [seen(1, spoken({}, (1, 2), (0.5, -0.25)))]),
        event(3, 200, [seen(1, spoken({}, (2, 3), (0.1, 0.75)))]),
    )
    assert trace.labels == ()
    assert [(v.scores, pytest.approx(v.valence), pytest.approx(v.arousal)) for v in trace.values()] == [
        ((), 0.5, -0.25), ((), 0.3, 0.25), ((), 0.1, 0.75),
    ]  # fmt: skip


def test_what_a_model_does_not_say_is_none() -> None:
    trace = folded(event(1, 0, [seen(1, spoken(odds(0.5), (1, 1), (0.5, None)))]))
    assert [(v.valence, v.arousal) for v in trace.values()] == [(0.5, None)]
    without = folded(event(1, 0, [seen(1, spoken(odds(0.5), (1, 1)))]))
    assert [(v.valence, v.arousal) for v in without.values()] == [(None, None)]


def test_labels_are_by_name_whatever_the_order_of_the_scores() -> None:
    trace = folded(
        event(1, 0, [seen(1, spoken({"sad": 0.5, "angry": 0.3, "happy": 0.2}, (1, 1)))]),
        event(2, 100, [seen(1, spoken({"happy": 0.7, "sad": 0.2, "angry": 0.1}, (1, 2)))]),
    )
    assert trace.labels == ("angry", "happy", "sad")
    assert [v.scores for v in trace.values()] == [pytest.approx((0.2, 0.45, 0.35)), pytest.approx((0.1, 0.7, 0.2))]


def test_other_events_change_nothing() -> None:
    trace = folded(*STREAM)
    before = rows(trace, ended=False)
    trace.add(Rejected(7, "image-broken", "by hand"))
    trace.add(clip(1, odds(0.0)))
    assert rows(trace, ended=False) == before


def test_the_mean_of_a_track_is_over_frames() -> None:
    value = {"t_ns": 0, "track": 1, "windows": 1, "final": True, "interpolated": False}
    found = track_mean([
        TraceValue(1, scores=(0.2, 0.8), valence=0.5, arousal=None, **value),  # type: ignore[arg-type]
        TraceValue(2, scores=(0.4, 0.6), valence=-0.1, arousal=None, **value),  # type: ignore[arg-type]
        TraceValue(3, scores=(0.9, 0.1), valence=0.2, arousal=None, **value),  # type: ignore[arg-type]
    ])  # fmt: skip
    assert found[:3] == pytest.approx([0.5, 0.5, 0.2])
    assert math.isnan(found[3])
    assert isinstance(found, np.ndarray)
