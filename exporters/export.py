"""A network with its weights to a model folder, proven.

Owns the steps: graph, invariance, parity, cost, manifest. Does not own any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engines.manifest import Graph, Manifest, Part, Weights
from exporters import model_folder, onnx_graph
from exporters.architecture import Blueprint
from exporters.comparison import compare
from exporters.invariance import is_invariant
from exporters.targets.onnx import export

UNSTATED = "NOASSERTION"


def graphs(blueprint: Blueprint) -> dict[Part, bytes]:
    """Export every part of a network whose weights are loaded."""
    return {part: export(exported).SerializeToString(deterministic=True) for part, exported in blueprint.parts.items()}


def cost(graph: bytes) -> float:
    """Count the multiply-accumulates of one row of a graph, in 10⁹."""
    return onnx_graph.gmac(onnx_graph.parsed(graph))


def network_fields(blueprint: Blueprint, files: Mapping[Part, bytes], weights: Weights) -> dict[str, object]:
    """Measure the graphs and return the manifest's fields that follow from the network: all but id, licence and card."""
    entries = {part: graph_entry(part, data) for part, data in files.items()}
    gmac = {part: cost(data) for part, data in files.items()}
    return {
        "kind": "expression",
        "title": blueprint.title,
        "graphs": {part: entry.model_dump(mode="json") for part, entry in entries.items()},
        "batch": {
            "max": blueprint.max_batch,
            "invariant": all(is_invariant(files[part], entry, blueprint.max_batch) for part, entry in entries.items()),
        },
        "opset": onnx_graph.OPSET,
        "options": {"architecture": blueprint.architecture, **blueprint.options},
        "weights": weights.model_dump(mode="json", exclude_none=True),
        "cost": {"gmac_per_frame": gmac.get("frame", 0.0), "gmac_per_window": gmac.get("window", 0.0) if "frame" in gmac else gmac["full"]},
        "parity": [one.model_dump(mode="json") for one in compare(blueprint, files)],
        "labels": list(blueprint.labels),
        "crops": {name: crop.model_dump(mode="json") for name, crop in blueprint.crops.items()},
        "outputs": dict(blueprint.outputs),
        "window": blueprint.window.model_dump(mode="json", exclude_none=True),
        "keyframes": blueprint.keyframes.model_dump(mode="json", exclude_none=True),
        **({"aggregate": blueprint.aggregate} if blueprint.aggregate is not None else {}),
    }


def graph_entry(part: Part, data: bytes) -> Graph:
    """Describe a part's graph, held to the rules, as the manifest does; its file is called after the part.

    Raises:
        exporters.onnx_graph.GraphRefused: it breaks one.
    """
    model = onnx_graph.parsed(data)
    onnx_graph.check(model)
    return onnx_graph.graph_entry(model, f"{part}.onnx")


def write(directory: Path, blueprint: Blueprint, identity: str, weights: Weights, licence: bytes | None) -> Manifest:
    """Export a network whose weights are loaded to the model folder `directory`.

    `licence`: the text of the weights' licence, None where nobody stated one (the folder then says so).

    Raises:
        exporters.parity.ParityFailed: the graph is not the network.
    """
    files = graphs(blueprint)
    fields = network_fields(blueprint, files, weights)
    fields |= {
        "id": identity,
        "card": "card.md",
        "licence": {"spdx": UNSTATED if licence is None else "LicenseRef-file", "file": "LICENSE.txt", "holder": "see LICENSE.txt"},
    }
    texts = {
        "card.md": _card(identity, blueprint, weights).encode(),
        "LICENSE.txt": licence or b"The licence of these weights was not stated when they were exported.\n",
    }
    return model_folder.write(directory, fields, {**{f"{part}.onnx": data for part, data in files.items()}, **texts})


def _card(identity: str, blueprint: Blueprint, weights: Weights) -> str:
    warning = "\n**Random weights: the labels mean nothing.**\n" if weights.kind == "random" else ""
    return (
        f"# {identity}\n\n{blueprint.title}. Exported by mien-export.\n{warning}\n- Weights: {weights.kind}, {weights.source}\n"
        f"- sha256 of the weights' file: {weights.sha256 or 'none'}\n- Accuracy: not measured by the exporter.\n"
    )
