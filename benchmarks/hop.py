"""What does a window cost when only its newest frame is new? The frame graph once and the window graph, against the whole graph.

Random weights: time does not depend on them. Theory is the same ratio counted in multiply-accumulates. Budgets: the facial network
with its FER branch ≤ 0.45, URAN ≤ 0.85.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.interleave import interleave, ratio
from engines.engine import Arrays, Engine, EngineOptions
from engines.folder import open_folder
from engines.manifest import Expression, Part, Weights
from engines.open import open_engine
from exporters import architecture, export
from exporters.probes import probe

RUNS = 15
NETWORKS: tuple[tuple[str, str, dict[str, object], float | None], ...] = (
    ("facial with FER branch", "facial_3dcnn_convlstm", {"fer_branch": True}, 0.45),
    ("facial with fer-small as branch", "facial_3dcnn_convlstm", {"fer_branch": True, "branch": "fer-small"}, None),
    ("URAN", "uran", {}, 0.85),
    ("LRCN, 16 keyframes", "lrcn", {}, None),
)


def main() -> bool:
    """Print a line per network; return whether all are within their budgets."""
    good = True
    with tempfile.TemporaryDirectory() as place:
        for title, name, options, budget in NETWORKS:
            good &= _one(Path(place) / name, title, name, options, budget)
    return good


def _one(directory: Path, title: str, name: str, options: dict[str, object], budget: float | None) -> bool:
    blueprint = architecture.find(name, 0, options)
    export.write(directory, blueprint, name.replace("_", "-"), Weights(kind="random", source="random", seed=0), None)
    folder = open_folder(directory)
    manifest = folder.manifest
    assert isinstance(manifest, Expression)
    parts: tuple[Part, ...] = ("full", "frame", "window")
    engines: dict[Part, Engine] = {part: open_engine(folder, part, EngineOptions(threads=1)) for part in parts}
    rows: dict[Part, Arrays] = {part: {t.name: probe(t, 1) for t in manifest.graphs[part].inputs} for part in parts}
    length = manifest.window.frames
    # What a window is made of when nothing is cached: every frame once more.
    every = {key: np.repeat(value, length, axis=0) for key, value in rows["frame"].items()}

    def cached() -> None:
        engines["frame"].run(rows["frame"])
        engines["window"].run(rows["window"])

    def apart() -> None:
        engines["frame"].run(every)
        engines["window"].run(rows["window"])

    timed = interleave({"whole": lambda: engines["full"].run(rows["full"]), "cached": cached, "apart": apart}, RUNS)
    low, middle, high = ratio(timed["cached"], timed["whole"])
    cost = manifest.cost
    theory = (cost.gmac_per_frame + cost.gmac_per_window) / (length * cost.gmac_per_frame + cost.gmac_per_window)
    said = f"budget ≤ {budget:g}, " if budget is not None else ""
    print(
        f"{title}: {middle:.2f} of the whole graph (pairs {low:.2f}–{high:.2f}; {said}theory {theory:.2f}; "
        f"{ratio(timed['cached'], timed['apart'])[1]:.2f} of all {length} frames' graph and the window's)"
    )
    for engine in engines.values():
        engine.close()
    return budget is None or middle <= budget


if __name__ == "__main__":
    sys.exit(not main())
