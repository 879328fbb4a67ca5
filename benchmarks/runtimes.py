"""All networks at their default sizes on onnx and OpenVINO, in turn: the table and plot of docs/runtimes.md.

`python -m benchmarks.runtimes [NAME…] [--write]` exports what `.cache/networks` lacks (minutes), then runs what `mien bench` runs, network
by network. Budget, where the CPU computes bfloat16 (AMX or AVX512-BF16): at least twice as quick as onnx in float32 on the networks with
3D convolutions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from engines.engine import EngineOptions
from engines.folder import Folder, open_folder
from engines.manifest import Expression, Weights
from exporters import architecture, export
from service.bench.plot import draw
from service.bench.variants import Measured, Variant, bench
from service.bench.windows import noise
from service.diagnostics.machine import machine

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / ".cache" / "networks"
DOC, PICTURE = ROOT / "docs" / "runtimes.md", ROOT / "docs" / "images" / "runtimes.png"
TURNS = 7
WAYS = (
    EngineOptions("onnx", threads=1),
    EngineOptions("openvino", threads=1),
    EngineOptions("openvino", threads=1, precision="bf16"),
)
THREE_D = {"facial-3dcnn-convlstm", "gesture-3dcnn-convlstm", "ensemble"}
BUDGET = 2.0
INTRODUCTION = """# The networks on runtimes

Written by `python -m benchmarks.runtimes --write` on {day}: {where}. Every architecture at its default size, random weights, one thread,
the ways in turn, {turns} turns each; milliseconds per result (the new samples of a hop through the frame graph, then the window graph; or
the whole graph), median and quartiles. Times: the median over turns of onnx's time over the way's. A session runs a frame graph whose
features choose keyframes (`fer-small` as shipped) in fp32, whatever it takes in bf16 ([engines.md](engines.md)).

![Milliseconds per result](images/runtimes.png)

| network | runtime | ms | quartiles | times |
| --- | --- | --- | --- | --- |
"""


def folder_of(name: str) -> Folder:
    """Return an architecture's folder, exported now if it was not before."""
    directory = MADE / name.replace("_", "-")
    if not directory.exists():
        print(f"exporting {name}", flush=True)
        blueprint = architecture.find(name, 0, {})
        export.write(directory, blueprint, directory.name, Weights(kind="random", source="benchmarks", seed=0), None)
    return open_folder(directory)


def measure(name: str) -> list[Measured]:
    """Run one network every way."""
    folder = folder_of(name)
    assert isinstance(folder.manifest, Expression)
    rows = noise(folder.manifest, 1)
    return bench([Variant(folder, options, 1, rows, False) for options in WAYS], TURNS, lambda text: None)


def line(one: Measured) -> str:
    """Return a way's row of the table."""
    if one.why is not None:
        return f"| `{one.model}` | {one.asked} | – | | {one.why} |"
    low, high = one.quartiles_ms
    return f"| `{one.model}` | {one.runtime} | {one.median_ms:.3g} | {low:.3g}–{high:.3g} | {one.ratio or 1.0:.2f} |"


def main(arguments: Sequence[str]) -> bool:
    """Print the table, write the page if asked to; return whether it is within its budget."""
    wanted = [name for name in arguments if not name.startswith("--")] or architecture.names()
    found: list[Measured] = []
    for name in wanted:
        found += measure(name)
        print("\n".join(line(one) for one in found[-len(WAYS) :]), flush=True)
    where = next(finding.detail for finding in machine() if finding.name == "processor")
    if "--write" in arguments:
        heading = INTRODUCTION.format(day=datetime.now(timezone.utc).date(), where=where, turns=TURNS)
        DOC.write_text(heading + "\n".join(line(one) for one in found) + "\n", encoding="utf-8")
        draw(found, PICTURE, "ms per result, one thread")
    quick = [one.ratio or 0.0 for one in found if one.model in THREE_D and one.runtime.endswith("(bf16)")]
    if "bf16" not in where:
        print("no AMX and no AVX512-BF16 here: the budget for bfloat16 does not apply")
        return True
    return all(ratio >= BUDGET for ratio in quick)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
