"""Checking a model folder: everything its manifest claims that can be measured again.

Owns the list of checks. Does not own the run-time rules (`engines/folder.py`) or the measurements.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engines import itq, wiring
from engines.engine import EngineError
from engines.folder import Folder, open_folder
from engines.itq import FitRefused
from engines.manifest import Expression, Manifest
from engines.proof import Parity
from engines.samples import SamplesRefused
from engines.terms import Part
from exporters import architecture, onnx_graph, parity, precision, quantized_rules, sources
from exporters.checkpoint import CheckpointError
from exporters.comparison import compare
from exporters.foreign import adopted
from exporters.invariance import is_invariant
from exporters.key_map import KeyMapError
from exporters.onnx_graph import GraphRefused
from exporters.parity import ParityFailed
from exporters.precision import PrecisionRefused

_REFUSALS = (
    GraphRefused, ParityFailed, FitRefused, CheckpointError, KeyMapError, PrecisionRefused, SamplesRefused,
    architecture.UnknownArchitecture, architecture.OptionRefused,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: `passed` None where it could not be measured here; `detail` says what was found."""

    name: str
    passed: bool | None
    detail: str


class Wrong(Exception):
    """A claim does not hold; the text says what was found."""


class Unmeasured(Exception):
    """A claim cannot be measured here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a folder was made from, as far as there is: a checkpoint or ONNX file, a key map, a branch's checkpoint; of one in another
    precision, the fp32 folder and the samples that it was measured on."""

    weights: Path | None = None
    key_map: Path | None = None
    branch: Path | None = None
    fp32: Path | None = None
    samples: Path | None = None


def verify(directory: Path, given: Given | None = None) -> tuple[Check, ...]:
    """Check a folder: files and hashes, graph rules, batch invariance, cost, keyframe file, parity as recorded and measured again.

    `given`: the files it was made from; without a checkpoint, one of the committed ones if it is among them.
    """
    try:
        folder = open_folder(directory)
    except EngineError as error:
        return (Check("files", False, str(error)),)
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("graphs", lambda: _graphs(folder)),
        ("batch", lambda: _batch(folder)),
        ("cost", lambda: _cost(folder)),
        ("keyframes", lambda: _keyframes(folder)),
        ("parity, recorded", lambda: _recorded(folder)),
        ("parity, measured", lambda: _measured(folder, given or Given())),
    )
    return (Check("files", True, f"{len(folder.manifest.files)} files as listed"), *(_run(name, check) for name, check in checks))


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except Unmeasured as found:
        return Check(name, None, str(found))
    except (Wrong, *_REFUSALS) as found:
        return Check(name, False, str(found))


def _files(folder: Folder) -> Mapping[Part, bytes]:
    return {part: folder.read(graph.file) for part, graph in folder.manifest.graphs.items()}


def _graphs(folder: Folder) -> str:
    for part, data in _files(folder).items():
        model = onnx_graph.parsed(data)
        onnx_graph.check(model)
        if folder.manifest.precision == "int8" and folder.manifest.reduced is not None and part not in folder.manifest.reduced.kept:
            quantized_rules.check(model)
        found, said = onnx_graph.graph_entry(model, folder.manifest.graphs[part].file), folder.manifest.graphs[part]
        if found != said:
            raise Wrong(f"{said.file} has {found}, the manifest says {said}")
    return f"opset {onnx_graph.OPSET}, dynamic batch, no external data: {', '.join(sorted(folder.manifest.graphs))}"


def _batch(folder: Folder) -> str:
    files, graphs, largest = _files(folder), folder.manifest.graphs, folder.manifest.batch.max
    found = all(is_invariant(files[part], graphs[part], largest) for part in wiring.run_parts(graphs))
    if folder.manifest.batch.invariant and not found:
        raise Wrong("the manifest says that rows do not depend on each other, here they do")
    return "a row's bytes do not depend on the batch" if found else "a row's bytes depend on the batch; the manifest says so"


def _cost(folder: Folder) -> str:
    cost = {part: onnx_graph.gmac(onnx_graph.parsed(data)) for part, data in _files(folder).items()}
    per_frame = cost.get("frame", 0.0) if isinstance(folder.manifest, Expression) else cost["full"]
    per_window = 0.0 if not isinstance(folder.manifest, Expression) else cost.get("window", 0.0) if "frame" in cost else cost["full"]
    said = folder.manifest.cost
    if abs(per_frame - said.gmac_per_frame) > 1e-9 or abs(per_window - said.gmac_per_window) > 1e-9:
        raise Wrong(f"the graphs cost {cost} GMAC, the manifest says {said.gmac_per_frame} per frame and {said.gmac_per_window} per window")
    return f"{per_frame:.4f} GMAC per frame, {per_window:.4f} per window"


