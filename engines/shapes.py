"""What goes into a graph and what comes out of it, held against its manifest.

Owns the words in which every backend refuses arrays that do not fit. Does not own what a graph file says of itself (`wiring.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays, EngineError
from engines.manifest import Graph, Tensor


@dataclass(frozen=True, slots=True)
class Shapes:
    """A graph's inputs and outputs by name; `name` is for errors."""

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @classmethod
    def of(cls, name: str, graph: Graph) -> Shapes:
        """Return those of a manifest's graph."""
        return cls(name, {tensor.name: tensor for tensor in graph.inputs}, {tensor.name: tensor for tensor in graph.outputs})

    def rows(self, inputs: Arrays) -> int:
        """Return the batch size of inputs that fit.

        Raises:
            EngineError: names, dtypes or shapes are other than the manifest's, or the batch is empty or not one.
        """
        if inputs.keys() != self.inputs.keys():
            raise EngineError(f"{self.name}: inputs are {', '.join(self.inputs)}; got {', '.join(inputs) or 'none'}")
        batch = next(iter(inputs.values())).shape[:1]
        for name, array in inputs.items():
            tensor = self.inputs[name]
            if array.dtype != tensor.dtype or array.shape != (*batch, *tensor.shape) or batch in ((), (0,)):
                raise EngineError(
                    f"{self.name}: input {name} must be {tensor.dtype} ({', '.join(('batch', *map(str, tensor.shape)))}), one batch of at "
                    f"least 1 for all inputs; got {array.dtype} {array.shape}"
                )
        return int(batch[0])

    def check(self, outputs: Mapping[str, NDArray[np.generic]], rows: int) -> None:
        """Check that outputs have the batch of the inputs.

        Raises:
            EngineError: one has not.
        """
        for name, array in outputs.items():
            if array.shape[:1] != (rows,):
                raise EngineError(
                    f"{self.name}: output {name} has shape {array.shape} for a batch of {rows}; export it with the batch first"
                )

    def zeros(self, rows: int) -> dict[str, NDArray[np.generic]]:
        """Return inputs of zeros, to warm up with."""
        return {name: np.zeros((rows, *tensor.shape), tensor.dtype) for name, tensor in self.inputs.items()}


def row_bytes(tensor: Tensor) -> int:
    """Return the bytes that one row of a tensor takes."""
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
