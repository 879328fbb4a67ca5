"""What a model says of one clip, brought to the form in which it is compared with the truth.

Owns which track stands for a clip, the clip's trace over gaps and tracks, and its values at the annotator's times. Runs clips exactly as
`mien analyze` does (`service/analyze.py`). Does not own scores.

One person is shown per clip: of several tracks the one seen in most frames speaks for the clip, and at each frame the longest of those
that have a value. Frames that no window holds are interpolated from those before and after, across tracks too; before the first and
after the last, the nearest value holds. Source: Lee et al. 2020, section V-B.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.analyze import Analyser
from service.evaluation.chain import Pair
from service.evaluation.dataset import DIMENSIONS, Labelled
from service.events import Affect, ClipPrediction, Event, SessionEvent
from service.windows.trace import Trace, TraceValue

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FrameTrace:
    """A clip's value at each used frame: `t_s` (n,) s; `held` (n,): some window holds the frame, else the value is interpolated; `labels`
    (n,) names, empty without labels; `values`: dimension → (n,)."""

    t_s: Values
    held: NDArray[np.bool_]
    labels: tuple[str, ...]
    values: Mapping[str, Values]


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What was said of a clip. `label`, `probability`, `values`: of its clip prediction, None and empty without one; `trace`: None where
    no window was full; `tracks`: how many were confirmed; `frames`, `with_face`: used frames, and those in which a face was reported."""

    clip: Labelled
    label: str | None
    probability: float | None
    values: Mapping[str, float]
    trace: FrameTrace | None
    tracks: int
    frames: int
    with_face: int


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Truth and prediction at the annotator's times. `interpolated`: how many of them lie at frames without a value of their own;
    `outside`: how many of the annotator's came after the clip's end and are left out."""

    pair: Pair
    interpolated: int
    outside: int


def listen(analyser: Analyser, clip: Labelled, advance: Callable[[int, int | None], None]) -> Heard:
    """Run one clip; `advance` is told how far it is.

    Raises:
        SourceError: it cannot be read, or not to its end.
        EngineError: a graph failed.
    """
    analysis = analyser.open(clip.source)

    def events() -> Iterable[SessionEvent]:
        for event, _ in analysis:
            advance(analysis.tally.decoded, analysis.info.frames)
            yield event

    return heard(clip, events())


def heard(clip: Labelled, events: Iterable[SessionEvent]) -> Heard:
    """Fold the events of one clip."""
    trace, times, seen, spoken = Trace(), dict[int, int](), Counter[int](), list[ClipPrediction]()
    with_face = 0
    for event in events:
        trace.add(event)
        if isinstance(event, Event):
            times[event.frame] = event.t_ns
            with_face += bool(event.faces)
            seen.update(face.track for face in event.faces if not face.tentative)
        elif isinstance(event, ClipPrediction):
            spoken.append(event)
    main = max(spoken, key=lambda said: (seen[said.track], -said.track), default=None)
    values = [value for value in trace.values() if not value.interpolated]
    return Heard(
        clip, main.label if main else None, main.scores[0].probability if main and main.scores else None,
        _affect(main.affect) if main else {}, _frames(times, values, trace.labels, seen) if values else None,
        len(seen), len(times), with_face,
    )  # fmt: skip


def within(heard: Heard) -> NDArray[np.bool_]:
    """Tell which of the annotator's times lie within the clip, (n,); all of them where no window says how long it is."""
    assert heard.clip.annotation is not None
    t_s, trace = heard.clip.annotation.t_s, heard.trace
    if trace is None:
        return np.ones(len(t_s), bool)
    # A frame lasts until the next one would come.
    interval = float(np.median(np.diff(trace.t_s))) if len(trace.t_s) > 1 else 0.0
    return np.asarray(t_s <= trace.t_s[-1] + interval + 1e-6, np.bool_)


def sampled(heard: Heard, dimension: str) -> Sampled | None:
    """Return a clip's truth and prediction of one dimension at the annotator's times; None where either is missing."""
    annotation, trace = heard.clip.annotation, heard.trace
    if annotation is None or trace is None or dimension not in annotation.values or dimension not in trace.values:
        return None
    inside = within(heard)
    if not inside.any():
        return None
    t_s = annotation.t_s[inside]
    later = np.clip(np.searchsorted(trace.t_s, t_s), 1, max(1, len(trace.t_s) - 1))
    nearest = np.where(t_s - trace.t_s[later - 1] <= np.abs(trace.t_s[np.minimum(later, len(trace.t_s) - 1)] - t_s), later - 1, later)
    nearest = np.minimum(nearest, len(trace.t_s) - 1)
    predicted = np.interp(t_s, trace.t_s, trace.values[dimension])
    pair = Pair(t_s, annotation.values[dimension][inside], predicted)
    return Sampled(pair, int((~trace.held[nearest]).sum()), int((~inside).sum()))


def _frames(times: Mapping[int, int], values: Iterable[TraceValue], names: tuple[str, ...], seen: Mapping[int, int]) -> FrameTrace:
    of_frame: dict[int, TraceValue] = {}
    for value in values:
        before = of_frame.get(value.frame)
        if before is None or seen.get(value.track, 0) > seen.get(before.track, 0):
            of_frame[value.frame] = value
    # By time: a clip whose stamps begin again has later frames with earlier times.
    numbers = sorted(times, key=lambda number: (times[number], number))
    t_s = np.array([times[number] for number in numbers], np.float64) / 1e9
    held = np.array([number in of_frame for number in numbers])
    known = [of_frame[number] for number in numbers if number in of_frame]
    at = np.array([value.t_ns for value in known], np.float64) / 1e9
    spread = [np.interp(t_s, at, column) for column in np.array([value.scores for value in known], np.float64).T]
    # Of equally probable labels the first by name: the trace has lost the manifest's order.
    labels = tuple(names[k] for k in np.array(spread).argmax(axis=0)) if spread else ()
    found: dict[str, Values] = {}
    for dimension in DIMENSIONS:
        column = [getattr(value, dimension) for value in known]
        if None not in column:
            found[dimension] = np.interp(t_s, at, np.array(column, np.float64))
    return FrameTrace(t_s, held, labels, found)


def _affect(affect: Affect | None) -> dict[str, float]:
    pairs = {} if affect is None else {"valence": affect.valence, "arousal": affect.arousal}
    return {name: value for name, value in pairs.items() if value is not None}
