"""A model's graphs opened together on one runtime: the one asked for, or (`auto`) the first of an order that really opens them.

Owns that order and the words for why. Does not own the opening of a graph (`open.py`) or any runtime (`backends/`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from engines.engine import BackendMissing, Engine, EngineError, EngineOptions
from engines.folder import Folder
from engines.open import names, open_engine
from engines.terms import Part

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A runtime `auto` may take. `providers`: ONNX Runtime's, which must then really be in use."""

    backend: str
    providers: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return ":".join((self.backend, *(self.providers or ())))


ORDER = (
    Candidate("tensorrt"),
    Candidate("onnx", ("CUDAExecutionProvider",)),
    Candidate("onnx", ("CPUExecutionProvider",)),
    Candidate("openvino"),
)
"""Quickest first, as `python -m benchmarks.runtimes` found them: on the CPU OpenVINO is behind in fp32 and ahead in bf16, which onnx
refuses. Triton is not among them: somebody has to say where its server is."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model's engines by part, all on one runtime. `why`: what `auto` took and what it passed over; None where nothing was chosen."""

    engines: Mapping[Part, Engine]
    why: str | None = None


def open_model(
    folder: Folder, parts: Sequence[Part], options: EngineOptions, order: Sequence[Candidate] = ORDER, exact: Collection[Part] = ()
) -> Opened:
    """Open some graphs of a verified folder on one runtime; those in `exact` in fp32, whatever the precision of the rest.

    Raises:
        BackendMissing: the backend asked for is not there.
        EngineError: it refuses a graph; or, with `auto`, every candidate does, each with its reason.
    """
    if options.backend not in (AUTO, *names()):
        raise BackendMissing(f"no engine backend {options.backend!r}; there are: {', '.join((AUTO, *names()))}")
    if options.backend != AUTO:
        return Opened(_all(folder, parts, options, exact))
    if options.providers is not None:
        raise EngineError("backend auto chooses providers itself; leave them out, or ask for backend onnx with them")
    passed: list[str] = []
    for candidate in order:
        wish = replace(options, backend=candidate.backend, providers=candidate.providers, allow_fallback=False)
        try:
            engines = _all(folder, parts, wish, exact)
        except EngineError as error:
            passed.append(f"{candidate}: {error}")
            continue
        taken = next(iter(engines.values())).info.backend
        return Opened(engines, f"backend auto took {taken}" + (f"; passed over {' | '.join(passed)}" if passed else ""))
    raise EngineError(f"{folder.manifest.id}: no runtime takes it: {' | '.join(passed)}")


def _all(folder: Folder, parts: Sequence[Part], options: EngineOptions, exact: Collection[Part]) -> dict[Part, Engine]:
    opened: dict[Part, Engine] = {}
    try:
        for part in parts:
            opened[part] = open_engine(folder, part, replace(options, precision="fp32") if part in exact else options)
    except BaseException:
        for engine in opened.values():
            engine.close()
        raise
    return opened
