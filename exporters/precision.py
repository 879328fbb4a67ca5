"""A model folder in another precision: made, measured against fp32, and refused where it is not worth having.

Owns which graphs are reduced, what they are measured on, and the limits. Does not own the making of half and eight-bit graphs (`half.py`,
`quantize.py`) or the measurements (`agreement.py`).

What the service runs is reduced: the frame and window graphs where there are both, else the full one. A frame graph whose output chooses
keyframes stays fp32, as do models of kind features: a rounded feature chooses other frames, and fitted codes are of one graph's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from engines.engine import BackendMissing, Engine, EngineOptions
from engines.folder import Folder, open_folder
from engines.manifest import Expression, Manifest
from engines.open import names, open_engine
from engines.proof import Reduced
from engines.results import Run, results
from engines.samples import Rows, windows
from engines.terms import Part
from engines.wiring import run_parts
from exporters import agreement, model_folder, onnx_graph, rounded
from exporters.agreement import Agreement
from exporters.invariance import is_invariant, run
from exporters.reduced import Precision, drawn, reduced_graphs, sessions

AGREEMENT: Mapping[Precision, float] = {"fp16": 0.99, "int8": 0.97}
"""Share of results that must agree with fp32."""
FEWEST = 32
"""Fewer windows than this show nothing about such shares."""
DRAWN = 36
SERVER = "triton"
"""The backend that is no target: what runs there is the server's choice, and it serves one graph of a name."""
SLOWER = 0.95
"""Speed below which another precision counts as slower than fp32: the same graph measured twice differs by a few per cent."""
Step = Callable[[str], None]
Clock = Callable[[], float]


class PrecisionRefused(ValueError):
    """Another precision cannot be made of this model, or is not worth having; the text has the figures."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. `samples`: the file of `mien windows --inputs`; `target`: the backend that it is for; `uniform`: choose keyframes
    evenly from now on, so that no graph has to stay fp32 for their sake."""

    precision: Precision
    target: str = "onnx"
    samples: Path | None = None
    uniform: bool = False


def write(
    directory: Path, source: Path, wish: Wish, identity: str | None = None, step: Step = lambda _: None, clock: Clock = perf_counter
) -> Manifest:
    """Write the model folder `directory`: that of `source` in another precision, with its figures; `clock`: seconds, for its speed.

    Raises:
        PrecisionRefused: this model has no other precision, or the result is out of tolerance or slower than fp32.
        exporters.onnx_graph.GraphRefused: a graph cannot be made.
        engines.samples.SamplesRefused: the samples are not this model's.
        engines.engine.EngineError: the folder cannot be opened.
    """
    check(wish)
    folder = open_folder(source)
    manifest, kept = _reducible(folder, wish)
    rows, digest = _windows(manifest, wish)
    step(f"{wish.precision}: making graphs")
    graphs = reduced_graphs(folder, manifest, kept, wish.precision, rows, step)
    kept = tuple(part for part, data in graphs.items() if data == folder.graph_bytes(part))
    fields, files = _fields(folder, manifest, graphs, wish, identity or directory.resolve().name)
    step("batch invariance: whether a row depends on the rows beside it")
    largest = manifest.batch.max
    invariant = all(is_invariant(data, manifest.graphs[part], largest) for part, data in graphs.items())
    fields["batch"] = {"max": largest, "invariant": invariant}
    found = _measured(folder, manifest, graphs, wish, rows, step, clock)
    fields["reduced"] = Reduced(
        of=folder.sha256, kept=kept, windows=found.agreement.windows, samples=digest, agreement=found.agreement.share,
        max_abs_error=found.agreement.errors, size=sum(map(len, graphs.values())),
        fp32_size=sum(len(folder.graph_bytes(part)) for part in graphs), target=wish.target, runtime=found.runtime, speed=found.speed,
    ).model_dump(mode="json", exclude_none=True)  # fmt: skip
    made = model_folder.manifest(fields, files)
    require(made)
    step("writing the folder")
    files[made.card] = _card(files[made.card], made)
    return model_folder.write(directory, fields, files)


