"""A network with its weights to a model folder, proven.

Owns the steps: graph, invariance, parity, cost, manifest. Does not own any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx

from engines.manifest import Graph, Manifest, Requirement, Weights
from engines.terms import Part
from engines.wiring import run_parts
from exporters import model_folder, onnx_graph
from exporters.architecture import Blueprint
from exporters.card import card
from exporters.comparison import compare
from exporters.invariance import is_invariant
from exporters.targets.joined import joinable, joined
from exporters.targets.onnx import export

UNSTATED = "NOASSERTION"


Step = Callable[[str], None]
"""Told what begins now, for whoever waits."""


def _quiet(_: str) -> None:
    """Tell nobody."""


def graphs(blueprint: Blueprint, step: Step = _quiet) -> dict[Part, bytes]:
    """Export every part of a network whose weights are loaded."""
    made: dict[Part, onnx.ModelProto] = {}
    join = joinable(blueprint.parts)
    for part, exported in blueprint.parts.items():
        if part != "full" or not join:
            step(f"exporting the {part} graph")
            made[part] = export(exported)
    if join:
        step("joining them to the full graph")
        made["full"] = joined(made["frame"], made["window"], blueprint.parts)
    return {part: made[part].SerializeToString(deterministic=True) for part in blueprint.parts}


def cost(graph: bytes) -> float:
    """Count the multiply-accumulates of one row of a graph, in 10⁹."""
    return onnx_graph.gmac(onnx_graph.parsed(graph))


def network_fields(blueprint: Blueprint, files: Mapping[Part, bytes], weights: Weights, step: Step = _quiet) -> dict[str, object]:
    """Measure the graphs and return the manifest's fields that follow from the network: all but id, licence and card."""
    entries = {part: graph_entry(part, data) for part, data in files.items()}
    gmac = {part: cost(data) for part, data in files.items()}
    step("parity: comparing with the network in float64")
    measured = compare(blueprint, files)
    step("batch invariance: whether a row depends on the rows beside it")
    invariant = all(is_invariant(files[part], entries[part], blueprint.max_batch) for part in run_parts(entries))
    return {
        "kind": "expression",
        "title": blueprint.title,
        "graphs": {part: entry.model_dump(mode="json") for part, entry in entries.items()},
        "batch": {"max": blueprint.max_batch, "invariant": invariant},
        "opset": onnx_graph.OPSET,
        "options": {"architecture": blueprint.architecture, **blueprint.options},
        "weights": weights.model_dump(mode="json", exclude_none=True),
        "cost": {"gmac_per_frame": gmac.get("frame", 0.0), "gmac_per_window": gmac.get("window", 0.0) if "frame" in gmac else gmac["full"]},
        "parity": [one.model_dump(mode="json") for one in measured],
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
    onnx_graph.bytes_are_cast(model)
    return onnx_graph.graph_entry(model, f"{part}.onnx")


def write(
    directory: Path,
    blueprint: Blueprint,
    identity: str,
    weights: Weights,
    licence: bytes | None,
    *,
    requires: Sequence[Requirement] = (),
    noted: Mapping[str, str] | None = None,
    step: Step = _quiet,
) -> Manifest:
    """Export a network whose weights are loaded to the model folder `directory`.

    `licence`: the text of the weights' licence, None where nobody stated one (the folder then says so). `requires`: models that it
    leans on. `noted`: what goes into the manifest's options beside the architecture's own. `step` is told what begins.

    Raises:
        FolderRefused: files that are not a model's would be lost.
        exporters.parity.ParityFailed: the graph is not the network.
    """
    files = graphs(blueprint, step)
    fields = network_fields(blueprint, files, weights, step)
    options = fields["options"]
    assert isinstance(options, dict)
    options.update(noted or {})
    fields["requires"] = [one.model_dump(mode="json") for one in requires]
    step("writing the folder")
    return finish(directory, fields, {f"{part}.onnx": data for part, data in files.items()}, identity, licence)


def finish(directory: Path, fields: Mapping[str, object], graphs: Mapping[str, bytes], identity: str, licence: bytes | None) -> Manifest:
    """Write a model folder of measured fields and graphs, with a card made from them and the licence as far as it was stated."""
    texts = {"card.md": b"", "LICENSE.txt": licence or b"The licence of these weights was not stated when they were exported.\n"}
    named = {
        **fields,
        "id": identity,
        "card": "card.md",
        "licence": {"spdx": UNSTATED if licence is None else "LicenseRef-file", "file": "LICENSE.txt", "holder": "see LICENSE.txt"},
    }
    texts["card.md"] = card(model_folder.manifest(named, {**graphs, **texts})).encode()
    return model_folder.write(directory, named, {**graphs, **texts})
