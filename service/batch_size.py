"""How many rows a graph takes at once: chosen by measurement while it is warmed up.

Owns the measurement. Does not own whether a graph may be batched at all (its manifest and `models.py` say so) or batching
(`rounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from engines.engine import Engine
from engines.manifest import Graph

BATCHES = (1, 2, 4, 8, 16)
RUNS = 5
CLOSE = 1.05
"""A smaller batch is kept when it is this close to the best: it has less latency."""
PATIENCE_S = 2.0
"""After so long a graph's larger batches are not tried: a network that slow gains nothing a label would wait for."""


def measure_batch(engine: Engine, graph: Graph, largest: int, clock: Callable[[], float] = perf_counter) -> int:
    """Warm an engine up and return the batch size that serves a row fastest, smaller ones within 5 % preferred.

    Each size up to `largest` is run on zeros, once to warm it up and `RUNS` times for the median, until `PATIENCE_S` is spent.
    `clock`: seconds.
    """
    per_row: dict[int, float] = {}
    started = clock()
    for size in [size for size in BATCHES if size <= largest] or [1]:
        if per_row and clock() - started > PATIENCE_S:
            break
        zeros = {tensor.name: np.zeros((size, *tensor.shape), tensor.dtype) for tensor in graph.inputs}
        engine.run(zeros)
        times = []
        for _ in range(RUNS):
            began = clock()
            engine.run(zeros)
            times.append(clock() - began)
            if clock() - started > PATIENCE_S:
                break
        per_row[size] = median(times) / size
    best = min(per_row.values())
    return min(size for size, time in per_row.items() if time <= CLOSE * best)
