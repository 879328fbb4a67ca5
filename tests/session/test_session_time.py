"""Time in a session: what is in order, what is rejected, what begins a new time base; to the nanosecond."""

from __future__ import annotations

import pytest

from capture.frame import Bundle, Frame, Tick
from engines.engine import Arrays, BackendLost
from engines.synthetic import SyntheticEngine
from service.clock import SessionClock
from service.events import Event, Rejected, SourceEvent
from service.perception.synthetic import DETECTOR_ID, SyntheticPerception, find_row, table
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from tests.session.world import MS, D, bundle, engines, face, model, pipeline, results

GAP_MS = 500
STEPS = {
    -GAP_MS * MS - 1: "reset",
    -GAP_MS * MS: "time-order",
    -100 * MS: "time-order",
    -1: "time-order",
    0: "time-order",
    1: "in-order",
    GAP_MS * MS + 1: "in-order",
    10_000 * MS: "in-order",
    10_000 * MS + 1: "reset",
}


@pytest.mark.parametrize(("step_ns", "outcome"), STEPS.items())
def test_a_step_from_the_last_used_frame(step_ns: int, outcome: str) -> None:
    clock = SessionClock()
    assert clock.judge(bundle(1, [], 7_000 * MS), GAP_MS * MS) == "in-order"
    clock.last_ns = 7_000 * MS
    judged = clock.judge(bundle(2, [], 7_000 * MS + step_ns), GAP_MS * MS)
    assert (judged.code if isinstance(judged, Rejected) else judged) == outcome
    assert clock.last_ns == 7_000 * MS, "a frame is used only when its faces are found"


@pytest.mark.parametrize(("step_ms", "told"), [(0, "0.000"), (-100, "100.000"), (-500, "500.000")])
def test_a_frame_that_is_not_later_is_rejected_and_the_next_is_measured_from_the_last_used(step_ms: int, told: str) -> None:
    pipe = pipeline(model(2, 2, 1), confirm=1)
    pipe.push(bundle(1, [face()], 1900 * MS))
    pipe.push(bundle(2, [face()], 2000 * MS))
    (rejected,) = pipe.push(bundle(3, [face()], (2000 + step_ms) * MS))
    assert rejected == Rejected(3, "time-order", f"frame 3 is {told} ms before or at the last used frame; times must increase")
    # 1 ms after the rejected one is before the last used one still.
    (again,) = pipe.push(bundle(4, [face()], 1999 * MS))
    assert isinstance(again, Rejected)
    (event,) = pipe.push(bundle(5, [face()], 2001 * MS))
    assert isinstance(event, Event)
    assert event.t_ns == 2001 * MS
    assert event.faces[0].track == 1
    assert event.faces[0].prediction is not None
    assert event.faces[0].prediction.window.frames == (2, 5)


@pytest.mark.parametrize("broken", ["damaged", "finder"])
def test_only_a_frame_that_is_used_moves_the_time(broken: str) -> None:
    """At 200 ms comes a frame that cannot be used, at 100 ms one that can; and the same with a leap in time."""
    failing = False

    def find(inputs: Arrays) -> Arrays:
        if failing:
            raise BackendLost("the finder is gone")
        return find_row(inputs)

    session = Session(model(1, 1, 1), SyntheticPerception(D, confirm_frames=1), SessionOptions())
    pipe = Pipeline(session, Batcher({**engines(), (DETECTOR_ID, "full"): SyntheticEngine(find)}, {}))
    pipe.push(bundle(1, [face()], 0))
    for number, t_ms, code in ((2, 200, "image-broken"), (4, 60_000, "image-broken")):
        flags = frozenset({"corrupt"}) if broken == "damaged" else frozenset[str]()
        shown = table([face()], D)
        failing = broken == "finder"
        frames = {"cam": Frame("cam", "color", number, None, 0, shown, flags=flags)}
        (rejected,) = pipe.push(Bundle(number, t_ms * MS, "media", 0, frames))
        failing = False
        assert isinstance(rejected, Rejected)
        assert (rejected.frame, rejected.code) == (number, code if broken == "damaged" else "backend-lost")
        (event,) = pipe.push(bundle(number + 1, [face()], (number * 50) * MS))
        assert isinstance(event, Event)
        assert (event.t_ns, event.faces[0].track) == (number * 50 * MS, 1)


@pytest.mark.parametrize("step_ns", [-500 * MS - 1, 10_000 * MS + 1])
def test_a_new_time_base_has_its_own_times_from_there(step_ns: int) -> None:
    pipe = pipeline(model(1, 1, 1), confirm=1)
    pipe.push(bundle(1, [face()], 20_000 * MS))
    there = 20_000 * MS + step_ns
    reset, event = pipe.push(bundle(2, [face()], there))
    assert reset == SourceEvent("cam", "timebase-reset", "color", there)
    assert isinstance(event, Event)
    assert (event.faces[0].track, event.t_ns) == (2, there)
    (order,) = pipe.push(bundle(3, [face()], there - 1))
    assert isinstance(order, Rejected)
    (after,) = results(pipe.push(bundle(4, [face()], there + 1)))
    assert after.faces[0].track == 2


def test_a_frame_of_another_clock_is_rejected_and_says_what_to_do() -> None:
    pipe = pipeline(model(1, 1, 1), confirm=1)
    pipe.push(bundle(1, [face()], 1000 * MS, clock="client"))
    (rejected,) = pipe.push(bundle(2, [face()], 2000 * MS, clock="arrival"))
    assert isinstance(rejected, Rejected)
    assert (rejected.frame, rejected.code) == (2, "clock-mismatch")
    assert rejected.detail == (
        "frame 2 has time of clock 'arrival', but the session's first frame fixed 'client'; send t_capture_ns with every frame or with none"
    )
    (event,) = results(pipe.push(bundle(3, [face()], 1001 * MS, clock="client")))
    assert event.t_ns == 1001 * MS


@pytest.mark.parametrize(("late_ns", "track"), [(0, 1), (1, 2)])
def test_a_tick_ends_a_track_right_after_the_longest_gap(late_ns: int, track: int) -> None:
    pipe = pipeline(model(1, 1, 1), confirm=1)
    pipe.push(bundle(1, [face()], 1000 * MS, clock="host"))
    assert pipe.push(Tick(1500 * MS + late_ns)) == ()
    (event,) = results(pipe.push(bundle(2, [face()], 1400 * MS, clock="host")))
    assert event.faces[0].track == track
