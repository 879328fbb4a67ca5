"""The CUDA runtime as far as running a plan needs it: the device, a stream, memory on both sides, recorded work.

Owns the calls and what their errors mean to us. Does not own TensorRT (`backends/tensorrt.py`). By NVIDIA's `cuda-bindings`, which needs
no compiler and no other package.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda.bindings import runtime as rt
from numpy.typing import NDArray

from engines.engine import BackendLost, BackendMissing, DeviceFull, EngineError

_ABSENT = ("cudaErrorNoDevice", "cudaErrorInsufficientDriver", "cudaErrorInitializationError", "cudaErrorSystemDriverMismatch",
           "cudaErrorStubLibrary", "cudaErrorDevicesUnavailable")  # fmt: skip
_LOST = ("cudaErrorIllegalAddress", "cudaErrorLaunchFailure", "cudaErrorECCUncorrectable", "cudaErrorHardwareStackError",
         "cudaErrorIllegalInstruction", "cudaErrorLaunchTimeout", "cudaErrorContextIsDestroyed", "cudaErrorUnknown")  # fmt: skip
"""After these every further call of this process fails."""


@dataclass(frozen=True, slots=True)
class Device:
    """The card in use: its name, and its compute capability as `9.0`."""

    name: str
    capability: str


def checked(result: tuple[Any, ...]) -> Any:
    """Return what a call of the CUDA runtime gave: nothing, a value, or several.

    Raises:
        BackendMissing: there is no device or no driver.
        DeviceFull: the device has no memory left.
        BackendLost: the device has gone, or this process can use it no more.
        EngineError: anything else.
    """
    code, *given = result
    if code == rt.cudaError_t.cudaSuccess:
        return given[0] if len(given) == 1 else given or None
    name = code.name
    text = rt.cudaGetErrorString(code)[1]
    said = f"CUDA: {text.decode() if isinstance(text, bytes) else text} ({name})"
    if name in _ABSENT:
        raise BackendMissing(f"{said}; an NVIDIA GPU with a driver is needed, or --backend onnx")
    if name == "cudaErrorMemoryAllocation":
        raise DeviceFull(f"{said}; close what else uses the GPU, or take a smaller model")
    raise (BackendLost if name in _LOST else EngineError)(said)


def device() -> Device:
    """Return the first device, which becomes this thread's.

    Raises:
        BackendMissing: there is none.
    """
    try:
        count = checked(rt.cudaGetDeviceCount())
    except RuntimeError as error:  # cuda-bindings 12 raises where there is no driver at all; 13 returns a code
        raise BackendMissing(f"CUDA: {error}; an NVIDIA GPU with a driver is needed, or --backend onnx") from error
    if count < 1:
        raise BackendMissing("CUDA finds no device; an NVIDIA GPU with a driver is needed, or --backend onnx")
    checked(rt.cudaSetDevice(0))
    facts = checked(rt.cudaGetDeviceProperties(0))
    name = facts.name.decode() if isinstance(facts.name, bytes) else str(facts.name)
    return Device(name.rstrip("\0"), f"{facts.major}.{facts.minor}")


class Pair:
    """Memory for one tensor of up to `rows` rows on both sides: pinned on the host, so that copies need no third place.

    Raises:
        DeviceFull: one side has no room.
    """

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: str) -> None:
        self.row_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        size = max(self.row_bytes * rows, 1)
        self._host: int | None = int(checked(rt.cudaHostAlloc(size, 0)))
        try:
            self.device: int | None = int(checked(rt.cudaMalloc(size)))
        except EngineError:
            checked(rt.cudaFreeHost(self._host))
            raise
        raw: Any = (ctypes.c_ubyte * size).from_address(self._host)
        self.host: NDArray[np.generic] = np.frombuffer(raw, np.dtype(dtype), rows * math.prod(shape)).reshape(rows, *shape)

    def to_device(self, rows: int, stream: int) -> None:
        """Begin to copy so many rows to the device."""
        kind = rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(rt.cudaMemcpyAsync(self.device, self._host, rows * self.row_bytes, kind, stream))

    def to_host(self, rows: int, stream: int) -> None:
        """Begin to copy so many rows from the device."""
        kind = rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(rt.cudaMemcpyAsync(self._host, self.device, rows * self.row_bytes, kind, stream))

    def close(self) -> None:
        """Give the memory back; `host` must not be used afterwards. May be called again, and after the device has gone."""
        self.host = np.empty(0, np.uint8)
        host, self._host = self._host, None
        there, self.device = self.device, None
        if there is not None:
            rt.cudaFree(there)
        if host is not None:
            rt.cudaFreeHost(host)


class Stream:
    """Work in order, apart from all other streams'."""

    def __init__(self) -> None:
        made = checked(rt.cudaStreamCreateWithFlags(rt.cudaStreamNonBlocking))
        self.handle: int = int(made)

    def wait(self) -> None:
        """Wait until all work is done."""
        checked(rt.cudaStreamSynchronize(self.handle))

    def recorded(self, work: Callable[[], None]) -> Recording | None:
        """Record the work that `work` begins on this stream, without doing it; None: it cannot be recorded."""
        mode = rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(rt.cudaStreamBeginCapture(self.handle, mode))
        failed = False
        try:
            work()
        except EngineError:
            failed = True
        code, graph = rt.cudaStreamEndCapture(self.handle)
        if failed or code != rt.cudaError_t.cudaSuccess:
            # The error of the recording must not be taken for one of the next call's.
            rt.cudaGetLastError()
            return None
        code, made = rt.cudaGraphInstantiate(graph, 0)
        rt.cudaGraphDestroy(graph)
        return Recording(made) if code == rt.cudaError_t.cudaSuccess else None

    def close(self) -> None:
        """Release the stream. May be called again."""
        handle, self.handle = self.handle, 0
        if handle:
            rt.cudaStreamDestroy(handle)


class Recording:
    """Work that was recorded (a CUDA graph): one call begins all of it."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def begin(self, stream: int) -> None:
        """Begin the work on a stream."""
        checked(rt.cudaGraphLaunch(self._made, stream))

    def close(self) -> None:
        """Release it. May be called again."""
        made, self._made = self._made, None
        if made is not None:
            rt.cudaGraphExecDestroy(made)
