"""The rules of SEMANTICS one at a time: time, due, no-calls, changes, clip scope."""

from __future__ import annotations

import gc
import itertools
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.frame import Bundle, Frame, SourceState, Tick
from engines.engine import Arrays, BackendLost
from engines.synthetic import SyntheticEngine
from service.events import ClipPrediction, Event, Rejected, SourceEvent
from service.inputs import Change
from service.perception.synthetic import EXPRESSION_ID, SyntheticPerception, express_row, table
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from service.windows.keyframes import Itq, by_change, hamming, uniform
from service.windows.record import Record
from tests.session.world import MS, D, bundle, engines, face, model, pipeline, push_all, results, windows


def _stream(count: int, start: int = 1, **kwargs: Any) -> list[Bundle]:
    return [bundle(n, [face(**kwargs)]) for n in range(start, start + count)]


# Time.


def test_a_frame_at_or_before_the_last_is_rejected_and_changes_nothing() -> None:
    pipe = pipeline(model(4, 4, 1))
    push_all(pipe, _stream(10))
    (rejected,) = pipe.push(bundle(11, [face()], t_ns=bundle(10, []).t_ns))
    assert isinstance(rejected, Rejected)
    assert rejected.code == "time-order"
    (event,) = results(pipe.push(bundle(12, [face()])))
    assert event.faces[0].track == 1
    assert windows([event]) == {12: (8, 9, 10, 12)}


@pytest.mark.parametrize("step_ns", [-501 * MS, 10_001 * MS])
def test_a_leap_in_time_starts_a_new_time_base(step_ns: int) -> None:
    pipe = pipeline(model(4, 4, 4))
    push_all(pipe, _stream(10))
    t_ns = bundle(10, []).t_ns + step_ns
    reset, event = pipe.push(bundle(11, [face()], t_ns=t_ns))
    assert isinstance(reset, SourceEvent)
    assert (reset.state, reset.name) == ("timebase-reset", "cam")
    assert isinstance(event, Event)
    assert (event.faces[0].track, event.faces[0].tentative, event.due) == (2, True, False)
    (twelfth,) = pipe.push(bundle(12, [face()], t_ns=t_ns + 33 * MS))
    assert isinstance(twelfth, Event)
    assert twelfth.due, "the due count runs on"


def test_the_first_frame_fixes_the_clock() -> None:
    pipe = pipeline(model(4, 4, 1))
    pipe.push(bundle(1, [face()], clock="client"))
    (rejected,) = pipe.push(bundle(2, [face()], clock="arrival"))
    assert isinstance(rejected, Rejected)
    assert rejected.code == "clock-mismatch"


def test_a_gap_between_samples_clears_the_buffer_but_a_shorter_one_does_not() -> None:
    for hole_ms, alive in ((499, True), (502, False)):
        pipe = pipeline(model(4, 4, 1), confirm=1)
        push_all(pipe, [bundle(n, [face()], t_ns=n * 10 * MS) for n in range(1, 5)])
        hidden = [bundle(4 + n, [face(gate="blurred")], t_ns=(40 + n * 100) * MS) for n in range(1, 5)]
        push_all(pipe, hidden)
        (event,) = results(pipe.push(bundle(9, [face()], t_ns=(40 + hole_ms) * MS)))
        assert bool(windows([event])) == alive
        assert event.faces[0].track == 1


def test_a_frame_whose_damage_was_covered_up_is_rejected() -> None:
    pipe = pipeline(model(4, 4, 1))
    rows = table([face()], D)
    damaged = Bundle(1, 0, "media", 0, {"cam": Frame("cam", "color", 1, 0, 0, rows, flags=frozenset({"corrupt"}))})
    (rejected,) = pipe.push(damaged)
    assert isinstance(rejected, Rejected)
    assert rejected.code == "image-broken"


# Due frames and no-calls.


# At 30 fps, as worked out in test_due_frames.py.
SAMPLED = {
    None: list(range(1, 61)),
    80.0: [1, 3, 6, 8, 10, 13, 15, 18, 20, 22, 25, 27, 30, 32, 34, 37, 39, 42, 44, 46, 49, 51, 54, 56, 58],
    250.0: [1, 7, 15, 22, 30, 37, 45, 52, 60],
}


