"""Rounds: batch what all sessions ask for, run it, hand it back, until nobody asks.

Owns batching over sessions and tracks. Does not own sessions' inputs (`live.py`, `pipeline.py`) or engines.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from engines.engine import Arrays, DeviceFull, Engine, EngineError
from service.events import SessionEvent
from service.inputs import Failed, GraphKey, Request, Result, Step
from service.session import Session

log = logging.getLogger("mien.rounds")


class Batcher:
    """Runs requests, one batch per graph (split where a graph's `max_batch` is smaller; a graph not named there: 1).

    A batch that the device has no memory for is tried once in halves, and the graph's batches stay that small. `full`: graphs whose last
    batch found no memory even so.
    """

    def __init__(self, engines: Mapping[GraphKey, Engine], max_batch: Mapping[GraphKey, int]) -> None:
        self._engines = engines
        self._max_batch = max_batch
        self._failing: dict[GraphKey, int] = {}
        self._smaller: dict[GraphKey, int] = {}
        self.full: frozenset[GraphKey] = frozenset()

    def run(self, requests: Sequence[Request]) -> list[Result]:
        """Return one row of outputs per request, in order. A graph that fails, or has gone, fails its own rows only."""
        results: list[Result | None] = [None] * len(requests)
        graphs: dict[GraphKey, list[int]] = {}
        for index, request in enumerate(requests):
            graphs.setdefault(request.graph, []).append(index)
        for graph, indices in graphs.items():
            size = min(self._max_batch.get(graph, 1), self._smaller.get(graph, len(indices)))
            for start in range(0, len(indices), size):
                chunk = indices[start : start + size]
                for index, result in zip(chunk, self._batch(graph, [requests[i] for i in chunk]), strict=True):
                    results[index] = result
        return [result for result in results if result is not None]

    def _batch(self, graph: GraphKey, requests: Sequence[Request]) -> Sequence[Result]:
        rows = [request.inputs for request in requests]
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        try:
            outputs = self._run(graph, stacked, len(rows))
        except EngineError as error:
            # One model's trouble must not end the sessions of others; each of its faces says so, the log once.
            if graph not in self._failing:
                log.warning("%s/%s: rows get no result: %s", *graph, error)
            self._failing[graph] = self._failing.get(graph, 0) + len(rows)
            full = isinstance(error, DeviceFull)
            self.full = self.full | {graph} if full else self.full - {graph}
            return [Failed("backend-lost", str(error), full)] * len(rows)
        self.full -= {graph}
        if (missed := self._failing.pop(graph, 0)) > 0:
            log.warning("%s/%s: rows get results again; %d got none", *graph, missed)
        return [{name: array[i] for name, array in outputs.items()} for i in range(len(rows))]

    def _run(self, graph: GraphKey, rows: Arrays, count: int) -> Arrays:
        engine = self._engines[graph]
        try:
            return engine.run(rows)
        except DeviceFull as error:
            if count < 2:
                raise
            half = -(-count // 2)
            log.warning("%s/%s: a batch of %d is too large, batches of %d are tried: %s", *graph, count, half, error)
        first, second = ({name: array[part] for name, array in rows.items()} for part in (slice(half), slice(half, None)))
        parts = [engine.run(first), engine.run(second)]
        self._smaller[graph] = half
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def settle(pending: Sequence[tuple[Session, Step]], batcher: Batcher) -> list[tuple[SessionEvent, ...]]:
    """Complete every session's step; return what each said. At most three batches: detect, frame, window."""
    said: list[tuple[SessionEvent, ...]] = [() for _ in pending]
    waiting = [(index, session, step) for index, (session, step) in enumerate(pending)]
    while waiting:
        results = iter(batcher.run([request for _, _, step in waiting for request in step.requests]))
        following = []
        for index, session, step in waiting:
            if step.requests:
                following.append((index, session, session.complete([next(results) for _ in step.requests])))
            else:
                said[index] = step.events
        waiting = following
    return said
