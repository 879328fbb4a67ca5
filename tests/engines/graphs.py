"""Tiny ONNX graphs and model folders around them, for tests of what opens and runs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
WIDTH = 3


def tensor(name: str = "w", values: Any = (1.0, 2.0, 3.0)) -> onnx.TensorProto:
    """A float32 tensor of a name."""
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def model(graph: onnx.GraphProto, opset: int = OPSET, **extra: Any) -> onnx.ModelProto:
    """A model of a graph."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **extra)


def scaled(
    weights: Any = (1.0, 2.0, 3.0), batch: str | int = "batch", dtype: int = TensorProto.FLOAT, opset: int = OPSET
) -> onnx.ModelProto:
    """y = x · w, one weight per column: x and y (batch, 3)."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "scaled",
        [helper.make_tensor_value_info("x", dtype, [batch, WIDTH])],
        [helper.make_tensor_value_info("y", dtype, [batch, WIDTH])],
        [tensor("w", weights)],
    )
    return model(graph, opset)


def expressive(side: int = 4, labels: int = 3, seed: int = 0) -> onnx.ModelProto:
    """face uint8 (batch, 3, side, side) → features (batch, 3·side²) and probabilities (batch, labels)."""
    wide = 3 * side * side
    weights = np.random.default_rng(seed).normal(0, 0.1, (wide, labels)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["face"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["features"], axis=1),
        helper.make_node("MatMul", ["features", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("face", TensorProto.UINT8, ["batch", 3, side, side])]
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", labels]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", wide]),
    ]
    return model(helper.make_graph(nodes, "expressive", inputs, outputs, [tensor("w", weights)]))


def averaging(frames: int, labels: int, operator: str = "ReduceMean") -> onnx.ModelProto:
    """A window graph: probabilities (batch, frames, labels) → their mean (batch, labels), under another name."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["probabilities", "axes"], ["mean"], keepdims=0)],
        "averaging",
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", frames, labels])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", labels])],
        [numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    return model(graph)


def common(id: str, **changes: Any) -> dict[str, Any]:
    """The manifest keys of all kinds; `files` is filled in by `write_folder`."""
    return {
        "schema": "mien.model/1", "id": id, "title": id, "card": "card.md", "opset": OPSET,
        "weights": {"kind": "checkpoint", "source": "a test"},
        "licence": {"spdx": "Apache-2.0", "file": "LICENSE.txt", "holder": "nobody"}, "cost": {"gmac_per_frame": 0.0},
    } | changes  # fmt: skip


def feature_manifest(id: str = "tiny", **changes: Any) -> dict[str, Any]:
    """A manifest for `scaled`."""
    column = {"dtype": "float32", "shape": [WIDTH]}
    graph = {"file": "full.onnx", "inputs": [{"name": "x", **column}], "outputs": [{"name": "y", **column}]}
    crops = {"x": {"size": [1, 3]}}
    return common(id, kind="features", graphs={"full": graph}, crops=crops, output="y") | changes


def expression_manifest(id: str = "moods", side: int = 4, labels: int = 3, part: str = "frame", **changes: Any) -> dict[str, Any]:
    """A manifest for `expressive`."""
    graph = {
        "file": f"{part}.onnx",
        "inputs": [{"name": "face", "dtype": "uint8", "shape": [3, side, side]}],
        "outputs": [
            {"name": "probabilities", "dtype": "float32", "shape": [labels]},
            {"name": "features", "dtype": "float32", "shape": [3 * side * side]},
        ],
    }
    return common(
        id, kind="expression", graphs={part: graph}, crops={"face": {"size": [side, side]}}, labels=[f"mood {i}" for i in range(labels)],
        outputs={"probabilities": "probabilities", "features": "features"}, aggregate="mean-probabilities",
        window={"frames": 4, "buffer": 8, "hop": 2},
    ) | changes  # fmt: skip


def write_folder(path: Path, manifest: Mapping[str, Any], graphs: Mapping[str, onnx.ModelProto | bytes], **files: bytes) -> Path:
    """Write a model folder whose hashes are right, whatever else is wrong with it. `files`: names with `__` for the dot."""
    path.mkdir(parents=True, exist_ok=True)
    contents = {"card.md": b"# A card\n", "LICENSE.txt": b"Do as you like.\n"}
    contents |= {name.replace("__", "."): data for name, data in files.items()}
    contents |= {name: graph if isinstance(graph, bytes) else graph.SerializeToString() for name, graph in graphs.items()}
    for name, data in contents.items():
        (path / name).write_bytes(data)
    listed = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    write_manifest(path, {"files": listed, **manifest})
    return path


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Replace a folder's manifest."""
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return a folder's manifest as plain JSON, to be changed and written back."""
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    return found
