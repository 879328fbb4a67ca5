"""What does a window cost when only its newest frame is new? The frame graph once and the window graph, against the whole graph.

Random weights: time does not depend on them. Theory is the same ratio counted in multiply-accumulates. Budgets: the facial network
with its FER branch ≤ 0.45, URAN ≤ 0.85.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.interleave import interleave, ratio
from exporters import architecture, export
from exporters.description import parts
from exporters.invariance import open_session, run
from exporters.probes import probe

RUNS = 15
NETWORKS: tuple[tuple[str, str, dict[str, object], float | None], ...] = (
    ("facial with FER branch", "facial_3dcnn_convlstm", {"fer_branch": True}, 0.45),
    ("facial with fer-small as branch", "facial_3dcnn_convlstm", {"fer_branch": True, "branch": "fer-small"}, None),
    ("URAN", "uran", {}, 0.85),
    ("LRCN, 16 keyframes", "lrcn", {}, None),
)


def main(wanted: list[str]) -> bool:
    """Print a line per network (of the architectures named, all if none); return whether all are within their budgets."""
    kept = [_one(*network) for network in NETWORKS if not wanted or network[1] in wanted]
    return all(kept)


def _one(title: str, name: str, options: dict[str, object], budget: float | None) -> bool:
    blueprint = architecture.find(name, 0, options)
    engines = {part: open_session(data) for part, data in export.graphs(blueprint).items()}
    rows = {part: {t.name: probe(t, 1) for t in exported.inputs} for part, exported in blueprint.parts.items()}
    length = blueprint.window.frames
    # What a window is made of when nothing is cached: every frame once more.
    every = {key: np.repeat(value, length, axis=0) for key, value in rows["frame"].items()}

    def cached() -> None:
        run(engines["frame"], rows["frame"])
        run(engines["window"], rows["window"])

    def apart() -> None:
        run(engines["frame"], every)
        run(engines["window"], rows["window"])

    timed = interleave({"whole": lambda: run(engines["full"], rows["full"]), "cached": cached, "apart": apart}, RUNS)
    low, middle, high = ratio(timed["cached"], timed["whole"])
    cost = {part: facts.gmac for part, facts in parts(blueprint).items()}
    theory = (cost["frame"] + cost["window"]) / (length * cost["frame"] + cost["window"])
    said = f"budget ≤ {budget:g}, " if budget is not None else ""
    print(
        f"{title}: {middle:.2f} of the whole graph (pairs {low:.2f}–{high:.2f}; {said}theory {theory:.2f}; "
        f"{ratio(timed['cached'], timed['apart'])[1]:.2f} of all {length} frames' graph and the window's)"
    )
    return budget is None or middle <= budget


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
