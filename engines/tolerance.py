"""How far a runtime's outputs may be from those of ONNX Runtime on the CPU: the one table.

Owns the figures; `tests/engines/test_backend_contract.py` holds every runtime found to them. Does not own the tolerances of exports
(`exporters/parity.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REFERENCE = "onnx:CPUExecutionProvider"
TOLERANCES = {
    REFERENCE: 0.0,  # the same bytes: over runs, processes and, where the manifest says `batch.invariant`, batch compositions
    "onnx:": 1e-3,  # a GPU's convolutions may use TF32
    "openvino:CPU(fp32)": 1e-5,  # 1.5e-6 was measured
    "openvino:CPU(bf16)": 1e-1,  # eight bits of significand through some fifty layers; on noise, 0.042 was measured
    "openvino:": 1e-2,
    "tensorrt:": 1e-3,
    "triton:": 1e-5,  # a server's own release of onnxruntime, in fp32; another backend there has its own figure
}
"""By `EngineInfo.backend` or how it begins: the largest difference, as a part of the tensor's largest magnitude."""


def tolerance(backend: str) -> float:
    """Return a runtime's tolerance by the longest entry that its name begins with.

    Raises:
        KeyError: the table has none.
    """
    known = [entry for entry in TOLERANCES if backend.startswith(entry)]
    if not known:
        raise KeyError(f"no tolerance for {backend!r} in engines/tolerance.py")
    return TOLERANCES[max(known, key=len)]


def difference(given: NDArray[np.generic], reference: NDArray[np.generic]) -> float:
    """Return the largest difference of two tensors as a part of the reference's largest magnitude; 0 for the same bytes."""
    if given.dtype == reference.dtype and given.tobytes() == reference.tobytes():
        return 0.0
    first, second = given.astype(np.float64), reference.astype(np.float64)
    return float(np.abs(first - second).max() / max(np.abs(second).max(), np.finfo(np.float32).tiny))
