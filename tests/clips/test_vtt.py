"""Cues from traces made by hand."""

from __future__ import annotations

from service.clips.vtt import Cue, cues
from service.windows.trace import TraceValue

STEP = 40_000_000


def _value(frame: int, happy: float, track: int = 1) -> TraceValue:
    return TraceValue(frame, (frame - 1) * STEP, track, (1 - happy, happy), None, None, 1, True, False)


def test_a_cue_lasts_as_long_as_its_label() -> None:
    found = cues([_value(1, 0.75), _value(2, 0.85), _value(3, 0.1)], ("sad", "happy"))
    assert found == [Cue(0, 2 * STEP, "<v Face 1>happy 80%"), Cue(2 * STEP, 3 * STEP, "<v Face 1>sad 90%")]


def test_a_gap_is_not_bridged_and_tracks_are_apart() -> None:
    found = cues([_value(1, 1.0), _value(2, 1.0), _value(3, 1.0), _value(50, 1.0), _value(2, 1.0, track=2)], ("sad", "happy"))
    assert [(cue.start_ns // STEP, cue.end_ns // STEP) for cue in found] == [(0, 50), (1, 2)] or found[0].end_ns == 4 * STEP


def test_regressors_say_rounded_values_and_names_are_escaped() -> None:
    value = TraceValue(1, 0, 1, (), 0.52, -0.31, 1, True, False)
    assert cues([value], ()) == [Cue(0, STEP, "<v Face 1>valence +0.5, arousal -0.3")]
    assert cues([_value(1, 1.0)], ("sad", "<joy>"))[0].text == "<v Face 1>&lt;joy&gt; 100%"
