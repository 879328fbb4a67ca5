"""One graph, ready to run, on whichever runtime: the protocol and the lazy lookup.

Owns the words every backend speaks. Does not own any runtime (`backends/<name>.py`) or files (`folder.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]


class EngineError(Exception):
    """A graph cannot be opened or run. The text says which, why, and what to do."""


class BackendMissing(EngineError):
    """A runtime's package is not installed, or no such backend exists."""


class SilentFallback(EngineError):
    """A runtime would run on another device than the one asked for, and falling back was not allowed."""


class BackendLost(EngineError):
    """A runtime that worked has gone (device lost, server gone). Retrying later may help."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open an engine. `providers`: execution providers in order of wish (None: the backend's default);
    `threads`: intra-op threads (0: the runtime chooses); `allow_fallback`: accept another device than asked for."""

    backend: str = "onnx"
    providers: tuple[str, ...] | None = None
    threads: int = 0
    allow_fallback: bool = False


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs: `backend` with the provider in use (`onnx:CPUExecutionProvider`), runtime version, threads."""

    backend: str
    version: str
    threads: int


class Engine(Protocol):
    """A loaded graph. Not thread-safe: one thread at a time calls `run`."""

    @property
    def info(self) -> EngineInfo: ...

    def run(self, inputs: Arrays) -> Arrays:
        """Run one batch: arrays by input name, batch axis first; returns arrays by output name, the same batch.

        Raises:
            EngineError: names, shapes or dtypes do not fit the graph, or the runtime failed.
            BackendLost: the runtime has gone.
        """
        ...

    def close(self) -> None: ...
