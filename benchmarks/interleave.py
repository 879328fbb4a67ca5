"""Timing two or more ways in turn, so that a machine that slows down slows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of each counted run of one way."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)


def interleave(ways: Mapping[str, Callable[[], object]], runs: int, warmups: int = 1) -> dict[str, Timed]:
    """Run each way in turn, `warmups` uncounted rounds first; return their times."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(warmups + runs):
        for name, way in ways.items():
            began = perf_counter()
            way()
            if round_ >= warmups:
                seconds[name].append(perf_counter() - began)
    return {name: Timed(name, tuple(values)) for name, values in seconds.items()}


def ratio(a: Timed, b: Timed) -> tuple[float, float, float]:
    """Return min, median and max of a/b, pair by pair."""
    pairs = sorted(x / y for x, y in zip(a.seconds, b.seconds, strict=True))
    return pairs[0], median(pairs), pairs[-1]
