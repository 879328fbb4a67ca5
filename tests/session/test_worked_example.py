"""SEMANTICS' worked example, number by number."""

from __future__ import annotations

import numpy as np
import pytest

from capture.frame import Bundle
from service.events import SessionEvent
from service.ledger import Ledger
from service.windows.trace import Trace
from tests.session.world import bundle, face, model, pipeline, push_all, results, windows


def _clip(without: set[int] = frozenset()) -> list[Bundle]:  # type: ignore[assignment]
    """40 frames at 30 fps, one face in frames 1–12 and 16–40, whose mood is its frame number."""
    frames = []
    for number in range(1, 41):
        mood = (number / 10, 0.0, 0.0, 0.0)
        if number not in without:
            frames.append(bundle(number, [face(mood=mood)] if number <= 12 or number >= 16 else []))
    return frames


def _run(max_gap_ms: int, without: set[int] = frozenset()) -> list[SessionEvent]:  # type: ignore[assignment]
    pipe = pipeline(model(8, 8, 4, window={"max_gap_ms": max_gap_ms}), ends=True)
    return push_all(pipe, _clip(without))


def test_the_clip_as_written() -> None:
    said = _run(200)
    events = {event.frame: event for event in results(said)}
    assert [n for n, e in events.items() if e.due] == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert [n for n, e in events.items() if e.faces and e.faces[0].tentative] == [1, 2]
    no_call = events[4].faces[0].no_call
    assert no_call is not None
    assert (no_call.code, no_call.filled) == ("window-filling", 0.5)
    assert windows(said) == {
        8: (1, 2, 3, 4, 5, 6, 7, 8),
        12: (5, 6, 7, 8, 9, 10, 11, 12),
        16: (6, 7, 8, 9, 10, 11, 12, 16),
        20: (10, 11, 12, 16, 17, 18, 19, 20),
        **{due: tuple(range(due - 7, due + 1)) for due in (24, 28, 32, 36, 40)},
    }
    for number in (13, 14, 15):
        (lost,) = events[number].faces
        assert lost.track == 1
        assert lost.score is None
        assert lost.no_call is not None
        assert lost.no_call.code == "face-lost"
        assert lost.bbox == events[12].faces[0].bbox
    for number, event in events.items():
        if number not in (4, 13, 14, 15):
            assert all(f.no_call is None for f in event.faces)


def test_the_trace_of_the_clip() -> None:
    said = _run(200)
    trace = Trace()
    for event in said:
        trace.add(event)
    values = {value.frame: value for value in trace.values()}
    by_due = {e.frame: e.faces[0].prediction for e in results(said) if e.faces and e.faces[0].prediction}

    def mean(*dues: int) -> np.ndarray:
        rows = [{s.name: s.probability for s in by_due[due].scores} for due in dues]
        return np.mean([[row[label] for label in trace.labels] for row in rows], axis=0)

    assert values[9].scores == pytest.approx(mean(12, 16))
    assert values[12].scores == pytest.approx(mean(12, 16, 20))
    assert (values[9].windows, values[12].windows) == (2, 3)
    assert [n for n, v in values.items() if v.interpolated] == [13, 14, 15]
    between = np.array(values[12].scores), np.array(values[14].scores), np.array(values[16].scores)
    assert between[1] == pytest.approx((between[0] + between[2]) / 2, rel=1e-6)
    assert all(v.final for v in values.values())


def test_a_frame_of_the_trace_is_final_when_no_window_can_come_back() -> None:
    trace, pipe = Trace(), pipeline(model(8, 8, 4, window={"max_gap_ms": 200}))
    for given in _clip()[:24]:
        for event in pipe.push(given):
            trace.add(event)
    assert {v.frame for v in trace.values(ended=False) if v.final} == set(range(1, 17))


def test_with_a_shorter_gap_a_second_track_starts() -> None:
    said = _run(90)
    events = {event.frame: event for event in results(said)}
    assert [events[n].faces[0].track for n in (13, 14)] == [1, 1]
    assert events[15].faces == ()
    assert [n for n, e in events.items() if e.faces and e.faces[0].track == 2 and e.faces[0].tentative] == [16, 17]
    for due in (16, 20):
        no_call = events[due].faces[0].no_call
        assert no_call is not None
        assert no_call.code == "window-filling"
    assert windows(said)[24] == tuple(range(17, 25))
    assert [w for w in windows(said) if w > 12] == [24, 28, 32, 36, 40]


def test_live_with_two_frames_superseded() -> None:
    ledger = Ledger()
    pipe = pipeline(model(8, 8, 4, window={"max_gap_ms": 200}))
    due = []
    for given in _clip():
        number = ledger.receive()
        if number in (21, 22):
            ledger.dropped(number, "superseded")
            continue
        (event,) = results(pipe.push(given))
        ledger.used(number)
        if event.due:
            due.append(event.frame)
    counts = ledger.counts()
    assert (counts.received, counts.used, counts.dropped, counts.in_flight) == (40, 38, {"superseded": 2}, 0)
    assert due == [4, 8, 12, 16, 20, 26, 30, 34, 38]
