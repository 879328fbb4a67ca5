"""A clip's labels as WebVTT subtitles: a cue for as long as a track keeps a label.

Owns the cues. They come from the trace, so that they stand at the frames they speak of. Does not own the trace
(`windows/trace.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TextIO

from service.analyze import Tally
from service.events import SessionEvent
from service.intake import Source
from service.messages import Failure, Timing
from service.windows.trace import Trace, TraceValue

_STEP_NS = 40_000_000
"""How long the last frame is shown, where nothing says."""


@dataclass(frozen=True, slots=True)
class Cue:
    """`text` from `start_ns` to `end_ns` of the clip."""

    start_ns: int
    end_ns: int
    text: str


class Vtt:
    """Writes one input's cues in order of time."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._trace = Trace()

    def say(self, source: Source, event: SessionEvent, timing: Timing) -> None:
        """Take an event."""
        self._trace.add(event)

    def end(self, source: Source, outcome: Tally | Failure) -> None:
        """Write all cues."""
        self._out.write("WEBVTT\n\nNOTE Facial expressions as a model labels them, not what anybody feels.\n")
        if isinstance(outcome, Failure):
            return
        found = cues(self._trace.values(), self._trace.labels)
        for number, cue in enumerate(found, start=1):
            self._out.write(f"\n{number}\n{_clock(cue.start_ns)} --> {_clock(cue.end_ns)}\n{cue.text}\n")

    def close(self) -> None:
        """Nothing is held back."""
        self._out.flush()


def cues(values: Iterable[TraceValue], labels: tuple[str, ...]) -> list[Cue]:
    """Return a cue per run of one label in one track, by time, then track."""
    by_track: dict[int, list[TraceValue]] = {}
    for value in values:
        by_track.setdefault(value.track, []).append(value)
    found = [(cue, track) for track, its in by_track.items() for cue in _runs(its, labels)]
    return [cue for cue, _ in sorted(found, key=lambda item: (item[0].start_ns, item[1]))]


def _runs(values: list[TraceValue], labels: tuple[str, ...]) -> Iterator[Cue]:
    steps = sorted(b.t_ns - a.t_ns for a, b in pairwise(values))
    step_ns = steps[len(steps) // 2] if steps else _STEP_NS
    ends = [min(b.t_ns, a.t_ns + 2 * step_ns) for a, b in pairwise(values)] + [values[-1].t_ns + step_ns]
    pairs = zip(values, ends, strict=True)
    for label, run in groupby(pairs, key=lambda pair: _said(pair[0], labels)):
        members = list(run)
        mean = _mean([value for value, _ in members], labels, label)
        yield Cue(members[0][0].t_ns, members[-1][1], f"<v Face {members[0][0].track}>{label}{mean}")


def _said(value: TraceValue, labels: tuple[str, ...]) -> str:
    if value.scores:
        return _text(labels[max(range(len(labels)), key=lambda index: value.scores[index])])
    pairs = (("valence", value.valence), ("arousal", value.arousal))
    return ", ".join(f"{name} {number:+.1f}" for name, number in pairs if number is not None)


def _mean(values: list[TraceValue], labels: tuple[str, ...], label: str) -> str:
    if not values[0].scores:
        return ""
    index = [_text(name) for name in labels].index(label)
    return f" {sum(value.scores[index] for value in values) / len(values):.0%}"


def _text(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(t_ns: int) -> str:
    ms = max(0, t_ns) // 1_000_000
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