def check(wish: Wish) -> None:
    """Refuse a wish that no model fulfils, before minutes are spent on one.

    Raises:
        PrecisionRefused: there is no such target, or int8 is asked for without samples.
    """
    if wish.target not in (there := [name for name in names() if name != SERVER]):
        why = "a server runs what it was given" if wish.target == SERVER else f"no engine backend {wish.target!r}"
        raise PrecisionRefused(f"--target {wish.target}: {why}; the runtimes that a folder can be made for: {', '.join(there)}")
    if wish.precision == "int8" and wish.samples is None:
        raise PrecisionRefused(
            "int8 is calibrated on pictures like yours: mien windows CLIPS --inputs -m MODEL -o W.npz, then --samples W.npz"
        )


def require(manifest: Manifest) -> None:
    """Refuse a reduced model that is out of tolerance, or slower than fp32 where it is meant to run.

    Raises:
        PrecisionRefused: with the figures.
    """
    found = manifest.reduced
    if found is None or manifest.precision == "fp32":
        return
    limit, faults = AGREEMENT[manifest.precision], []
    if found.agreement < limit:
        faults.append(f"{found.agreement:.1%} of {found.windows} results agree with fp32, at least {limit:.0%} must")
    if found.speed is not None and found.speed < SLOWER:
        faults.append(
            f"a result takes {1 / found.speed:.3f} × fp32's time on {found.runtime}; take fp32 there, or --target another runtime"
        )
    if faults:
        raise PrecisionRefused(f"{manifest.id} in {manifest.precision} is refused: {'; '.join(faults)} ({figures(manifest)})")


def again(folder: Folder, source: Path, samples: Path | None) -> Manifest:
    """Measure a reduced folder's graphs against the fp32 folder it was made from; return its manifest with the figures found now.

    Raises:
        PrecisionRefused: it was made from another one, or is out of tolerance.
    """
    full, manifest = open_folder(source), folder.manifest
    found, whole = manifest.reduced, full.manifest
    if found is None or manifest.precision == "fp32" or not isinstance(whole, Expression):
        raise PrecisionRefused(f"{folder.path} is in {manifest.precision}; there is nothing to hold it against")
    if found.of != full.sha256:
        raise PrecisionRefused(f"{folder.path} was made from a manifest of sha256 {found.of[:12]}…, {source} has {full.sha256[:12]}…")
    wish = Wish(manifest.precision, found.target, samples)
    graphs = {part: folder.graph_bytes(part) for part in run_parts(manifest.graphs)}
    rows, digest = _windows(whole, wish)
    measured = _measured(full, whole, graphs, wish, rows, lambda _: None, perf_counter)
    of = measured.agreement
    update = {
        "agreement": of.share, "windows": of.windows, "max_abs_error": of.errors, "samples": digest, "speed": measured.speed,
        "runtime": measured.runtime,
    }  # fmt: skip
    now = manifest.model_copy(update={"reduced": found.model_copy(update=update)})
    require(now)
    return now


def figures(manifest: Manifest) -> str:
    """Write a reduced model's figures as a line."""
    found = manifest.reduced
    assert found is not None
    errors = ", ".join(f"{name} {value:.2g}" for name, value in found.max_abs_error.items())
    speed = "not measured" if found.speed is None else f"{found.speed:.2f} × fp32 on {found.runtime}"
    kept = f"; {', '.join(found.kept)} stayed fp32" if found.kept else ""
    on = "samples" if found.samples else "drawn clips"
    return (
        f"agreement {found.agreement:.1%} of {found.windows} windows of {on}; largest error {errors}; "
        f"{found.size / 1e6:.2f} MB of {found.fp32_size / 1e6:.2f}; speed {speed}{kept}"
    )


def _reducible(folder: Folder, wish: Wish) -> tuple[Expression, tuple[Part, ...]]:
    manifest = folder.manifest
    if manifest.kind == "features":
        raise PrecisionRefused(f"{manifest.id} gives features, which choose keyframes: such graphs stay fp32")
    if not isinstance(manifest, Expression):
        raise PrecisionRefused(f"{manifest.id} is of kind {manifest.kind}; only expression models have other precisions")
    if manifest.precision != "fp32":
        raise PrecisionRefused(f"{folder.path} is in {manifest.precision} already; give the fp32 folder that it was made from")
    keyframes = manifest.keyframes
    chooses = keyframes.selector in ("itq", "kmeans") and keyframes.model is None and not wish.uniform
    kept: tuple[Part, ...] = ("frame",) if chooses and "frame" in manifest.graphs else ()
    if set(kept) == set(run_parts(manifest.graphs)):
        raise PrecisionRefused(
            f"{manifest.id}: its one graph gives the features that choose keyframes ({keyframes.selector}), and those stay fp32; "
            "with --uniform-keyframes the model chooses them evenly, and the graph is free"
        )
    return manifest, kept


