"""What is benched on without a file of samples: noise of the right shape.

Owns the noise. Does not own windows of real crops (`engines/samples.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Expression
from engines.samples import Rows, crops_of

SEED = 0


def noise(manifest: Expression, count: int) -> Rows:
    """Draw windows of noise: the same for every run. Time hardly depends on values; labels mean nothing."""
    rng = np.random.default_rng(SEED)
    made: dict[str, NDArray[np.generic]] = {}
    for name, tensor in crops_of(manifest).items():
        shape = (count, manifest.window.frames, *tensor.shape)
        made[name] = rng.integers(0, 256, shape, np.uint8) if tensor.dtype == "uint8" else rng.normal(0, 1, shape).astype(np.float32)
    return made
