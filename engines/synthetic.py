"""An engine without a graph: rows computed by a function, for benchmarks and tests of what lies around engines.

Owns the engine that runs such a function over a batch. Does not own the functions (whoever builds a synthetic world does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays, EngineError, EngineInfo

Row = Callable[[Arrays], Mapping[str, NDArray[np.generic]]]


class SyntheticEngine:
    """Applies `row` to each row of a batch. Whatever `row` raises passes through: a test may raise BackendLost."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.info = EngineInfo("synthetic", "1", 1)

    def run(self, inputs: Arrays) -> Arrays:
        """Return the rows' outputs, stacked.

        Raises:
            EngineError: no inputs, an empty batch, or batches of different sizes.
        """
        sizes = {name: len(array) for name, array in inputs.items()}
        count = next(iter(sizes.values()), 0)
        if count < 1 or len(set(sizes.values())) != 1:
            raise EngineError(f"synthetic engine: inputs must have one batch size of at least 1, got {sizes}")
        rows = [self._row({name: array[i] for name, array in inputs.items()}) for i in range(count)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def close(self) -> None:
        """Hold nothing."""
