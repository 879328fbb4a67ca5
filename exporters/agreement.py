"""How far one set of a model's graphs is from another: labels that agree, the largest error, the time per result.

Owns the running of a model's graphs over windows, the comparison and the turns of the measurement. Does not own the graphs or the
limits (`precision.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from engines.manifest import Expression
from engines.terms import Part

CLOSE = 0.05
"""Valence and arousal, which go from −1 to 1, agree when they are this close (free)."""
SAID = ("probabilities", "valence", "arousal")
"""Output roles that a result is made of."""
TURNS = 9
WARM_UPS = 2
Rows = Mapping[str, NDArray[np.generic]]
Run = Callable[[Arrays], Arrays]
Runs = Mapping[Part, Run]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of how many results which share agrees, and the largest error of each output."""

    windows: int
    share: float
    errors: Mapping[str, float]


def results(runs: Runs, manifest: Expression, windows: Rows) -> dict[str, NDArray[np.generic]]:
    """Run every window, one at a time: what the service's graphs say of it, by output name. A model of frames alone: of its last frame."""
    said = [_result(runs, manifest, {name: values[k : k + 1] for name, values in windows.items()}) for k in range(_count(windows))]
    return {name: np.concatenate([one[name] for one in said]) for name in said[0]}


def between(runs: Runs, manifest: Expression, windows: Rows) -> dict[str, NDArray[np.generic]]:
    """Return what a window graph is given: the frame graph's outputs for each window, (windows, T, …)."""
    wanted = [tensor.name for tensor in manifest.graphs["window"].inputs]
    made = [_frames(runs, {name: values[k : k + 1] for name, values in windows.items()}) for k in range(_count(windows))]
    return {name: np.concatenate([one[name] for one in made]) for name in wanted}


def compare(got: Mapping[str, NDArray[np.generic]], wanted: Mapping[str, NDArray[np.generic]], manifest: Expression) -> Agreement:
    """Hold results against those of the fp32 graphs."""
    agree = np.ones(len(next(iter(wanted.values()))), bool)
    errors: dict[str, float] = {}
    for name in wanted:
        difference = np.abs(np.asarray(got[name], np.float64) - np.asarray(wanted[name], np.float64))
        errors[name] = float(difference.max()) if np.isfinite(difference).all() else float("inf")
        agree &= np.isfinite(difference).reshape(len(agree), -1).all(axis=1)
    for role, name in manifest.outputs.items():
        if role == "probabilities":
            agree &= got[name].argmax(axis=1) == wanted[name].argmax(axis=1)
        elif role in SAID:
            apart = np.abs(np.asarray(got[name], np.float64) - np.asarray(wanted[name], np.float64))
            agree &= (apart <= CLOSE).reshape(len(agree), -1).all(axis=1)
    return Agreement(len(agree), float(agree.mean()), errors)


def speed(reduced: Runs, full: Runs, manifest: Expression, windows: Rows, clock: Callable[[], float] = perf_counter) -> float:
    """Return the second's time per result over the first's, both in turn; above 1 the first is quicker.

    A result costs `hop` samples through the frame graph and one run of the window graph, as in a session.
    """
    one = {name: values[:1] for name, values in windows.items()}
    work = [_work(runs, manifest, one, full) for runs in (reduced, full)]
    ratios = []
    for turn in range(WARM_UPS + TURNS):
        seconds = [_timed(do, clock) for do in work]
        if turn >= WARM_UPS:
            ratios.append(seconds[1] / seconds[0])
    return median(ratios)


def _timed(do: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    do()
    return max(clock() - began, 1e-9)


def _work(runs: Runs, manifest: Expression, one: Rows, full: Runs) -> Callable[[], None]:
    if "full" in runs:
        return lambda: _nothing([runs["full"](one)])
    frame = {name: np.ascontiguousarray(values[:, -1]) for name, values in one.items()}
    window = between(full, manifest, one) if "window" in runs else {}

    def do() -> None:
        _nothing([runs["frame"](frame) for _ in range(manifest.window.hop)])
        if "window" in runs:
            _nothing([runs["window"](window)])

    return do


def _nothing(_: Sequence[Arrays]) -> None:
    """Take results, as a reader would."""


def _result(runs: Runs, manifest: Expression, window: Rows) -> Arrays:
    if "full" in runs:
        return runs["full"](window)
    if "window" in runs:
        return runs["window"](_frames(runs, window, [tensor.name for tensor in manifest.graphs["window"].inputs]))
    return runs["frame"]({name: np.ascontiguousarray(values[:, -1]) for name, values in window.items()})


def _frames(runs: Runs, window: Rows, wanted: Sequence[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """Run one window's frames; outputs (1, T, …)."""
    made = runs["frame"]({name: np.ascontiguousarray(values[0]) for name, values in window.items()})
    return {name: np.asarray(values)[None] for name, values in made.items() if wanted is None or name in wanted}


def _count(windows: Rows) -> int:
    return len(next(iter(windows.values())))
