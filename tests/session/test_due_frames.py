"""Which frames are due, by hop, by period, after a reset, after a Change; the tables are worked out by hand."""

from __future__ import annotations

import pytest

from capture.frame import SourceState
from service.events import Event, SourceEvent
from service.inputs import Change, Input
from tests.session.world import MS, bundle, face, model, pipeline, results

# 30 fps, frame n at (n − 1) · 33.3 ms. Of 250 ms the targets are 0, 250, 500 … and a frame 62.5 ms early is taken:
# sampled are the frames 1 (0 ms), 7 (200), 15 (467), 22 (700), 30 (967), 37 (1200), 45 (1467), 52 (1700), 60 (1967).
# Of 80 ms (20 ms early): 1 (0), 3 (67), 6 (167), 8 (233), 10 (300), 13 (400), 15 (467), 18 (567), 20 (633), 22 (700),
# 25 (800).
AT_30_FPS = {
    "hop 1": (None, 1, 7, [1, 2, 3, 4, 5, 6, 7]),
    "hop 4": (None, 4, 13, [4, 8, 12]),
    "250 ms, hop 1": (250.0, 1, 60, [1, 7, 15, 22, 30, 37, 45, 52, 60]),
    "250 ms, hop 2": (250.0, 2, 60, [7, 22, 37, 52]),
    "250 ms, hop 4": (250.0, 4, 60, [22, 52]),
    "80 ms, hop 1": (80.0, 1, 25, [1, 3, 6, 8, 10, 13, 15, 18, 20, 22, 25]),
    "80 ms, hop 3": (80.0, 3, 25, [6, 13, 20]),
}


@pytest.mark.parametrize(("period_ms", "hop", "frames", "due"), AT_30_FPS.values(), ids=AT_30_FPS)
def test_these_frames_are_due_at_30_fps(period_ms: float | None, hop: int, frames: int, due: list[int]) -> None:
    pipe = pipeline(model(1, 1, hop, window={"period_ms": period_ms}))
    events = [event for n in range(1, frames + 1) for event in results(pipe.push(bundle(n, [face()])))]
    assert [event.frame for event in events] == list(range(1, frames + 1))
    assert [event.frame for event in events if event.due] == due


def test_the_hop_counts_sampled_frames_with_a_face_or_without() -> None:
    pipe = pipeline(model(2, 2, 2, window={"period_ms": 100.0}), confirm=1)
    # Sampled at 100 ms: frames 1, 3, 5, 7, 9, 11, 13 of 50 ms each; every second of them is due.
    faces = {n: [face()] if n < 6 or n > 9 else [] for n in range(1, 14)}
    events = [event for n in faces for event in results(pipe.push(bundle(n, faces[n], (n - 1) * 50 * MS)))]
    assert [event.frame for event in events if event.due] == [3, 7, 11]
    assert [event.frame for event in events for f in event.faces if f.sampled] == [1, 3, 5, 11, 13]
    assert {event.frame: event.faces[0].prediction.window.frames for event in events if event.faces and event.faces[0].prediction} == {
        3: (1, 3), 11: (5, 11),
    }  # fmt: skip


def test_that_nobody_is_there_is_said_on_due_frames_alone() -> None:
    pipe = pipeline(model(2, 2, 3), confirm=2)
    there = {4: [face()], 8: [face()], 9: [face()]}
    events = [event for n in range(1, 13) for event in results(pipe.push(bundle(n, there.get(n, []))))]
    # A tentative face (frame 4) is gone in the next frame; one that is lost for a moment (10 to 12) is not nobody.
    assert {event.frame: event.no_call for event in events if event.no_call is not None} == {3: "no-face", 6: "no-face"}
    assert [event.frame for event in events if event.faces] == [4, 8, 9, 10, 11, 12]
    assert [f.no_call and f.no_call.code for event in events if event.frame >= 9 for f in event.faces] == [
        None, "face-lost", "face-lost", "face-lost",
    ]  # fmt: skip


def _times(pipe_inputs: list[tuple[int, int]]) -> list[Input]:
    return [bundle(number, [face()], t_ms * MS) for number, t_ms in pipe_inputs]


def _run(inputs: list[Input], hop: int, period_ms: float | None = 250.0) -> list[Event | SourceEvent]:
    pipe = pipeline(model(1, 1, hop, window={"period_ms": period_ms}), confirm=1)
    return [event for given in inputs for event in pipe.push(given) if isinstance(event, Event | SourceEvent)]


# A clip that loops: its times begin again after 1200 ms.
LOOPED = [(1, 0), (2, 100), (3, 200), (4, 1200), (5, 0), (6, 100), (7, 187), (8, 188), (9, 400), (10, 438)]


def test_after_a_reset_the_next_frame_is_sampled_and_the_grid_begins_there() -> None:
    said = _run(_times(LOOPED), hop=1)
    # Targets: 0, 250 (frame 3 is early enough), 500; frame 4 is late by more than a period: 1450.
    # Then the reset: 0, 250, 500.
    assert [event.frame for event in said if isinstance(event, Event) and event.due] == [1, 3, 4, 5, 8, 10]
    assert [type(event).__name__ for event in said[3:6]] == ["Event", "SourceEvent", "Event"]


def test_after_a_reset_the_due_count_runs_on() -> None:
    # Sampled are 1, 3, 4, 5, 8, 10: every second of them.
    assert [event.frame for event in _run(_times(LOOPED), hop=2) if isinstance(event, Event) and event.due] == [
        3,
        5,
        10,
    ]