@given(st.integers(1, 7), st.sampled_from([None, 80.0, 250.0]), st.integers(20, 60))
def test_every_hop_th_sampled_frame_is_due_and_says_exactly_one_thing_per_face(hop: int, period: float | None, count: int) -> None:
    pipe = pipeline(model(4, 8, hop, window={"period_ms": period}))
    events = results(push_all(pipe, [bundle(n, [face(), face(1, 400)] if n % 11 else []) for n in range(1, count)]))
    for event in events:
        for f in event.faces:
            assert not (f.prediction and f.no_call)
            if event.due:
                assert f.prediction or f.no_call
            elif f.score is not None:
                assert not f.prediction
                assert not f.no_call
        assert (event.no_call == "no-face") == (event.due and not event.faces)
    assert [e.frame for e in events if e.due] == [n for n in SAMPLED[period][hop - 1 :: hop] if n < count]


@pytest.mark.parametrize("broken", [{"mood": (np.nan, 0, 0, 0)}, {"who": np.inf}, {"who": -np.inf}])
def test_gates_come_before_a_filling_window_and_a_broken_run_after_it(broken: dict[str, Any]) -> None:
    pipe = pipeline(model(4, 4, 1), confirm=1)
    codes = []
    faces: list[dict[str, Any]] = [{"gate": "too-small"}, {}, broken, {}, {}, {}, broken, {"gate": "blurred"}, {}]
    for n, kwargs in enumerate(faces, 1):
        (event,) = results(pipe.push(bundle(n, [face(**kwargs)])))
        codes.append(event.faces[0].no_call.code if event.faces[0].no_call else None)
    assert codes == ["too-small", *["window-filling"] * 4, None, "not-finite", "blurred", None]


def test_a_lost_backend_is_said_and_forgotten_when_it_is_back() -> None:
    lost = False

    def row(inputs: Arrays) -> Arrays:
        if lost:
            raise BackendLost("the server is gone")
        return express_row(inputs)

    running = {**engines(), (EXPRESSION_ID, "frame"): SyntheticEngine(row)}
    pipe = Pipeline(Session(model(2, 2, 1), SyntheticPerception(D, confirm_frames=1), SessionOptions()), Batcher(running, {}))
    push_all(pipe, _stream(3))
    lost = True
    (event,) = results(pipe.push(bundle(4, [face()])))
    assert event.faces[0].no_call is not None
    assert event.faces[0].no_call.code == "backend-lost"
    lost = False
    assert windows(pipe.push(bundle(5, [face()]))) == {5: (3, 5)}


# Changes and other inputs.


def test_a_change_restarts_the_count_and_keeps_buffers_and_tracks() -> None:
    pipe = pipeline(model(4, 4, 4))
    push_all(pipe, _stream(9))
    assert pipe.push(Change(hop=3)) == ()
    said = push_all(pipe, _stream(6, start=10))
    assert windows(said) == {12: (9, 10, 11, 12), 15: (12, 13, 14, 15)}


def test_another_model_clears_buffers_but_not_tracks() -> None:
    second = model(4, 4, 4, id="second")
    pipe = pipeline(model(4, 4, 4), models={"second": second})
    push_all(pipe, _stream(9))
    pipe.push(Change(model="second"))
    said = results(push_all(pipe, _stream(8, start=10)))
    assert {e.model.id for e in said} == {"second"}
    assert {f.track for e in said for f in e.faces} == {1}
    assert windows(said) == {13: (10, 11, 12, 13), 17: (14, 15, 16, 17)}


@pytest.mark.parametrize("change", [Change(hop=0), Change(faces=0), Change(model="none"), Change(period_ms=-1.0), Change(hop=2, faces=0)])
def test_a_bad_change_is_refused_whole(change: Change) -> None:
    pipe = pipeline(model(4, 4, 4))
    before = pipe.session.settings
    with pytest.raises(ValueError, match=r"hop|faces|model|period_ms"):
        pipe.push(change)
    assert pipe.session.settings is before
    assert windows(push_all(pipe, _stream(4))) == {4: (1, 2, 3, 4)}


def test_source_states_are_passed_on_and_a_reset_ends_tracks() -> None:
    pipe = pipeline(model(4, 4, 4))
    push_all(pipe, _stream(5))
    (lost,) = pipe.push(SourceState("cam", "color", "lost", 7))
    assert lost == SourceEvent("cam", "lost", "color", 7)
    pipe.push(SourceState("cam", "color", "timebase-reset", 8))
    (event,) = results(pipe.push(bundle(6, [face()])))
    assert event.faces[0].track == 2


def test_a_tick_ends_tracks_of_the_host_clock_only() -> None:
    for clock, track in (("host", 2), ("client", 1)):
        pipe = pipeline(model(4, 4, 4))
        for n in range(1, 5):
            pipe.push(bundle(n, [face()], clock=clock))  # type: ignore[arg-type]
        pipe.push(Tick(bundle(4, []).t_ns + 501 * MS))
        (event,) = results(pipe.push(bundle(5, [face()], clock=clock)))  # type: ignore[arg-type]
        assert event.faces[0].track == track


