"""TensorRT: NVIDIA GPUs, Jetson included.

Owns how a plan is loaded and run: memory pinned once, one stream, and a recording of copies and run (a CUDA graph) of the batch size that
is run again and again, where the plan allows it. A recording is of the execution context as it was then and must not be begun after the
context has changed, so another batch size ends it. Source: NVIDIA, TensorRT documentation, "Performance Best Practices", CUDA Graphs. Does
not own plans (`engines/plans/`): one is deserialised only if it was built for exactly this graph, device and
release and has the bytes it was kept with.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends import onnx
from engines.engine import Arrays, DeviceFull, Engine, EngineError, EngineInfo, EngineOptions, SilentFallback
from engines.manifest import Graph
from engines.plans import making, sdk
from engines.plans.cache import PlanCache, default_directory
from engines.plans.cuda import Device, Pair, Recording, Stream, device
from engines.plans.sdk import Sdk, quiet_logger
from engines.shapes import Shapes

log = logging.getLogger("mien.engines")
AGAIN = 2
"""Runs of one batch size on end before it is recorded: the first allocates, which cannot be; sizes that come and go are not worth it."""
_FULL = ("out of memory", "OutOfMemory", "cudaErrorMemoryAllocation", "insufficient memory")


class TensorRtEngine:
    """One plan on one device. Outputs are ordinary arrays of the caller's own. `largest`: rows of the largest batch it was built for."""

    def __init__(self, plan: bytes, name: str, graph: Graph, kit: Sdk, card: Device, largest: int) -> None:
        self._name, self._largest = name, largest
        self._shapes = Shapes.of(name, graph)
        self._complaints: list[str] = []
        self._pairs: dict[str, Pair] = {}
        self._recording: Recording | None = None
        self._rows, self._on_end = 0, 0
        self._unrecordable: set[int] = set()
        self._stream: Stream | None = None
        self._context: Any = None
        trt = kit.module
        # Both must outlive what is made by them.
        self._logger = quiet_logger(kit, self._complaints)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._error("the plan does not load")
        try:
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise self._error("there is no execution context")
            self._stream = Stream()
            for tensor in (*graph.inputs, *graph.outputs):
                self._pairs[tensor.name] = pair = Pair(largest, tensor.shape, tensor.dtype)
                if not self._context.set_tensor_address(tensor.name, pair.device):
                    raise self._error(f"the plan has no tensor {tensor.name}")
        except BaseException:
            self.close()
            raise
        rtx = "rtx " if kit.name == "tensorrt-rtx" else ""
        self.info = EngineInfo(f"tensorrt:{card.name}", f"{rtx}{kit.version}", 0)

    def run(self, inputs: Arrays) -> Arrays:
        """Run one batch; one that is larger than the plan was built for goes in several.

        Raises:
            EngineError: the engine is closed, the inputs do not fit, or the run failed.
            DeviceFull: the device has no memory left for it.
            BackendLost: the device has gone.
        """
        if self._stream is None:
            raise EngineError(f"{self._name}: the engine is closed; open the graph again")
        rows = self._shapes.rows(inputs)
        parts = [self._some(inputs, start, min(self._largest, rows - start)) for start in range(0, rows, self._largest)]
        outputs = parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._shapes.check(outputs, rows)
        return outputs

    def close(self) -> None:
        """Release the device's memory. May be called again."""
        if self._stream is not None:
            # Nothing may still be under way when its memory goes; where the device has gone nothing is.
            with suppress(EngineError):
                self._stream.wait()
        self._forget()
        for pair in self._pairs.values():
            pair.close()
        self._pairs = {}
        self._context = self._engine = self._runtime = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _some(self, inputs: Arrays, start: int, rows: int) -> dict[str, NDArray[np.generic]]:
        assert self._stream is not None
        for name, array in inputs.items():
            self._pairs[name].host[:rows] = array[start : start + rows]
        if rows != self._rows:
            self._forget()
            self._shape(rows)
        if self._recording is not None:
            self._recording.begin(self._stream.handle)
        else:
            self._begin(rows)
        self._stream.wait()
        outputs = {name: self._pairs[name].host[:rows].copy() for name in self._shapes.outputs}
        self._on_end += 1
        if self._on_end == AGAIN and rows not in self._unrecordable:
            self._recording = self._stream.recorded(lambda: self._begin(rows))
            if self._recording is None:
                self._unrecordable.add(rows)
        return outputs

    def _forget(self) -> None:
        """Let go of what was recorded, before the context changes."""
        recording, self._recording = self._recording, None
        self._rows, self._on_end = 0, 0
        if recording is not None:
            recording.close()

    def _shape(self, rows: int) -> None:
        for name, tensor in self._shapes.inputs.items():
            if not self._context.set_input_shape(name, (rows, *tensor.shape)):
                raise self._error(f"a batch of {rows} is not one that the plan takes")
        self._rows = rows

    def _begin(self, rows: int) -> None:
        assert self._stream is not None
        for name in self._shapes.inputs:
            self._pairs[name].to_device(rows, self._stream.handle)
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._error("the run failed")
        for name in self._shapes.outputs:
            self._pairs[name].to_host(rows, self._stream.handle)

    def _error(self, what: str) -> EngineError:
        said = "; ".join(self._complaints[-2:]) or "TensorRT does not say why"
        self._complaints.clear()
        full = any(sign.lower() in said.lower() for sign in _FULL)
        return (DeviceFull if full else EngineError)(f"{self._name}: {what}: {said[:400]}")


def offers() -> str:
    """Name the package that builds and runs plans.

    Raises:
        BackendMissing: there is none.
    """
    kit = sdk.load()
    return f"SDK {kit.name} {kit.version}"


def open_graph(data: bytes, name: str, graph: Graph, options: EngineOptions) -> Engine:
    """Open a graph from its verified bytes, its plan found or built; `name` is for errors.

    Where there can be no plan, `options.allow_fallback` takes ONNX Runtime instead and says so in the log and in `info`.

    Raises:
        BackendMissing: TensorRT or a device is not here.
        SilentFallback: providers or a precision were asked for.
        EngineError: there is no plan and none can be built, or it cannot be loaded.
    """
    try:
        return _opened(data, name, graph, options)
    except EngineError as error:
        if not options.allow_fallback:
            raise
        log.warning("%s; ONNX Runtime runs it instead", error)
        return onnx.open_graph(data, name, graph, options)


def _opened(data: bytes, name: str, graph: Graph, options: EngineOptions) -> TensorRtEngine:
    if options.precision != "fp32" or options.providers is not None:
        wish = f"precision {options.precision}" if options.providers is None else f"providers {', '.join(options.providers)}"
        raise SilentFallback(f"{name}: tensorrt runs a graph on the first GPU in the precision it was exported in; {wish} cannot be had")
    card, kit = device(), sdk.load()
    wanted = making.identity(
        data, sdk=kit.name, version=kit.version, capability=card.capability, device=card.name, platform=sdk.here(), largest=options.largest
    )
    cache = PlanCache(Path(options.plans) if options.plans is not None else default_directory())
    plan = making.plan_for(cache, wanted, data, name, graph, options.told)
    log.info("%s", plan.note)
    return TensorRtEngine(plan.data, name, graph, kit, card, options.largest)
