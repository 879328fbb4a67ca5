"""An ONNX graph to a TensorRT plan, by TensorRT 10, 11 or TensorRT for RTX.

Owns the builder's settings. Does not own where plans are kept (`cache.py`) or the process it runs in (`child.py`).

Networks are strongly typed: types are those of the ONNX file, so one graph per precision serves every release, and none of the flags is
used (FP16, INT8, OBEY_PRECISION_CONSTRAINTS, EXPLICIT_BATCH) that TensorRT 11 no longer has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engines.engine import EngineError
from engines.manifest import Graph
from engines.plans.sdk import Sdk, quiet_logger

Told = Callable[[str, float], None]
"""Told the phase that goes on and the share of the build that is done, 0 to 1."""
WORKSPACE = 1 << 30


@dataclass(frozen=True, slots=True)
class Profile:
    """Batch sizes a plan is for: the smallest, the one it is tuned for, the largest."""

    least: int
    best: int
    most: int

    @classmethod
    def of(cls, largest: int) -> Profile:
        """Return the profile for batches up to `largest`, tuned for one row: a label must not wait for others."""
        return cls(1, 1, largest)

    def __str__(self) -> str:
        return f"b{self.least}-{self.best}-{self.most}"


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A plan's bytes, and the timings that the next build may use (empty: the package keeps none)."""

    plan: bytes
    timings: bytes = b""


def build(
    sdk: Sdk, data: bytes, name: str, graph: Graph, profile: Profile, told: Told, timings: bytes = b"", capabilities: Sequence[str] = ()
) -> Built:
    """Build a plan of a verified graph for this machine's device, or (RTX) for `capabilities` such as `SM89`; `name` is for errors.

    Raises:
        EngineError: TensorRT does not take the graph; with its own words and the node.
    """
    trt, complaints = sdk.module, list[str]()
    logger = quiet_logger(sdk, complaints)
    builder = trt.Builder(logger)
    network = builder.create_network(_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(data):
        raise EngineError(f"{name}: {sdk.name} {sdk.version} does not parse the graph: {_first(parser, complaints)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.add_optimization_profile(_profile(builder, graph, profile))
    config.progress_monitor = monitor = _monitor(trt, told)
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for place, capability in enumerate(capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, capability), place)
    kept = config.create_timing_cache(timings) if sdk.name == "tensorrt" else None
    if kept is not None:
        config.set_timing_cache(kept, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    del monitor
    if plan is None:
        raise EngineError(
            f"{name}: {sdk.name} {sdk.version} does not build the graph: {'; '.join(complaints[:2]) or 'it does not say why'}"
        )
    return Built(bytes(plan), b"" if kept is None else bytes(config.get_timing_cache().serialize()))


def _flags(trt: Any) -> int:
    """Return the creation flags: strongly typed, where networks could still be otherwise."""
    strongly = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if strongly is None else 1 << int(strongly)


def _profile(builder: Any, graph: Graph, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for tensor in graph.inputs:
        made.set_shape(tensor.name, *((rows, *tensor.shape) for rows in (profile.least, profile.best, profile.most)))
    return made


def _first(parser: Any, complaints: Sequence[str]) -> str:
    if parser.num_errors:
        error = parser.get_error(0)
        return f"node {error.node()}: {' '.join(str(error.desc()).split())[:400]}"
    return complaints[0] if complaints else "it does not say why"


def _monitor(trt: Any, told: Told) -> Any:
    """Make a monitor that turns phases within phases into one share: of the outermost phase, and within it of those below."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = Phases()
            # TensorRT calls from threads of its own.
            self.lock = threading.Lock()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            with self.lock:
                self.phases.start(phase, parent, steps)
                told(phase, self.phases.share())

        def step_complete(self, phase: str, step: int) -> bool:
            with self.lock:
                self.phases.step(phase, step)
                told(phase, self.phases.share())
            return True

        def phase_finish(self, phase: str) -> None:
            with self.lock:
                self.phases.finish(phase)

    return Monitor()


class Phases:
    """Phases of a build, some within others: which share of the whole is done. The share never falls."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[str | None, int, int]] = {}
        self._share = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """Begin a phase of so many steps, within another or on its own."""
        self._steps[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> None:
        """Count the step of that number (from 0) as done."""
        if phase in self._steps:
            parent, steps, _ = self._steps[phase]
            self._steps[phase] = (parent, steps, min(step + 1, steps))

    def finish(self, phase: str) -> None:
        """End a phase."""
        self._steps.pop(phase, None)

    def share(self) -> float:
        """Return the share that is done, 0 to 1."""
        found = 0.0
        for phase, (parent, _, _) in self._steps.items():
            if parent not in self._steps:
                found = max(found, self._within(phase))
        self._share = max(self._share, min(found, 1.0))
        return self._share

    def _within(self, phase: str) -> float:
        _, steps, done = self._steps[phase]
        below = [self._within(name) for name, (parent, _, _) in self._steps.items() if parent == phase and name != phase]
        return min(1.0, (done + max(below, default=0.0)) / steps)