def _windows(manifest: Expression, wish: Wish) -> tuple[Rows, str | None]:
    if wish.samples is not None:
        rows = windows(wish.samples, manifest, hop=1)
        count = len(next(iter(rows.values())))
        if count < FEWEST:
            raise PrecisionRefused(f"{wish.samples}: has {count} windows; at least {FEWEST} are needed to say what share of them agrees")
        return rows, model_folder.sha256(wish.samples.read_bytes())
    return drawn(manifest, DRAWN), None


def _fields(
    folder: Folder, manifest: Expression, graphs: Mapping[Part, bytes], wish: Wish, identity: str
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the new manifest's fields, still without its figures, and the files."""
    fields = model_folder.fields_of(manifest)
    entries = {part: manifest.graphs[part] for part in graphs}
    dropped = {graph.file for graph in manifest.graphs.values()}
    if wish.uniform:
        fields["keyframes"] = {"selector": "uniform"}
        dropped |= {name for name in (manifest.keyframes.file,) if name is not None}
    files = {name: data for name, data in folder.files.items() if name not in dropped}
    files |= {entries[part].file: data for part, data in graphs.items()}
    same = [part for part, data in graphs.items() if data == folder.graph_bytes(part)]
    fields |= {
        "id": identity,
        "precision": wish.precision,
        "graphs": {part: entry.model_dump(mode="json") for part, entry in entries.items()},
        "parity": [one.model_dump(mode="json") for one in manifest.parity if one.tensor.partition("/")[0] in same],
    }
    return fields, files


@dataclass(frozen=True, slots=True)
class _Found:
    agreement: Agreement
    runtime: str | None
    speed: float | None


def _measured(
    folder: Folder, manifest: Expression, graphs: Mapping[Part, bytes], wish: Wish, rows: Rows, step: Step, clock: Clock
) -> _Found:
    full = sessions({part: folder.graph_bytes(part) for part in graphs})
    step(f"{wish.precision}: comparing with fp32")
    wanted = results(full, manifest, rows)
    tried = sessions(graphs)
    if wish.precision == "fp16":
        tried = {part: rounding(data) if data != folder.graph_bytes(part) else tried[part] for part, data in graphs.items()}
    found = [agreement.compare(results(tried, manifest, rows), wanted, manifest)]
    runtime, speed = None, None
    with ExitStack() as stack:
        try:
            engines = [_opened(stack, folder, files, wish.target) for files in (graphs, None)]
        except BackendMissing as error:
            step(f"{wish.target} cannot be had here, so its speed is not measured: {error}")
        else:
            step(f"{wish.precision}: {wish.target} beside fp32")
            reduced, plain = ({part: engine.run for part, engine in opened.items()} for opened in engines)
            found.append(agreement.compare(results(reduced, manifest, rows), wanted, manifest))
            speed = agreement.speed(reduced, plain, manifest, rows, clock)
            runtime = " ".join({f"{engine.info.backend} {engine.info.version}" for engine in engines[0].values()})
    errors = {name: max(one.errors[name] for one in found) for name in wanted}
    return _Found(Agreement(found[0].windows, min(one.share for one in found), errors), runtime, speed)


def rounding(data: bytes) -> Run:
    """Open a half graph so that it rounds as half does."""

    session = rounded.open_rounding(onnx_graph.parsed(data))
    return lambda inputs: run(session, inputs)


def _opened(stack: ExitStack, folder: Folder, graphs: Mapping[Part, bytes] | None, target: str) -> dict[Part, Engine]:
    if graphs is not None:
        changed = {folder.manifest.graphs[part].file: data for part, data in graphs.items()}
        folder = replace(folder, files={**folder.files, **changed})
    engines: dict[Part, Engine] = {}
    for part in run_parts(folder.manifest.graphs):
        engines[part] = stack.enter_context(closing(open_engine(folder, part, EngineOptions(backend=target, threads=1))))
    return engines


def _card(card: bytes, made: Manifest) -> bytes:
    return card.rstrip() + f"\n\n## Precision\n\n{made.precision}, against the fp32 graphs: {figures(made)}.\n".encode()
