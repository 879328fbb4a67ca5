"""One graph, ready to run, on whichever runtime: the protocol and the lazy lookup.

Owns the words every backend speaks. Does not own any runtime (`backends/<name>.py`) or files (`folder.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
Precision = Literal["fp32", "bf16"]


class EngineError(Exception):
    """A graph cannot be opened or run. The text says which, why, and what to do."""


class BackendMissing(EngineError):
    """A runtime's package is not installed, or no such backend exists."""


class SilentFallback(EngineError):
    """A runtime would run on another device than the one asked for, and falling back was not allowed."""


class BackendLost(EngineError):
    """A runtime that worked has gone (device lost, server gone). Retrying later may help."""


class DeviceFull(EngineError):
    """The device has no memory left for this batch; a smaller one may go through."""


def _nobody(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open an engine. `providers`: execution providers, or devices, in order of wish (None: the backend's default);
    `threads`: intra-op threads (0: the runtime chooses); `allow_fallback`: accept another device or precision than asked for;
    `precision`: what an fp32 graph is computed in; `url`: HOST:PORT of an inference server; `timeout_s`: how long it may take
    for a run before it counts as gone; `largest`: rows of the largest batch that will be asked for; `plans`: the folder of compiled
    plans (None: the user's cache); `told`: is told of builds that take minutes."""

    backend: str = "onnx"
    providers: tuple[str, ...] | None = None
    threads: int = 0
    allow_fallback: bool = False
    precision: Precision = "fp32"
    url: str = "127.0.0.1:8001"
    timeout_s: float = 2.0
    largest: int = 16
    plans: str | None = None
    told: Callable[[str], None] = _nobody


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs: `backend` with the provider in use (`onnx:CPUExecutionProvider`, `openvino:CPU(bf16)`), runtime version,
    threads (0: not ours to say)."""

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
