"""ONNX Runtime: the CPU everywhere, CUDA or TensorRT through its execution providers where they are.

Owns how sessions are configured and what is really in use. ORT drops a provider it cannot load without an error: what
it says after creation counts, and a silent fallback is an error unless allowed.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from engines.engine import Arrays, BackendLost, EngineError, EngineInfo, EngineOptions, SilentFallback
from engines.manifest import Graph
from engines.shapes import Shapes

CPU = "CPUExecutionProvider"
PREFERRED = ("CUDAExecutionProvider", CPU)
"""Without a wish: CUDA where it works, else the CPU. TensorRT's provider builds engines for minutes: only on request."""
_FATAL = 4
_LOST = ("CUDA failure", "CUBLAS failure", "CUDNN failure", "device-side", "illegal memory access")
_LOST_TYPES = ("DeviceReset",)
# ORT's own exceptions share no base but Exception; its bindings add Python's.
_FAULTS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


class OnnxEngine:
    """One graph in one ORT session. Outputs are ordinary arrays of the caller's own."""

    def __init__(self, data: bytes, name: str, graph: Graph, options: EngineOptions) -> None:
        self._name = name
        self._shapes = Shapes.of(name, graph)
        self._outputs = list(self._shapes.outputs)
        if options.precision != "fp32":
            raise EngineError(
                f"{name}: onnx runs a graph in the precision it was exported in; for {options.precision} take --backend openvino"
            )
        wanted = _wanted(name, options)
        session = self._open(data, wanted, options)
        used = session.get_providers()
        if not options.allow_fallback and options.providers is not None and (dropped := [p for p in options.providers if p not in used]):
            raise SilentFallback(
                f"{name}: asked for {', '.join(dropped)}, ONNX Runtime uses {', '.join(used)}; install what it needs, ask for {used[0]}, "
                "or allow the fallback"
            )
        self._session: ort.InferenceSession | None = session
        self.info = EngineInfo(f"onnx:{used[0]}", ort.__version__, options.threads)

    def _open(self, data: bytes, providers: list[str], options: EngineOptions) -> ort.InferenceSession:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.use_deterministic_compute = True
        settings.log_severity_level = _FATAL
        # Threads that spin between runs would take the CPU that decoding needs.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Read as what it was verified as: ORT's own format has rules for files elsewhere that nobody checked.
        settings.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            session = ort.InferenceSession(data, settings, providers=providers)
        except _FAULTS as error:
            raise EngineError(
                f"{self._name}: ONNX Runtime {ort.__version__} refuses the graph: {_first_line(error)}; export it again"
            ) from error
        session.disable_fallback()
        return session

    def run(self, inputs: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            EngineError: the engine is closed, the inputs do not fit, or the run failed.
            BackendLost: the device has gone.
        """
        if self._session is None:
            raise EngineError(f"{self._name}: the engine is closed; open the graph again")
        rows = self._shapes.rows(inputs)
        try:
            found: list[NDArray[np.generic]] = self._session.run(self._outputs, dict(inputs))
        except _FAULTS as error:
            lost = type(error).__name__ in _LOST_TYPES or any(sign in str(error) for sign in _LOST)
            raise (BackendLost if lost else EngineError)(f"{self._name}: the run failed: {_first_line(error)}") from error
        outputs = dict(zip(self._outputs, found, strict=True))
        self._shapes.check(outputs, rows)
        return outputs

    def close(self) -> None:
        """Release the session. May be called again."""
        self._session = None


def offers() -> str:
    """Name the execution providers this build of ONNX Runtime has, whether or not they work here."""
    return f"providers {', '.join(ort.get_available_providers())}"


def open_graph(data: bytes, name: str, graph: Graph, options: EngineOptions) -> OnnxEngine:
    """Open a graph from its verified bytes; `name` is for errors.

    Raises:
        SilentFallback: a provider that was asked for is not there or not used, and falling back was not allowed.
        EngineError: ONNX Runtime refuses the graph.
    """
    return OnnxEngine(data, name, graph, options)


def _wanted(name: str, options: EngineOptions) -> list[str]:
    available = ort.get_available_providers()
    if options.providers is None:
        return [provider for provider in PREFERRED if provider in available]
    missing = [provider for provider in options.providers if provider not in available]
    if missing and not options.allow_fallback:
        raise SilentFallback(
            f"{name}: asked for {', '.join(missing)}, which this ONNX Runtime does not have; it has {', '.join(available)}: "
            "ask for one of these, install a build that has it, or allow the fallback"
        )
    wanted = [provider for provider in options.providers if provider in available]
    return wanted if CPU in wanted else [*wanted, CPU]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
