"""What the values inside a graph reach: the lowest and highest of each tensor over rows.

Owns the measurement, and the feeding of onnxruntime's calibrator. Does not own the rows (`reduced.py`) or what is made of the ranges
(`half.py`, `quantize.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader

_WARNING, _ERROR = 2, 3
Rows = Mapping[str, NDArray[np.generic]]


class RowReader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime's classes have no types
    """Hands a calibrator rows one at a time: one window's inner values are gigabytes for some networks."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._next = 0

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """Return the next row's inputs, None after the last."""
        row, self._next = self._next, self._next + 1
        if row >= len(next(iter(self._rows.values()))):
            return None
        return {name: values[row : row + 1] for name, values in self._rows.items()}


@contextmanager
def unheard() -> Iterator[None]:
    """Keep onnxruntime's warnings about its calibrator's own graphs to itself; sessions opened within are concerned."""
    ort.set_default_logger_severity(_ERROR)
    try:
        yield
    finally:
        ort.set_default_logger_severity(_WARNING)


def measured(model: onnx.ModelProto, rows: Rows) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value of every float tensor that nodes of a graph make or take, over `rows`.

    onnxruntime's calibrator gives the same, and takes two minutes to prepare a graph of 4,000 nodes.
    """
    session, names = _open(_observed(model))
    found: dict[str, tuple[float, float]] = {}
    for row in range(len(next(iter(rows.values())))):
        seen = session.run(None, {name: values[row : row + 1] for name, values in rows.items()})
        for name, low, high in zip(names, seen[::2], seen[1::2], strict=True):
            before = found.get(name, (float("inf"), float("-inf")))
            found[name] = min(before[0], float(low)), max(before[1], float(high))
    return found


def _observed(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Copy a graph so that it gives nothing but the lowest and highest value of each float tensor; and their names, in that order."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    float_ = onnx.TensorProto.FLOAT
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input, *graph.output]}
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    names = sorted(name for name in made if types.get(name) == float_)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.output[:]
    for number, name in enumerate(names):
        for word in ("Min", "Max"):
            said = f"observed.{number}.{word}"
            copied.graph.node.append(helper.make_node(f"Reduce{word}", [name], [said], keepdims=0))
            copied.graph.output.append(helper.make_tensor_value_info(said, float_, []))
    return copied, names


def _open(observed: tuple[onnx.ModelProto, list[str]]) -> tuple[ort.InferenceSession, list[str]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERROR
    # As it was written: what an optimiser joins has no values between.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(observed[0].SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, observed[1]
