"""Ways to run a model, timed in turn and held against one of them.

Owns what one result costs (the `hop` samples that are new through the frame graph, then the window graph, as a session does it), the
turns, and the comparison of outputs. Does not own the engines or what is run on (`windows.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import wiring
from engines.choice import open_model
from engines.engine import Engine, EngineError, EngineOptions
from engines.folder import Folder
from engines.manifest import Expression
from engines.results import Runs, between, one_result, results
from engines.samples import Rows
from engines.terms import Part

WARM_UPS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One way: a model's folder, how it is opened, how many results are made at once. `rows`: what it is run on."""

    folder: Folder
    options: EngineOptions
    batch: int
    rows: Rows
    real: bool

    @property
    def manifest(self) -> Expression:
        """Return the model's manifest, which is of kind expression."""
        assert isinstance(self.folder.manifest, Expression)
        return self.folder.manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """How far outputs are from the reference's over `windows`: labels that agree, 0–1 (None: the model has none), and the largest
    difference of any probability, valence or arousal."""

    windows: int
    agreement: float | None
    largest: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A variant's figures: milliseconds per result, turn by turn; `ratio`: median over turns of the time of the first variant that
    answers the same question (labels, crops) over this one's; `difference`: from that one; `why`: it could not run, all else is empty;
    `note`: what else to know of how it ran."""

    model: str
    precision: str
    asked: str
    runtime: str
    threads: int
    batch: int
    turns_ms: tuple[float, ...] = ()
    ratio: float | None = None
    difference: Difference | None = None
    why: str | None = None
    note: str = ""

    @property
    def median_ms(self) -> float:
        """Milliseconds per result."""
        return median(self.turns_ms)

    @property
    def quartiles_ms(self) -> tuple[float, float]:
        """Return the first and third quartile of the turns."""
        if len(self.turns_ms) < 2:
            return self.turns_ms[0], self.turns_ms[0]
        first, _, third = quantiles(self.turns_ms, n=4, method="inclusive")
        return first, third


def bench(
    variants: Sequence[Variant], turns: int, watch: Callable[[str], None], clock: Callable[[], float] = perf_counter
) -> list[Measured]:
    """Open every variant, run all in turn, and compare each with the first that answers the same question.

    A variant that cannot be opened or run is reported with its reason; the others go on. `watch` is told what happens now.
    """
    with ExitStack() as stack:
        running: dict[int, dict[Part, Engine]] = {}
        failed: dict[int, str] = {}
        notes: dict[int, str] = {}
        for index, variant in enumerate(variants):
            watch(f"opening {_title(variant)}")
            try:
                opened = open_model(variant.folder, wiring.run_parts(variant.manifest.graphs), variant.options)
                for engine in opened.engines.values():
                    stack.enter_context(closing(engine))
                running[index], notes[index] = dict(opened.engines), _note(variant, opened.why)
            except EngineError as error:
                failed[index] = str(error)
        seconds = _in_turn(variants, running, failed, turns, watch, clock)
        differences = _compared(variants, running, failed, watch)
        infos = {index: next(iter(engines.values())).info for index, engines in running.items()}
    found = [_measured(variants, index, infos, seconds, differences, failed) for index in range(len(variants))]
    return [replace(one, note="" if one.why is not None else notes[index]) for index, one in enumerate(found)]


def _note(variant: Variant, why: str | None) -> str:
    """Say what `auto` took and why, and where a session would not run a graph like this."""
    exact = wiring.exact_parts(variant.manifest) if variant.options.precision != "fp32" else ()
    kept = f"a session runs the {', '.join(exact)} graph in fp32: its features choose keyframes" if exact else ""
    return "; ".join(part for part in (kept, why) if part)


def runs_of(engines: Mapping[Part, Engine]) -> Runs:
    """Return how a model's graphs are run."""
    return {part: engine.run for part, engine in engines.items()}


def _work(variant: Variant, engines: dict[Part, Engine]) -> Callable[[], object]:
    """Return what makes `batch` results once."""
    batch, manifest = variant.batch, variant.manifest
    count = len(next(iter(variant.rows.values())))
    picked = {name: values[np.arange(batch) % count] for name, values in variant.rows.items()}
    runs = runs_of(engines)
    return one_result(runs, manifest, picked, between(runs, manifest, picked) if "window" in runs else {})


