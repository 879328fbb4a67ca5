"""Every network there is, exported at its default sizes: parameters, multiply-accumulates, nodes, seconds, parity, spread.

`python -m benchmarks.networks` does `mien-export list`'s architectures; `--rows` the papers' tables instead; `--write` does both and
writes docs/networks.md. Seconds are this machine's; all else is exact. Budget: an export takes under two minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from engines.manifest import Weights
from exporters import architecture, export
from exporters.papers import ROWS

DOC = Path(__file__).resolve().parents[1] / "docs" / "networks.md"
BUDGET_S = 120.0
HEADS = ("network", "options", "parameters", "GMAC full", "frame", "window", "nodes", "export s", "error / allowed", "spread / error")
INTRODUCTION = """# The networks

Written by `python -m benchmarks.networks --write`. Random weights, default sizes. GMAC: 10⁹ multiply-accumulates of one window through the
whole graph, of one frame through the frame graph, of one window through the window graph; where there is a frame graph, a window that moves
on by one frame costs *frame + window*. Nodes: of the full graph, else of the frame graph. Error / allowed: the largest over all outputs and
named tensors inside, against torch in float64. Spread / error: the least over the same, the reference's own movement against the error;
parity demands at least 100 × the tolerance. Export: seconds to make the graphs, on 2 shared cores, without the comparison.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One network's line. `cells` are in the order of `HEADS`."""

    cells: tuple[str, ...]
    seconds: float


def measure(title: str, name: str, options: Mapping[str, object]) -> Measured:
    """Export one network with random weights and compare it.

    Raises:
        exporters.parity.ParityFailed: the graph is not the network.
    """
    blueprint = architecture.find(name, 0, options)
    began = time.perf_counter()
    files = export.graphs(blueprint)
    seconds = time.perf_counter() - began
    fields: dict[str, Any] = export.network_fields(blueprint, files, Weights(kind="random", source="random", seed=0))
    parity, cost = fields["parity"], fields["cost"]
    whole = files.get("full", files.get("frame"))
    assert whole is not None
    full = f"{export.cost(files['full']):.3f}" if "full" in files else "–"
    apart = ("–", "–") if "frame" not in files else (f"{cost['gmac_per_frame']:.3f}", f"{cost['gmac_per_window']:.3f}")
    cells = (
        title,
        ", ".join(f"{key}={_plain(value)}" for key, value in options.items() if key != "labels") or "defaults",
        f"{sum(p.numel() for p in blueprint.network.parameters()):,}",
        full,
        *apart,
        str(len(onnx.load_model_from_string(whole).graph.node)),
        f"{seconds:.0f}",
        f"{max(one['max_abs_error'] / one['tolerance'] for one in parity):.2f}",
        f"{min(one['spread'] / max(one['max_abs_error'], 1e-12) for one in parity):.0e}",
    )
    return Measured(cells, seconds)


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def table(lines: list[Measured], heads: tuple[str, ...]) -> str:
    """Return lines as a Markdown table."""
    rows = [heads, tuple("---" for _ in heads), *(line.cells for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def architectures() -> list[Measured]:
    """Measure every architecture with its default options."""
    return [_said(measure(f"`{name}`", name, {})) for name in architecture.names()]


def paper_rows() -> list[Measured]:
    """Measure every row of the papers' tables."""
    return [_said(measure(f"{row.table}: {row.row}", row.architecture, row.options)) for row in ROWS]


def _said(line: Measured) -> Measured:
    print("  ".join(line.cells), flush=True)
    return line


def main(arguments: list[str]) -> bool:
    """Print the tables asked for; return whether every export was within the budget."""
    print("  ".join(HEADS))
    if "--write" not in arguments:
        lines = paper_rows() if "--rows" in arguments else architectures()
    else:
        ours, theirs = architectures(), paper_rows()
        papers = f"## The papers' tables\n\n{table(theirs, ('row', *HEADS[1:]))}"
        DOC.write_text(f"{INTRODUCTION}\n## All architectures\n\n{table(ours, HEADS)}\n{papers}", encoding="utf-8")
        lines = ours + theirs
    slow = [line.cells[0] for line in lines if line.seconds > BUDGET_S]
    if slow:
        print(f"over {BUDGET_S:.0f} s: {', '.join(slow)}")
    return not slow


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
