"""Subtitles against a file written by hand, and cues from traces made by hand: one ends where its evidence ends."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from service.analyze import Tally
from service.clips.vtt import Cue, Vtt, cues
from service.events import Event, FaceEvent, ModelName, NoCall, Prediction, Rejected, Score, Sync, WindowOf
from service.intake import Source
from service.messages import Failure, Timing
from service.windows.trace import TraceValue

STEP = 40_000_000
SOURCE, COST = Source(Path("a.mp4"), "a.mp4"), Timing(0, 0, 0, 0, 0)
HAPPY, LOW = "happy", "<sad> & low"


def _face(track: int, frame: int, happy: float | None) -> FaceEvent:
    """A face whose label is of a window of this frame alone; None: it is not there, only remembered."""
    if happy is None:
        return FaceEvent(track, (0.0, 0.0, 9.0, 9.0), {}, None, False, False, None, NoCall("face-lost", 1.0))
    window, sync = WindowOf((frame,), False, (frame, frame), 0.0, 1.0), Sync(("color",), (), {}, "media")
    scores = tuple(sorted((Score(HAPPY, happy), Score(LOW, 1 - happy)), key=lambda score: -score.probability))
    return FaceEvent(track, (0.0, 0.0, 9.0, 9.0), {}, 0.9, False, True, Prediction(scores, scores[0].name, None, window, sync, None), None)


def _event(frame: int, **happy: float | None) -> Event:
    """A frame of a clip that begins at 1:02:03.045; its first stamp lies within that millisecond. `t1`, `t2`: the tracks."""
    t_ns = 3_723_045_000_000 + (frame - 1) * STEP + (999_999 if frame == 1 else 0)
    faces = tuple(_face(int(name[1:]), frame, value) for name, value in happy.items())
    return Event(frame, t_ns, True, faces, None, ModelName("tiny", "0" * 12), "onnx")


def test_the_whole_file(checkout: Path) -> None:
    out = io.StringIO(newline="")
    report = Vtt(out)
    for event in (
        _event(1, t1=0.8, t2=None), _event(2, t1=0.9, t2=0.55), _event(3, t1=0.7, t2=0.65), _event(4, t1=0.8, t2=None), _event(5, t1=0.8),
        _event(6, t1=0.4), _event(7, t1=0.2), _event(8, t1=None), _event(9, t1=None), _event(10, t1=None), _event(11, t1=0.1),
        Rejected(12, "image-broken", "frame 12"), _event(13, t1=0.3), _event(14), _event(15),
    ):  # fmt: skip
        report.say(SOURCE, event, COST)
    report.end(SOURCE, Tally(15, 15, 1, 12))
    report.close()
    assert out.getvalue() == (checkout / "tests" / "clips" / "subtitles.vtt").read_text(encoding="utf-8")


def test_a_clip_without_a_label_has_no_cue(checkout: Path) -> None:
    for events, outcome in (((), Tally(1, 1)), ((_event(1, t1=0.8),), Failure("clip-truncated", "it ends early", False))):
        out = io.StringIO(newline="")
        report = Vtt(out)
        for event in events:
            report.say(SOURCE, event, COST)
        report.end(SOURCE, outcome)
        assert out.getvalue() == "WEBVTT\n\nNOTE Facial expressions as a model labels them, not what anybody feels.\n"


def _value(frame: float, happy: float, track: int = 1, interpolated: bool = False) -> TraceValue:
    windows = 0 if interpolated else 1
    return TraceValue(int(frame), round((frame - 1) * STEP), track, (1 - happy, happy), None, None, windows, True, interpolated)


def spans(values: list[TraceValue]) -> list[tuple[float, float]]:
    """First step and end step of each cue; the first frame is step 0."""
    return [(cue.start_ns / STEP, cue.end_ns / STEP) for cue in cues(values, ("sad", "happy"))]


def test_a_cue_lasts_as_long_as_its_label() -> None:
    found = cues([_value(1, 0.75), _value(2, 0.85), _value(3, 0.1)], ("sad", "happy"))
    assert found == [Cue(0, 2 * STEP, "<v Face 1>happy 80%"), Cue(2 * STEP, 3 * STEP, "<v Face 1>sad 90%")]


def test_a_gap_is_not_bridged() -> None:
    assert spans([_value(frame, 1.0) for frame in (1, 2, 3, 50)]) == [(0, 3), (49, 50)]
    assert spans([_value(frame, 1.0 if frame < 4 else 0.0) for frame in (1, 2, 3, 50)]) == [(0, 3), (49, 50)]


@pytest.mark.parametrize(("after", "expected"), [(4.0, [(0, 5)]), (4.5, [(0, 3), (4.5, 5.5)])])
def test_one_missed_frame_is_no_gap(after: float, expected: list[tuple[float, float]]) -> None:
    assert spans([_value(step + 1, 1.0) for step in (0, 1, 2, after)]) == expected


def test_the_next_label_begins_where_the_last_ends_though_a_frame_between_was_missed() -> None:
    assert spans([_value(step + 1, step < 3) for step in (0, 1, 2, 4, 5)]) == [(0, 4), (4, 6)]


def test_what_is_interpolated_is_no_evidence() -> None:
    """Before the first window, between two that lie apart, and after the last, no window holds a frame."""
    kept = {1: True, 2: True, 3: False, 4: False, 5: True, 6: True, 7: True, 8: True, 9: True, 10: False, 11: False, 12: True}
    assert spans([_value(frame, 1.0, interpolated=missed) for frame, missed in kept.items()]) == [(2, 4), (9, 11)]


def test_a_clip_sampled_at_a_period_is_one_cue() -> None:
    """Every eighth frame is sampled; the seven between are interpolated, and the step is eight frames."""
    assert spans([_value(frame, 1.0, interpolated=frame % 8 != 1) for frame in range(1, 41)]) == [(0, 40)]


def test_the_step_is_the_clips_so_a_track_of_one_frame_has_it_too() -> None:
    assert spans([_value(4, 1.0, track=2)] + [_value(frame, 1.0) for frame in (1, 3, 5)]) == [(0, 6), (3, 5)]
    assert spans([_value(4, 1.0)]) == [(3, 4)]


def test_the_step_is_the_median_distance() -> None:
    # Distances of 1, 1, 3, 3 and 3 steps: the median is 3, which bridges up to 6.
    assert spans([_value(frame, 0.8) for frame in (1, 2, 3, 6, 9, 12)]) == [(0, 14)]


def test_all_is_out_when_the_report_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "a.vtt").open("w", encoding="utf-8") as out:
        report = Vtt(out)
        report.end(SOURCE, Tally(0, 0))
        report.close()
        # The file itself is still open: it may be a pipe.
        assert (tmp_path / "a.vtt").read_text(encoding="utf-8").startswith("WEBVTT\n")


def test_cues_come_by_time_and_then_by_track() -> None:
    values = [_value(1, 1.0, track=7), _value(2, 0.0, track=7), _value(2, 1.0, track=3), _value(1, 0.0, track=5)]
    found = cues(values, ("sad", "happy"))
    assert [cue.text for cue in found] == [
        "<v Face 5>sad 100%",
        "<v Face 7>happy 100%",
        "<v Face 3>happy 100%",
        "<v Face 7>sad 100%",
    ]


def test_regressors_say_rounded_values_and_change_with_them() -> None:
    numbers = [(0.52, -0.31), (0.48, -0.3), (0.44, -0.3), (None, -0.3)]
    values = [TraceValue(n, n * STEP, 1, (), valence, arousal, 1, True, False) for n, (valence, arousal) in enumerate(numbers)]
    assert cues(values, ()) == [
        Cue(0, 2 * STEP, "<v Face 1>valence +0.5, arousal -0.3"),
        Cue(2 * STEP, 3 * STEP, "<v Face 1>valence +0.4, arousal -0.3"),
        Cue(3 * STEP, 4 * STEP, "<v Face 1>arousal -0.3"),
    ]
