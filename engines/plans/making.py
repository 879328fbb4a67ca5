"""A plan for a graph on this machine: from the cache if it may be used, else built in a child process and kept.

Owns the order of these steps and the child's life. Does not own the files (`cache.py`), the decision (`passport.py`) or the compiler
(`build.py`).
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from engines.engine import EngineError
from engines.manifest import Graph
from engines.onnx_file import read_facts
from engines.plans import child
from engines.plans.cache import PlanCache
from engines.plans.child import Ended, Job
from engines.plans.passport import Identity, Precision
from engines.plans.sdk import PACKAGES

Told = Callable[[str], None]
"""Told what goes on, in words for a person, every second at least; what it raises ends the build."""
BUILD_S = 3600.0
"""After so long a build is given up: the slowest seen on a Jetson took a quarter of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A plan's bytes and what is to be said of it: found, or built and why."""

    data: bytes
    note: str


def precision_of(data: bytes) -> Precision:
    """Say what a graph's own numbers are: eight bits if any are, else half if any are, else float32."""
    types = read_facts(data).types
    if "int8" in types:
        return "int8"
    return "fp16" if "float16" in types else "fp32"


def identity(data: bytes, *, sdk: str, version: str, capability: str, device: str, platform: str, largest: int, best: int = 1) -> Identity:
    """Say what a plan of these verified bytes is for, on this device."""
    return Identity.model_validate({
        "onnx_sha256": hashlib.sha256(data).hexdigest(), "sdk": sdk, "sdk_version": version, "capability": capability, "device": device,
        "platform": platform, "precision": precision_of(data), "least": 1, "best": best, "most": largest,
    })  # fmt: skip


def plan_for(
    cache: PlanCache, wanted: Identity, data: bytes, name: str, graph: Graph, told: Told, packages: tuple[str, ...] = PACKAGES,
    capabilities: tuple[str, ...] = (), timeout_s: float = BUILD_S,
) -> Plan:  # fmt: skip
    """Return the plan of an identity, built if the cache has none that may be used.

    Raises:
        EngineError: it cannot be built or kept, or took longer than `timeout_s`.
    """
    found = cache.find(wanted)
    if found.plan is not None:
        return Plan(found.plan, f"{name}: TensorRT plan found, {found.reason}")
    told(f"{name}: building a TensorRT plan ({found.reason})")
    began = monotonic()
    with cache.scratch(wanted, "onnx") as onnx, cache.scratch(wanted, "out") as out, cache.scratch(wanted, "timings") as timings:
        _private(onnx, data)
        _private(timings, cache.timings(wanted))
        job = Job(
            name=name, onnx=onnx, graph=graph, least=wanted.least, best=wanted.best, most=wanted.most, out=out, timings=timings,
            packages=packages, capabilities=capabilities,
        )  # fmt: skip
        _child(job, told, timeout_s)
        plan = out.read_bytes()
        spent = monotonic() - began
        cache.keep(wanted, plan, spent)
        if kept := timings.read_bytes():
            cache.keep_timings(wanted, kept)
    return Plan(plan, f"{name}: TensorRT plan built in {spent:.0f} s ({found.reason})")


def _child(job: Job, told: Told, timeout_s: float) -> None:
    """Run the job in a child; whatever becomes of it, it is gone when this returns."""
    # The same interpreter and path as here, in a session of its own: a build must end with the service, but not by its Ctrl-C.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    process = subprocess.Popen(
        [sys.executable, "-m", child.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    late = threading.Timer(timeout_s, process.kill)
    noise = _Tail(process.stderr)
    late.start()
    end: Ended | None = None
    try:
        try:
            # It stays open: the child ends with this process, by the end of it.
            process.stdin.write(job.model_dump_json() + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already, and how is said below
        for line in process.stdout:
            said = child.ended(line)
            if isinstance(said, Ended):
                end = said
            elif said is not None:
                told(f"{job.name}: building a TensorRT plan, {said.share:.0%} ({said.phase})")
        code = process.wait()
        gave_up = late.finished.is_set()
    finally:
        late.cancel()
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        noise.close()
    if end is not None and end.error is not None:
        raise EngineError(end.error)
    if end is None or code != 0:
        why = f"took longer than {timeout_s:g} s" if gave_up else _death(code)
        raise EngineError(f"{job.name}: the build {why}{noise.said}; give the machine more memory, or take --backend onnx")


def _death(code: int) -> str:
    if code < 0:
        return f"was ended by signal {signal.Signals(-code).name}"
    return f"ended with code {code} and without a word"


class _Tail:
    """The last line of a stream, read by a thread so that the writer never waits."""

    def __init__(self, stream: object) -> None:
        self._stream = stream
        self._last = ""
        self._thread = threading.Thread(target=self._read, name="build-stderr", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:  # type: ignore[attr-defined]
            self._last = line.strip() or self._last

    def close(self) -> None:
        """Wait for the stream's end and close it."""
        self._thread.join(5)
        self._stream.close()  # type: ignore[attr-defined]

    @property
    def said(self) -> str:
        """Return the last line, as the end of a sentence."""
        return f": {self._last[:300]}" if self._last else ""


def _private(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