def _in_turn(
    variants: Sequence[Variant], running: dict[int, dict[Part, Engine]], failed: dict[int, str], turns: int,
    watch: Callable[[str], None], clock: Callable[[], float],
) -> dict[int, list[float]]:  # fmt: skip
    works: dict[int, Callable[[], object]] = {}
    for index, engines in running.items():
        try:
            works[index] = _work(variants[index], engines)
        except EngineError as error:
            failed[index] = str(error)
    seconds: dict[int, list[float]] = {index: [] for index in works}
    for turn in range(WARM_UPS + turns):
        for index, work in list(works.items()):
            watch(f"turn {turn + 1} of {WARM_UPS + turns}: {_title(variants[index])}")
            began = clock()
            try:
                work()
            except EngineError as error:
                failed[index] = str(error)
                del works[index]
                continue
            if turn >= WARM_UPS:
                seconds[index].append((clock() - began) / variants[index].batch)
    return seconds


def _compared(
    variants: Sequence[Variant], running: dict[int, dict[Part, Engine]], failed: dict[int, str], watch: Callable[[str], None]
) -> dict[int, Difference]:
    """Compare where there are real windows: on noise a label says nothing."""
    found: dict[int, Difference] = {}
    known: dict[int, dict[str, NDArray[np.generic]]] = {}
    for index, engines in running.items():
        variant = variants[index]
        if not variant.real or index in failed:
            continue
        watch(f"comparing {_title(variant)}")
        try:
            said = results(runs_of(engines), variant.manifest, variant.rows)
        except EngineError as error:
            failed[index] = str(error)
            continue
        roles = {role: name for role, name in variant.manifest.outputs.items() if role in ("probabilities", "valence", "arousal")}
        known[index] = {role: said[name] for role, name in roles.items()}
    for index, given in known.items():
        first = _reference(variants, known, index)
        if first != index:
            found[index] = _difference(known[first], given)
    return found


def _reference(variants: Sequence[Variant], among: Iterable[int], index: int) -> int:
    """Return the first variant that answers the same question, itself perhaps."""
    return next(k for k in among if _alike(variants[k], variants[index]))


def _alike(a: Variant, b: Variant) -> bool:
    """Say whether two variants answer the same question: the same labels and outputs from the same crops."""
    first, second = a.manifest, b.manifest
    return (first.labels, first.outputs.keys(), first.crops, first.window.frames) == (
        second.labels, second.outputs.keys(), second.crops, second.window.frames
    )  # fmt: skip


def _difference(reference: dict[str, NDArray[np.generic]], given: dict[str, NDArray[np.generic]]) -> Difference:
    windows = len(next(iter(given.values())))
    agreement = None
    if "probabilities" in given:
        same = np.asarray(reference["probabilities"]).argmax(1) == np.asarray(given["probabilities"]).argmax(1)
        agreement = float(same.mean())
    largest = max(float(np.abs(np.asarray(reference[role], np.float64) - np.asarray(given[role], np.float64)).max()) for role in given)
    return Difference(windows, agreement, largest)


def _measured(
    variants: Sequence[Variant], index: int, infos: dict[int, Any], seconds: dict[int, list[float]],
    differences: dict[int, Difference], failed: dict[int, str],
) -> Measured:  # fmt: skip
    variant = variants[index]
    info = infos.get(index)
    named = (variant.manifest.id, variant.manifest.precision, variant.options.backend)
    runtime, threads = (info.backend, info.threads) if info is not None else ("", variant.options.threads)
    if index in failed:
        return Measured(*named, runtime, threads, variant.batch, why=failed[index])
    own, first = seconds[index], seconds[_reference(variants, [k for k in seconds if k not in failed], index)]
    ratio = median(a / b for a, b in zip(first, own, strict=True))
    return Measured(
        *named, runtime, threads, variant.batch, tuple(1e3 * value for value in own), ratio, differences.get(index)
    )  # fmt: skip


def _title(variant: Variant) -> str:
    return f"{variant.manifest.id} on {variant.options.backend}, batch {variant.batch}"