def test_a_reset_that_a_source_tells_restarts_the_grid_too() -> None:
    told = SourceState("cam", "color", "timebase-reset", 0)
    frames = _times([(1, 0), (2, 100), (3, 120), (4, 260), (5, 300), (6, 308)])
    said = _run([*frames[:2], told, *frames[2:]], hop=1)
    # Frame 1; after the reset frame 3 at once, then 120 + 250 − 62.5 = 307.5 ms.
    assert [event.frame for event in said if isinstance(event, Event) and event.due] == [1, 3, 6]


def test_a_lost_source_restarts_nothing() -> None:
    frames = _times([(1, 0), (2, 100), (3, 188), (4, 300)])
    said = _run([*frames[:2], SourceState("cam", "color", "lost", 0), *frames[2:]], hop=1)
    assert [event.frame for event in said if isinstance(event, Event) and event.due] == [1, 3]


CHANGES = {
    # Sampled before it: 1, 3. The Change acts from frame 4 on: it is sampled whatever the target was, as the first.
    "period": (Change(period_ms=100.0), 2, [(4, 210), (5, 284), (6, 285), (7, 384), (8, 385), (9, 485)], [3, 6, 9]),
    "no period": (Change(period_ms=None), 2, [(4, 210), (5, 211), (6, 212), (7, 213)], [3, 5, 7]),
    "hop": (Change(hop=3), 2, [(4, 210), (5, 390), (6, 398), (7, 600), (8, 648), (9, 898)], [3, 8]),
    "faces": (Change(faces=2), 2, [(4, 210), (5, 390), (6, 398), (7, 600), (8, 648), (9, 898)], [3, 6, 9]),
    "the same model": (Change(model="synthetic-expression"), 2, [(4, 210), (5, 398), (6, 648)], [3, 5]),
}


@pytest.mark.parametrize(("change", "hop", "after", "due"), CHANGES.values(), ids=CHANGES)
def test_a_change_restarts_the_target_and_the_count(change: Change, hop: int, after: list[tuple[int, int]], due: list[int]) -> None:
    said = _run([*_times([(1, 0), (2, 100), (3, 200)]), change, *_times(after)], hop)
    assert [event.frame for event in said if isinstance(event, Event) and event.due] == due


def test_a_model_brings_its_own_hop_and_period_unless_the_change_gives_them() -> None:
    second = model(1, 1, 3, id="second", window={"period_ms": 100.0})
    for change, hop, period_ms in (
        (Change(model="second"), 3, 100.0),
        (Change(model="second", hop=2), 2, 100.0),
        (Change(model="second", period_ms=None), 3, None),
    ):
        pipe = pipeline(model(1, 1, 5), models={"second": second})
        pipe.push(change)
        assert (pipe.session.settings.hop, pipe.session.settings.period_ms) == (hop, period_ms)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (Change(), (5, 100.0, 3)),
        (Change(hop=2), (2, 100.0, 3)),
        (Change(period_ms=50.0), (5, 50.0, 3)),
        (Change(period_ms=None), (5, None, 3)),
        (Change(faces=2), (5, 100.0, 2)),
        (Change(model="second"), (1, None, 3)),  # hop and period are the model's, how many faces are reported is not
        (Change(model="second", faces=1), (1, None, 1)),
    ],
)
def test_a_change_changes_what_it_names(change: Change, settings: tuple[int, float | None, int]) -> None:
    first = model(1, 1, 4, window={"period_ms": 200.0})
    pipe = pipeline(first, models={"second": model(1, 1, 1, id="second")}, hop=5, period_ms=100.0, faces=3)
    pipe.push(change)
    assert (pipe.session.settings.hop, pipe.session.settings.period_ms, pipe.session.settings.faces) == settings
    said = results(pipe.push(bundle(1, [face(n, x=200.0 * n) for n in range(4)])))
    assert len(said[0].faces) == settings[2]


@pytest.mark.parametrize(("period_ms", "max_gap_ms", "gap_ms"), [(None, None, 500), (100.0, None, 500), (250.0, None, 625),
                                                                (None, 90.0, 90), (40.0, 60.0, 60)])  # fmt: skip
def test_the_longest_gap_in_force(period_ms: float | None, max_gap_ms: float | None, gap_ms: int) -> None:
    window = {"period_ms": period_ms} | ({} if max_gap_ms is None else {"max_gap_ms": max_gap_ms})
    pipe = pipeline(model(1, 1, 1, window=window))
    assert pipe.session.settings.gap_ns == gap_ms * MS
    # What it means: a confirmed face coasts up to it and is gone after it.
    for n in (1, 2, 3):
        pipe.push(bundle(n, [face()], n * MS))
    (at,) = results(pipe.push(bundle(4, [], (3 + gap_ms) * MS)))
    (beyond,) = results(pipe.push(bundle(5, [], (3 + gap_ms) * MS + 1)))
    assert ([f.track for f in at.faces], beyond.faces) == ([1], ())


@pytest.mark.parametrize(("period_ms", "refused"), [(333.3, False), (334.0, True), (0.0, True), (-1.0, True)])
def test_a_period_that_its_gap_cannot_hold_is_refused(period_ms: float, refused: bool) -> None:
    pipe = pipeline(model(1, 1, 1, window={"max_gap_ms": 500.0}))
    if refused:
        with pytest.raises(ValueError, match=r"period_ms .* must be greater than 0 and at most 333\.333 \(max_gap_ms 500 / 1\.5\)"):
            pipe.push(Change(period_ms=period_ms))
    else:
        pipe.push(Change(period_ms=period_ms))
        assert pipe.session.settings.period_ms == period_ms
