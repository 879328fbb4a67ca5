"""A value per frame: the fold over events by which the papers evaluate.

Owns averaging of the windows that hold a frame, finality, and interpolation of missed frames. Works on events alone,
so a recording of events gives the same trace as the run that made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.events import Event, SessionEvent


@dataclass(frozen=True, slots=True, eq=False)
class TraceValue:
    """A track's value at one frame. `scores` in the order of `Trace.labels`; `windows`: how many were averaged;
    `final`: no later window can change it; `interpolated`: no window holds this frame, its neighbours do."""

    frame: int
    t_ns: int
    track: int
    scores: tuple[float, ...]
    valence: float | None
    arousal: float | None
    windows: int
    final: bool
    interpolated: bool


@dataclass(slots=True)
class _Track:
    frames: list[tuple[int, int]] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    windows: list[tuple[int, int, NDArray[np.float64]]] = field(default_factory=list)


class Trace:
    """Folds a session's events, in order."""

    def __init__(self) -> None:
        self.labels: tuple[str, ...] = ()
        self._tracks: dict[int, _Track] = {}
        self._live: set[int] = set()

    def add(self, event: SessionEvent) -> None:
        """Take in one event; other kinds than `Event` change nothing."""
        if not isinstance(event, Event):
            return
        self._live = {face.track for face in event.faces}
        for face in event.faces:
            track = self._tracks.setdefault(face.track, _Track())
            track.frames.append((event.frame, event.t_ns))
            if face.sampled:
                track.samples.append(event.frame)
            if face.prediction is not None:
                by_name = {score.name: score.probability for score in face.prediction.scores}
                self.labels = self.labels or tuple(sorted(by_name))
                affect = face.prediction.affect
                pair = (None, None) if affect is None else (affect.valence, affect.arousal)
                numbers = [by_name.get(label, np.nan) for label in self.labels] + [np.nan if x is None else x for x in pair]
                first, last = face.prediction.window.candidates
                track.windows.append((first, last, np.array(numbers, np.float64)))

    def values(self, ended: bool = True) -> list[TraceValue]:
        """Return every track's values in time order, tracks in the order of their numbers; `ended`: no event follows."""
        return [value for number in sorted(self._tracks) for value in self._of(number, ended)]

    def _of(self, number: int, ended: bool) -> list[TraceValue]:
        track = self._tracks[number]
        if not track.windows:
            return []
        sums: dict[int, tuple[int, NDArray[np.float64]]] = {}
        samples = np.array(track.samples)
        for first, last, numbers in track.windows:
            for frame in samples[np.searchsorted(samples, first) : np.searchsorted(samples, last, "right")].tolist():
                count, total = sums.get(frame, (0, np.zeros_like(numbers)))
                sums[frame] = (count + 1, total + numbers)
        frames = np.array(sorted(sums))
        means = np.stack([sums[int(frame)][1] / sums[int(frame)][0] for frame in frames])
        times = dict(track.frames)
        known = np.array([times[int(frame)] for frame in frames], np.float64)
        newest_first = track.windows[-1][0]
        over = ended or number not in self._live
        values = []
        for frame, t_ns in track.frames:
            held = frame in sums
            row = sums[frame][1] / sums[frame][0] if held else _between(known, means, t_ns)
            valence, arousal = (None if np.isnan(x) else float(x) for x in row[-2:])
            values.append(
                TraceValue(frame, t_ns, number, tuple(row[:-2].tolist()), valence, arousal,
                           sums[frame][0] if held else 0, over or frame < newest_first, not held)
            )  # fmt: skip
        return values


def _between(times: NDArray[np.float64], means: NDArray[np.float64], t_ns: int) -> NDArray[np.float64]:
    """Interpolate linearly in time; outside the known span the nearest value holds."""
    return np.array([np.interp(t_ns, times, column) for column in means.T])


def track_mean(values: Sequence[TraceValue]) -> NDArray[np.float64]:
    """Return the mean over frames of a track's trace: probabilities in label order, then valence and arousal (NaN: none)."""
    rows = [[*v.scores, np.nan if v.valence is None else v.valence, np.nan if v.arousal is None else v.arousal] for v in values]
    return np.asarray(np.mean(np.array(rows, np.float64), axis=0))
