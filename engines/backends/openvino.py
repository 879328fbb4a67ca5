"""OpenVINO: x86 CPUs, and Intel's GPUs and NPUs where their plugins are.

Owns how a graph is compiled and what is really in use: device, precision and threads are read back from the compiled model, never
from the wish. A graph is compiled twice, before any frame comes: for one row, which is what a single face always is and by up to a
fifth quicker, and with a dynamic batch for every other size. Their rows differ in the last bits.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from engines.engine import Arrays, EngineError, EngineInfo, EngineOptions, Precision, SilentFallback
from engines.manifest import Graph
from engines.shapes import Shapes

# OpenVINO's package reports its import, and each use of its converter, to its vendor if its telemetry package is there. Without
# that package it uses a stand-in that reports nothing: so for this process it is not there.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

CPU = "CPU"
_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}
_PREAMBLE = ("Exception from ", "Check '", "FrontEnd API failed", "Model wasn't fully converted", "Summary:")
"""How the lines of its errors begin that name source files."""
_SAID = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoEngine:
    """One graph compiled for one device. Outputs are ordinary arrays of the caller's own."""

    def __init__(self, data: bytes, name: str, graph: Graph, options: EngineOptions) -> None:
        self._name = name
        self._shapes = Shapes.of(name, graph)
        device = _device(name, options)
        try:
            model = _core().read_model(data)
            one, several = (_compiled(model, graph, device, options, rows) for rows in (1, -1))
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(
                f"{name}: OpenVINO {_version()} refuses the graph: {_said(error)}; export it again, or take --backend onnx"
            ) from error
        used = _SAID.get(kind := one.get_property("INFERENCE_PRECISION_HINT").get_type_name(), kind)
        if used != options.precision and not options.allow_fallback:
            raise SilentFallback(
                f"{name}: asked for {options.precision}, OpenVINO computes in {used} on this {device}; ask for that, or allow the fallback"
            )
        self._requests: tuple[ov.InferRequest, ov.InferRequest] | None = (one.create_infer_request(), several.create_infer_request())
        devices = ",".join(one.get_property("EXECUTION_DEVICES"))
        threads = int(one.get_property("INFERENCE_NUM_THREADS")) if devices == CPU else 0
        self.info = EngineInfo(f"openvino:{devices}({used})", _version(), threads)

    def run(self, inputs: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            EngineError: the engine is closed, the inputs do not fit, or the run failed.
        """
        if self._requests is None:
            raise EngineError(f"{self._name}: the engine is closed; open the graph again")
        rows = self._shapes.rows(inputs)
        try:
            found = self._requests[rows != 1].infer(
                {name: np.ascontiguousarray(array) for name, array in inputs.items()}, share_inputs=True
            )
            outputs = {name: found[name] for name in self._shapes.outputs}
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(f"{self._name}: the run failed: {_said(error)}") from error
        self._shapes.check(outputs, rows)
        return outputs

    def close(self) -> None:
        """Release the compiled models. May be called again."""
        self._requests = None


def offers() -> str:
    """Name the devices OpenVINO finds."""
    return f"devices {', '.join(_core().available_devices)}"


def open_graph(data: bytes, name: str, graph: Graph, options: EngineOptions) -> OpenVinoEngine:
    """Compile a graph from its verified bytes; `name` is for errors.

    Raises:
        SilentFallback: the device or precision asked for is not there, and falling back was not allowed.
        EngineError: OpenVINO refuses the graph.
    """
    return OpenVinoEngine(data, name, graph, options)


def _compiled(model: ov.Model, graph: Graph, device: str, options: EngineOptions, rows: int) -> ov.CompiledModel:
    """Compile for `rows` rows, −1: any number. What was compiled before keeps its own copy."""
    model.reshape({tensor.name: [rows, *tensor.shape] for tensor in graph.inputs})
    return _core().compile_model(model, device, _settings(device, options))


@cache
def _core() -> ov.Core:
    return ov.Core()


def _version() -> str:
    return str(ov.get_version()).partition("-")[0]


def _device(name: str, options: EngineOptions) -> str:
    """Return the device to compile for: the first wish that is there."""
    wanted, there = options.providers or (CPU,), _core().available_devices
    missing = [device for device in wanted if device.partition(".")[0] not in {known.partition(".")[0] for known in there}]
    if missing and not options.allow_fallback:
        raise SilentFallback(
            f"{name}: asked for {', '.join(missing)}, which OpenVINO does not find here; it finds {', '.join(there)}: ask for one of "
            "these (engine.providers), install the driver, or allow the fallback"
        )
    return next((device for device in wanted if device not in missing), CPU)


def _settings(device: str, options: EngineOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[options.precision]}
    if device == CPU:
        # Not pinned: the same cores decode pictures.
        settings |= {"NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        settings |= {"INFERENCE_NUM_THREADS": options.threads} if options.threads else {}
    return settings


def _said(error: Exception) -> str:
    """Return the line of an OpenVINO error that says something."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(_PREAMBLE)), (lines or [type(error).__name__])[0])