# Keyframes.


def test_a_rolling_buffer_keeps_each_samples_distance_as_it_was_on_arrival() -> None:
    rng = np.random.default_rng(4)
    itq = Itq(np.zeros(D), rng.normal(size=(D, 16)), np.linalg.qr(rng.normal(size=(16, 16)))[0], "0" * 64)
    pipe = pipeline(model(4, 10, 1, itq=itq, keyframes={"selector": "itq", "file": "none.onnx", "features": "features"}), confirm=1)
    moods = rng.normal(size=(40, 4))
    said = push_all(pipe, [bundle(n + 1, [face(mood=m)]) for n, m in enumerate(moods.tolist())])
    features = np.concatenate([moods.astype(np.float32), np.tile(np.float32([0, 1]), (40, 1))], axis=1).astype(np.float64)
    codes = [itq.code(f) for f in features]
    change = [np.inf] + [float(hamming(a, b)) for a, b in itertools.pairwise(codes)]
    move = [np.inf] + [float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(features)]
    for due, frames in windows(said).items():
        first = max(0, due - 10)
        expected = [first + i + 1 for i in by_change(change[first:due], move[first:due], 4)]
        assert list(frames) == expected
    one = results(said)[-1].faces[0].prediction
    assert one is not None
    assert (one.window.keyframes, one.window.candidates) == (True, (31, 40))


# The end.


def test_a_clip_prediction_is_the_mean_of_the_tracks_windows() -> None:
    pipe = pipeline(model(4, 4, 4), ends=True)
    said = push_all(pipe, [bundle(n, [face(mood=(n / 5, 0, 0, 0))]) for n in range(1, 21)])
    (clip,) = [e for e in said if isinstance(e, ClipPrediction)]
    rows = [{s.name: s.probability for s in e.faces[0].prediction.scores} for e in results(said) if e.faces[0].prediction]
    assert (clip.windows, clip.filled, clip.frames) == (5, 1.0, (1, 20))
    for score in clip.scores:
        assert score.probability == pytest.approx(np.mean([row[score.name] for row in rows]))


def test_a_short_track_gets_one_window_by_the_clip_rule_and_a_tentative_one_none() -> None:
    pipe = pipeline(model(8, 8, 4), ends=True, faces=2)
    frames = [bundle(n, [face(), *([face(1, 400)] if n < 3 else [])]) for n in range(1, 6)]
    clips = [e for e in push_all(pipe, frames) if isinstance(e, ClipPrediction)]
    assert [(c.track, c.filled) for c in clips] == [(1, 5 / 8)]
    assert clips[0].window is not None
    assert clips[0].window.frames == (1, 2, 3, 4, 5, 5, 5, 5)


def test_an_image_is_a_session_of_one_frame() -> None:
    pipe = pipeline(model(16, 32, 4), confirm=1, hop=1, ends=True, faces=2)
    event, *clips = push_all(pipe, [bundle(1, [face(), face(1, 400)])])
    assert isinstance(event, Event)
    assert [(f.no_call.code, f.no_call.filled) for f in event.faces if f.no_call] == [("window-filling", 0.0625)] * 2
    assert [c.filled for c in clips if isinstance(c, ClipPrediction)] == [0.0625] * 2


def test_clip_scope_chooses_over_the_whole_clip_and_no_frame_is_due() -> None:
    spec = {"scope": "clip"}
    pipe = pipeline(model(4, 4, 2, window=spec, keyframes={"selector": "uniform"}), ends=True)
    said = push_all(pipe, _stream(31))
    assert not any(e.due for e in results(said))
    (clip,) = [e for e in said if isinstance(e, ClipPrediction)]
    assert clip.window is not None
    assert clip.window.frames == (1, 11, 21, 31)
    live = pipeline(model(4, 4, 2, window=spec, keyframes={"selector": "uniform"}))
    assert windows(push_all(live, _stream(4))) == {4: (1, 2, 3, 4)}


def test_trace_mean_averages_overlapping_windows_per_frame_first() -> None:
    pipe = pipeline(model(4, 4, 2, window={"clip": "trace-mean"}), ends=True, confirm=1)
    said = push_all(pipe, [bundle(n, [face(mood=(n / 3, 0, 0, 0))]) for n in range(1, 7)])
    p = {e.frame: {s.name: s.probability for s in e.faces[0].prediction.scores} for e in results(said) if e.faces[0].prediction}
    # Windows 1–4 (due at 4) and 3–6 (due at 6): frames 1, 2 | 3, 4 | 5, 6.
    expected = {label: (2 * p[4][label] + 2 * (p[4][label] + p[6][label]) / 2 + 2 * p[6][label]) / 6 for label in p[4]}
    (clip,) = [e for e in said if isinstance(e, ClipPrediction)]
    assert {s.name: s.probability for s in clip.scores} == pytest.approx(expected)


