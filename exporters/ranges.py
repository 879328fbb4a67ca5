"""What the values inside a graph reach: the lowest and highest of each tensor over rows.

Owns the feeding of onnxruntime's calibrator. Does not own the rows (`calibration.py`) or what is made of the ranges (`half.py`,
`quantize.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

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
    """Return the lowest and highest value of every float tensor that nodes of a graph make or take, over `rows`."""
    with TemporaryDirectory() as directory:
        plain = Path(directory, "graph.onnx")
        onnx.save_model(model, plain)
        with unheard():
            calibrator = create_calibrator(
                plain, op_types_to_calibrate=None, augmented_model_path=str(Path(directory, "observed.onnx")),
                calibrate_method=CalibrationMethod.MinMax,
            )  # fmt: skip
        calibrator.collect_data(RowReader(rows))
        found = calibrator.compute_data()
        del calibrator
    return {name: (float(np.min(seen.lowest)), float(np.max(seen.highest))) for name, seen in found.items()}
