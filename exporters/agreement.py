"""How far one set of a model's graphs is from another: labels that agree, the largest error, the time per result.

Owns the comparison and the turns of the measurement. Does not own what a result is (`engines/results.py`), the graphs or the limits
(`precision.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Expression
from engines.results import Runs, between, one_result
from engines.samples import Rows

CLOSE = 0.05
"""Valence and arousal, which go from −1 to 1, agree when they are this close (free)."""
SAID = ("probabilities", "valence", "arousal")
"""Output roles that a result is made of."""
TURNS, MOST_TURNS = 9, 301
ENOUGH_S = 2.0
"""Quick networks take more turns than `TURNS`, for this long: nine of a few milliseconds each say how busy the machine is."""
WARM_UPS = 2


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of how many results which share agrees, and the largest error of each output."""

    windows: int
    share: float
    errors: Mapping[str, float]


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
    given = between(full, manifest, one) if "window" in reduced else {}
    work = [one_result(runs, manifest, one, given) for runs in (reduced, full)]
    for do in work * WARM_UPS:
        _timed(do, clock)
    ratios, spent = list[float](), 0.0
    while len(ratios) < TURNS or (spent < ENOUGH_S and len(ratios) < MOST_TURNS):
        seconds = [_timed(do, clock) for do in work]
        ratios.append(seconds[1] / seconds[0])
        spent += sum(seconds)
    return median(ratios)


def _timed(do: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    do()
    return max(clock() - began, 1e-9)
