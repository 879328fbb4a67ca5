"""Weights as TensorFlow.js stores them: a JSON list of tensors beside binary files.

Owns the reading and dequantisation. Does not own any network.
Source: the TensorFlow.js weights manifest format (`quantization`: value = stored · scale + min).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray


def weights(manifest: bytes, files: Mapping[str, bytes]) -> dict[str, NDArray[np.float32]]:
    """Read all tensors, float32, by name. `files`: contents by file name.

    Raises:
        ValueError: a file's length is not that of its tensors.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for group in json.loads(manifest):
        data = b"".join(files[PurePosixPath(path).name] for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            found[entry["name"]], size = _tensor(entry, data, offset)
            offset += size
        if offset != len(data):
            raise ValueError(f"{', '.join(group['paths'])}: the manifest describes {offset} bytes, the file has {len(data)}")
    return found


def _tensor(entry: Mapping[str, Any], data: bytes, offset: int) -> tuple[NDArray[np.float32], int]:
    quantization = entry.get("quantization")
    dtype = np.dtype(quantization["dtype"] if quantization else entry["dtype"]).newbyteorder("<")
    count = int(np.prod(entry["shape"], dtype=np.int64))
    stored = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
    values = stored.astype(np.float32)
    if quantization and "scale" in quantization:
        values = values * np.float32(quantization["scale"]) + np.float32(quantization["min"])
    return values, count * dtype.itemsize
