"""A clip's labels as WebVTT subtitles: a cue for as long as a track keeps a label and there is evidence of it.

Owns the cues. They come from the trace, so that they stand at the frames they speak of. Does not own the trace
(`windows/trace.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
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
    """Return a cue per run of one label in one track, by time, then track.

    A frame that a window holds is evidence; an interpolated one is not, and makes no cue longer. The median distance
    of two such frames is the clip's step. A cue reaches the next such frame of its track if that is at most two steps
    away, and else ends one step after its last.
    """
    held: dict[int, list[TraceValue]] = {}
    for value in values:
        if not value.interpolated:
            held.setdefault(value.track, []).append(value)
    distances = sorted(b.t_ns - a.t_ns for track in held.values() for a, b in pairwise(track))
    step_ns = distances[len(distances) // 2] if distances else _STEP_NS
    found = [(cue, number) for number, track in held.items() for cue in _runs(track, labels, step_ns)]
    return [cue for cue, _ in sorted(found, key=lambda item: (item[0].start_ns, item[1]))]


def _runs(track: list[TraceValue], labels: tuple[str, ...], step_ns: int) -> Iterator[Cue]:
    run: list[TraceValue] = []
    for value, following in zip(track, [*track[1:], None], strict=True):
        run.append(value)
        adjacent = following is not None and following.t_ns - value.t_ns <= 2 * step_ns
        if following is not None and adjacent and _caption(following, labels) == _caption(value, labels):
            continue
        end_ns = following.t_ns if following is not None and adjacent else value.t_ns + step_ns
        yield Cue(run[0].t_ns, end_ns, f"<v Face {value.track}>{_text(_caption(value, labels))}{_mean(run)}")
        run = []


def _caption(value: TraceValue, labels: tuple[str, ...]) -> str:
    if value.scores:
        return labels[_best(value)]
    pairs = (("valence", value.valence), ("arousal", value.arousal))
    return ", ".join(f"{name} {number:+.1f}" for name, number in pairs if number is not None)


def _best(value: TraceValue) -> int:
    return max(range(len(value.scores)), key=lambda index: value.scores[index])


def _mean(run: list[TraceValue]) -> str:
    if not run[0].scores:
        return ""
    best = _best(run[0])
    return f" {sum(value.scores[best] for value in run) / len(run):.0%}"


def _text(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(t_ns: int) -> str:
    ms = max(0, t_ns) // 1_000_000
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