def test_a_live_session_says_nothing_at_its_end_and_keeps_no_ended_tracks() -> None:
    pipe = pipeline(model(2, 2, 1), confirm=1)

    def kept() -> int:
        """Return how many records the pipeline reaches: others of this process have their own."""
        seen: dict[int, object] = {}
        todo: list[object] = [pipe]
        while todo:
            one = todo.pop()
            if id(one) not in seen and not isinstance(one, type | FunctionType | ModuleType):
                seen[id(one)] = one
                todo += gc.get_referents(one)
        return sum(isinstance(one, Record) for one in seen.values())

    for n in range(1, 200):
        pipe.push(bundle(n, [face(x=1000.0 * n)]))
    assert pipe.finish() == ()
    # A face that jumps is a new track each time; for half a second, 15 frames, the old ones coast.
    assert 0 < kept() <= 17


def test_advance_and_complete_must_alternate() -> None:
    session = pipeline(model(4, 4, 4)).session
    with pytest.raises(RuntimeError, match="without requests"):
        session.complete([])
    session.advance(bundle(1, [face()]))
    with pytest.raises(RuntimeError, match="before the last input was completed"):
        session.advance(Tick(0))


def test_a_bundle_reports_its_colour_source_only() -> None:
    t = 0
    rows = table([face()], D)
    both = Bundle(1, t, "media", t, {"d": Frame("d", "depth", 1, t, t, rows), "c": Frame("c", "color", 1, t, t, rows)})
    (event,) = results(pipeline(model(4, 4, 4)).push(both))
    assert len(event.faces) == 1


def test_a_change_that_keeps_the_model_keeps_what_was_said_for_the_end() -> None:
    pipe = pipeline(model(4, 4, 2, window={"clip": "trace-mean"}), ends=True, confirm=1)
    said = [event for given_ in _stream(8) for event in pipe.push(given_)]
    pipe.push(Change(faces=2))
    said += push_all(pipe, _stream(4, start=9))
    (clip,) = [e for e in said if isinstance(e, ClipPrediction)]
    assert clip.windows == len(windows(said)) == 5


def test_a_clips_one_window_is_chosen_over_a_gap_too() -> None:
    pipe = pipeline(model(4, 4, 2, window={"scope": "clip"}, keyframes={"selector": "uniform"}), ends=True)
    frames = [bundle(n, [face(gate="blurred" if 41 <= n <= 60 else None)]) for n in range(1, 71)]
    (clip,) = [e for e in push_all(pipe, frames) if isinstance(e, ClipPrediction)]
    assert clip.window is not None
    assert (clip.window.frames[0], clip.window.frames[-1]) == (1, 70)


@pytest.mark.parametrize("selector", ["random", "kmeans", "stride", "uniform", "per-clip"])
def test_every_selector_of_whole_clips_chooses_the_same_frames_each_time(selector: str) -> None:
    spec = {"selector": selector, "features": "features"} | ({"selector": "itq", "fit": "per-clip"} if selector == "per-clip" else {})
    chosen = []
    for seed in (1, 1, 2):
        keyframes = spec | ({"seed": seed} if selector in ("random", "kmeans", "per-clip") else {})
        pipe = pipeline(model(4, 4, 2, window={"scope": "clip"}, keyframes=keyframes), ends=True)
        said = push_all(pipe, [bundle(n, [face(mood=(n // 8, n % 3, 0, 0))]) for n in range(1, 33)])
        (clip,) = [e for e in said if isinstance(e, ClipPrediction)]
        assert clip.window is not None
        assert clip.window.keyframes
        chosen.append(clip.window.frames)
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 4
    if selector == "random":
        assert chosen[0] != chosen[2]
    if selector == "per-clip":
        assert 1 in chosen[0], "a code without one before it is the largest change"
        assert chosen[0] != tuple(n + 1 for n in uniform(32, 4))
    if selector == "kmeans":
        assert {(n - 1) // 8 for n in chosen[0]} >= {0, 3}, "frames of the clusters at both ends of the clip"


@pytest.mark.parametrize("keyframes", [{"selector": "random"}, {"selector": "kmeans"}, {"selector": "itq", "fit": "per-clip"}])
def test_selectors_of_whole_clips_are_refused_for_rolling_windows(keyframes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"window\.scope 'clip'"):
        model(4, 4, 2, keyframes={**keyframes, "features": "features"})
