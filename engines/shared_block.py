"""Memory that this process and an inference server on the same host both see.

Owns the block: where each tensor of a batch lies in it, writing inputs, copying outputs out. Does not own telling the server about
it (`backends/triton.py`).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from engines.manifest import Tensor
from engines.shapes import row_bytes

_ALIGN = 64


class SharedBlock:
    """Room for `rows` rows of some tensors, one after the other. `name` is unguessable; `key` is the operating system's name for it."""

    def __init__(self, tensors: Iterable[Tensor], rows: int) -> None:
        self.rows = rows
        self.offsets: dict[str, int] = {}
        self._tensors = {tensor.name: tensor for tensor in tensors}
        end = 0
        for name, tensor in self._tensors.items():
            self.offsets[name] = end
            end += -(-rows * row_bytes(tensor) // _ALIGN) * _ALIGN
        self.bytes = max(end, _ALIGN)
        self.name = f"mien-{secrets.token_hex(8)}"
        self.key = f"/{self.name}"
        self._memory = SharedMemory(self.name, create=True, size=self.bytes)

    def size(self, name: str, rows: int) -> int:
        """Return the bytes that some rows of a tensor take."""
        return rows * row_bytes(self._tensors[name])

    def write(self, arrays: Arrays) -> None:
        """Put arrays where their tensors lie."""
        for name, array in arrays.items():
            np.copyto(self._view(name, len(array)), array, casting="no")

    def read(self, names: Iterable[str], rows: int) -> Mapping[str, NDArray[np.generic]]:
        """Return copies of the first rows of some tensors."""
        return {name: self._view(name, rows).copy() for name in names}

    def close(self) -> None:
        """Free the block; the server's own view of it lives on until it lets go. May be called again."""
        self._memory.close()
        with contextlib.suppress(FileNotFoundError):
            self._memory.unlink()

    def _view(self, name: str, rows: int) -> NDArray[np.generic]:
        tensor = self._tensors[name]
        view: NDArray[np.generic] = np.ndarray((rows, *tensor.shape), np.dtype(tensor.dtype), self._memory.buf, self.offsets[name])
        return view