def _keyframes(folder: Folder) -> str:
    manifest = folder.manifest
    if not isinstance(manifest, Expression) or manifest.keyframes.selector != "itq":
        return "none to fit"
    if manifest.keyframes.fit is not None:
        return "itq is fitted on each clip by itself"
    if manifest.keyframes.file is None:
        raise Unmeasured("itq is wanted and not fitted; the service runs uniform until mien-export itq is run")
    fitted = itq.feature_model(folder.read(manifest.keyframes.file))
    if manifest.keyframes.model is not None:
        # That model's folder is pinned by requires; the service compares its graph when it loads both.
        return f"{manifest.keyframes.file} was fitted on a graph of sha256 {fitted[:12]}…, to be of {manifest.keyframes.model}"
    graph = manifest.graphs["frame"]
    if fitted != manifest.files[graph.file]:
        raise Wrong(f"{manifest.keyframes.file} was fitted on another graph than {graph.file}; run mien-export itq again")
    return f"{manifest.keyframes.file} was fitted on {graph.file}"


def _recorded(folder: Folder) -> str:
    if folder.manifest.reduced is not None:
        precision.require(folder.manifest)
        return precision.figures(folder.manifest)
    if not folder.manifest.parity:
        raise Wrong("the manifest records none; export the model again")
    parity.require(folder.manifest.parity)
    return "; ".join(f"{p.tensor} ≤ {p.max_abs_error:.1e} (spread {p.spread:.2g})" for p in folder.manifest.parity)


def _measured(folder: Folder, given: Given) -> str:
    if folder.manifest.reduced is not None:
        if given.fp32 is None:
            raise Unmeasured("needs the folder that it was made from: --fp32 DIR, and --samples W.npz for the windows")
        if folder.manifest.precision == "int8" and given.samples is None:
            raise Unmeasured("needs the windows that it is calibrated for, --samples W.npz: drawn clips say nothing of int8")
        return f"against {given.fp32}: {precision.figures(precision.again(folder, given.fp32, given.samples))}"
    found = _adopted(folder, given) if folder.manifest.options.get("made_from") == "onnx" else _network(folder, given)
    return "; ".join(f"{p.tensor} ≤ {p.max_abs_error:.1e} (spread {p.spread:.2g})" for p in found)


def _adopted(folder: Folder, given: Given) -> tuple[Parity, ...]:
    if given.weights is None:
        raise Unmeasured(f"needs the file it was made from, {folder.manifest.weights.source}: --checkpoint FILE")
    return adopted.again(folder, given.weights.read_bytes())


def _network(folder: Folder, given: Given) -> tuple[Parity, ...]:
    manifest, name = folder.manifest, folder.manifest.options.get("architecture")
    if not isinstance(name, str):
        raise Unmeasured("built from a foreign package, not by an architecture of ours; mien-export shipped compares it while making it")
    labels = manifest.labels if isinstance(manifest, Expression) else ()
    blueprint = architecture.again(name, manifest.weights.seed or 0, manifest.options, labels)
    branch = _branch(manifest, given)
    if manifest.weights.kind == "random":
        sources.load(blueprint, None, None, branch)
    else:
        if sources.MAP_OPTION in manifest.options and given.key_map is None:
            raise Unmeasured("its checkpoint's keys were renamed: --checkpoint FILE --key-map FILE")
        sources.load(blueprint, given.weights or _committed(manifest.weights.sha256, "--checkpoint"), given.key_map, branch)
    return compare(blueprint, _files(folder))


def _branch(manifest: Manifest, given: Given) -> Path | None:
    wanted = manifest.options.get(sources.BRANCH_OPTION)
    return given.branch if wanted is None or given.branch is not None else _committed(str(wanted), "--branch-checkpoint")


def _committed(sha256: str | None, option: str) -> Path:
    """Find a file among the committed checkpoints."""
    for path in sorted(Path(str(importlib.resources.files("exporters") / "checkpoints")).glob("*.safetensors")):
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    raise Unmeasured(f"needs the checkpoint: {option} FILE")
