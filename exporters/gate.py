"""Whether TensorRT takes a model's graphs, found out without a GPU.

Owns which graphs are tried, in which precisions, and what is said of each. Does not own building (`engines/plans/build.py`) or the making
of precisions (`reduced.py`).

TensorRT for RTX compiles for a card that is not here. It is not the SDK of Jetson and of servers, and its plans are thrown away: what is
shown is that the parser takes every node, that types agree throughout (networks are strongly typed) and that a plan can be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

from engines.engine import EngineError
from engines.folder import Folder
from engines.manifest import Expression
from engines.plans.build import Profile, build
from engines.plans.sdk import Sdk
from engines.samples import Rows
from engines.terms import Part
from exporters.reduced import Precision, drawn, reduced_graphs

CAPABILITY = "SM89"
"""The card that is compiled for: Ada, which has every type that our graphs have."""
DRAWN = 6
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Passed:
    """One graph in one precision: `fault` None where a plan came of it, of `size` bytes after `seconds`."""

    part: Part
    precision: str
    fault: str | None
    size: int
    seconds: float


def gate(folder: Folder, sdk: Sdk, precisions: tuple[Precision, ...] = (), step: Step = lambda _: None) -> Iterator[Passed]:
    """Parse and build every graph of a folder as it is, and its run graphs in other precisions too, made of drawn clips."""
    manifest = folder.manifest
    kinds: list[tuple[str, Mapping[Part, bytes]]] = [(manifest.precision, {part: folder.graph_bytes(part) for part in manifest.graphs})]
    for precision in precisions:
        if isinstance(manifest, Expression) and manifest.precision == "fp32":
            step(f"making {precision}")
            rows: Rows = drawn(manifest, DRAWN)
            kinds.append((precision, reduced_graphs(folder, manifest, (), precision, rows, step)))
    for said, graphs in kinds:
        for part, data in graphs.items():
            step(f"building the {part} graph in {said}")
            yield _passed(folder, sdk, part, said, data)


def _passed(folder: Folder, sdk: Sdk, part: Part, precision: str, data: bytes) -> Passed:
    began, manifest = monotonic(), folder.manifest
    profile = Profile.of(manifest.batch.max)
    try:
        made = build(
            sdk, data, f"{manifest.id}/{part}", manifest.graphs[part], profile, lambda _phase, _share: None, capabilities=(CAPABILITY,)
        )
    except EngineError as error:
        return Passed(part, precision, str(error), 0, monotonic() - began)
    return Passed(part, precision, None, len(made.plan), monotonic() - began)
