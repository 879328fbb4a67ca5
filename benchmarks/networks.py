"""Every network there is, exported at its default sizes: parameters, multiply-accumulates, nodes, seconds, parity, spread.

`python -m benchmarks.networks [NAME…]` measures `mien-export list`'s architectures and counts the papers' rows; `--write` writes
docs/networks.md as well. Seconds are this machine's; all else is exact. Budget: an export takes under two minutes.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import onnx

from engines.terms import Part
from exporters import architecture, export
from exporters.architecture import Blueprint
from exporters.comparison import compare
from exporters.description import parts
from exporters.papers import ROWS, Row

DOC = Path(__file__).resolve().parents[1] / "docs" / "networks.md"
BUDGET_S = 120.0
ORDER: tuple[Part, Part, Part] = ("full", "frame", "window")
HEADS = ("network", "parameters", "GMAC full", "frame", "window", "nodes", "export s", "error / allowed", "spread / error")
ROW_HEADS = ("table", "row", "architecture and options", "parameters", "GMAC full", "frame", "window")
INTRODUCTION = """# The networks

Written by `python -m benchmarks.networks --write`. GMAC: 10⁹ multiply-accumulates of one window through the whole graph, of one frame
through the frame graph, of one window through the window graph; where there is a frame graph, a window that moves on by one frame costs
*frame + window*, and the service runs these two.

## All architectures

Default options and sizes, random weights of seed 0. Nodes: of the full graph, else of the frame graph. Export: seconds to make the
graphs on 2 shared cores, without the comparison. Error / allowed: the largest over all outputs and named tensors inside, against torch in
float64. Spread / error: the least over the same, the reference's own movement against the error; parity demands a spread of at least
100 × the tolerance.
"""
PAPERS = """
## The papers' tables

Each row is an architecture with the options beside it (`mien-export onnx ARCHITECTURE --option KEY=VALUE …`).
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One network's line. `cells` are in the order of `HEADS`."""

    cells: tuple[str, ...]
    seconds: float


def measure(name: str) -> Measured:
    """Export one network with random weights and compare it.

    Raises:
        exporters.parity.ParityFailed: the graph is not the network.
    """
    blueprint = architecture.find(name)
    began = time.perf_counter()
    files = export.graphs(blueprint)
    seconds = time.perf_counter() - began
    parity = compare(blueprint, files)
    whole = files.get("full", files.get("frame"))
    assert whole is not None
    cells = (
        f"`{name}`",
        *_counts(blueprint),
        str(len(onnx.load_model_from_string(whole).graph.node)),
        f"{seconds:.0f}",
        f"{max(one.max_abs_error / one.tolerance for one in parity):.2f}",
        f"{min(one.spread / max(one.max_abs_error, 1e-12) for one in parity):.0e}",
    )
    return Measured(cells, seconds)


def count(row: Row) -> Measured:
    """Count one row of a paper's table: nothing is exported."""
    options = " ".join(f"{key}={_plain(value)}" for key, value in row.options.items() if key != "labels")
    blueprint = architecture.find(row.architecture, 0, row.options)
    return Measured((row.table, row.row, f"`{row.architecture} {options}`".replace(" `", "`"), *_counts(blueprint)), 0.0)


def _counts(blueprint: Blueprint) -> tuple[str, str, str, str]:
    facts = parts(blueprint)
    full, frame, window = (f"{facts[part].gmac:.3f}" if part in facts else "–" for part in ORDER)
    return f"{sum(p.numel() for p in blueprint.network.parameters()):,}", full, frame, window


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def table(lines: list[Measured], heads: tuple[str, ...]) -> str:
    """Return lines as a Markdown table."""
    rows = [heads, tuple("---" for _ in heads), *(line.cells for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def papers() -> str:
    """Return the section on the papers' tables; a test holds the committed one against it."""
    return PAPERS + "\n" + table([count(row) for row in ROWS], ROW_HEADS)


def main(arguments: list[str]) -> bool:
    """Print the tables; return whether every export was within the budget."""
    lines = []
    print("  ".join(HEADS))
    for name in [name for name in arguments if name != "--write"] or architecture.names():
        lines.append(measure(name))
        print("  ".join(lines[-1].cells), flush=True)
    print(papers())
    if "--write" in arguments:
        DOC.write_text(f"{INTRODUCTION}\n{table(lines, HEADS)}{papers()}", encoding="utf-8")
    slow = [line.cells[0] for line in lines if line.seconds > BUDGET_S]
    if slow:
        print(f"over {BUDGET_S:.0f} s: {', '.join(slow)}")
    return not slow


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
