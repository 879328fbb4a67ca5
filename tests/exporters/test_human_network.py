"""A real foreign network through `frame-cnn`: npm @vladmandic/human's emotion model, converted here to ONNX as TensorFlow lays it out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.folder import open_folder
from exporters import packages
from exporters.foreign import tfjs
from exporters.onnx_graph import same_pads
from exporters.packages import Package
from service.cli import app
from tests.exporters.command_line import Export, export
from tests.exporters.foreign_graphs import Foreign

__all__ = ["export"]

HUMAN = Package(
    name="@vladmandic/human",
    version="3.3.6",
    files={
        "models/emotion.json": "56f7e557eb0c863a8b9ab04ac7ccba756e93bf2c27dce135ef0e8712b80b7ad2",
        "models/emotion.bin": "927ac8224f356ab1e68c2bcfbfa07b0c8567047d1bcf817388ba6e38214c4987",
    },
)


def converted(payload: dict[str, bytes]) -> bytes:
    """Write the TensorFlow.js graph as ONNX: channels last outside, as tf2onnx leaves it."""
    described = json.loads(payload["models/emotion.json"])
    weights = tfjs.weights(json.dumps(described["weightsManifest"]).encode(), {"emotion.bin": payload["models/emotion.bin"]})
    net = Foreign()
    values: dict[str, tuple[str, int]] = {}  # TensorFlow's name → ours, side in pixels
    for node in described["modelTopology"]["node"]:
        kind, given = node["op"], node.get("input", [])
        if kind == "Const":
            continue
        if kind == "Placeholder":
            values[node["name"]] = net.node("Transpose", "input", perm=[0, 3, 1, 2]), 64
            continue
        value, side = values[given[0]]
        if kind in ("_FusedConv2D", "DepthwiseConv2dNative", "MaxPool"):
            values[node["name"]] = _sliding(net, node, value, side, weights)
        elif kind == "AddV2":
            values[node["name"]] = net.node("Add", value, values[given[1]][0]), side
        elif kind == "Mean":
            values[node["name"]] = net.node("Flatten", net.node("GlobalAveragePool", value)), 1
        elif kind == "Softmax":
            values[node["name"]] = net.node("Softmax", value, axis=1), 1
        elif kind in ("Relu", "Identity"):
            values[node["name"]] = net.node(kind, value, name="Identity:0" if kind == "Identity" else ""), side
        else:
            raise AssertionError(kind)
    return net.file(["unk__1", 64, 64, 1], {"Identity:0": ["unk__1", 7]})


def _sliding(net: Foreign, node: dict[str, Any], value: str, side: int, weights: dict[str, Any]) -> tuple[str, int]:
    attributes, given = node["attr"], node["input"]
    stride = int(attributes["strides"]["list"]["i"][1])
    kernel = int(attributes["ksize"]["list"]["i"][1]) if node["op"] == "MaxPool" else weights[given[1]].shape[0]
    same = base64.b64decode(attributes["padding"]["s"]) == b"SAME"
    before, after = same_pads(side, kernel, stride) if same else (0, 0)
    sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [before, before, after, after]}
    made = (side + before + after - kernel) // stride + 1
    if node["op"] == "MaxPool":
        return net.node("MaxPool", value, **sizes), made
    if node["op"] == "DepthwiseConv2dNative":
        depthwise = weights[given[1]].transpose(2, 3, 0, 1)
        return net.node("Conv", value, net.constant(depthwise), group=len(depthwise), **sizes), made
    value = net.node("Conv", value, net.constant(weights[given[1]].transpose(3, 2, 0, 1)), net.constant(weights[given[2]]), **sizes)
    fused = [base64.b64decode(name) for name in attributes["fused_ops"]["list"]["s"]]
    return net.node("Relu", value) if b"Relu" in fused else value, made


@pytest.mark.proof
def test_human_s_network_is_adopted_and_sees_a_smile(export: Export, tmp_path: Path, media: Path) -> None:
    (tmp_path / "human.onnx").write_bytes(converted(packages.load(HUMAN)))
    code, _, err = export("frame-cnn", tmp_path / "human.onnx", "--preset", "human", "--out", tmp_path / "models" / "human")
    assert code == 0, err
    manifest = open_folder(tmp_path / "models" / "human").manifest
    assert all(one.spread > 0.01 for one in manifest.parity)
    assert export("verify", tmp_path / "models" / "human", "--checkpoint", tmp_path / "human.onnx")[0] == 0
    picture, models = str(media / "single_face.jpg"), str(tmp_path / "models")
    done = CliRunner().invoke(app, ["analyze", picture, "--models", models, "-m", "human", "--format", "json"])
    assert done.exit_code == 0, done.output
    ((best, *_),) = (said["scores"] for said in json.loads(done.stdout)["clip_prediction"])
    assert best["name"] == "happy"
    assert best["probability"] > 0.9
