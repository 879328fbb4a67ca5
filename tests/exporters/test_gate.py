"""TensorRT takes every graph in every precision: parsed and built by TensorRT for RTX, which needs no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engines.engine import BackendMissing
from engines.folder import open_folder
from engines.plans import sdk
from engines.plans.sdk import Sdk
from exporters import architecture, export, gate, model_folder
from exporters.onnx_graph import GraphBuilder
from exporters.shipped import shipped_folders
from tests.exporters.command_line import Export
from tests.exporters.command_line import export as export_command

__all__ = ["export_command"]
FER = shipped_folders() / "fer-small"
SMALL: Mapping[str, Mapping[str, object]] = {
    "enhanced_convlstm": {
        "streams": ("flow-convlstm",),
        "widths": (4, 8, 8, 8),
        "kernels": (3, 3, 3, 3),
        "fully_connected": (32,),
        "groups": 4,
    },
    "facial_3dcnn_convlstm": {"fer_branch": True, "gamma": 1.5},
    "gesture_3dcnn_convlstm": {"width": 4, "hidden": 8},
    "lrcn": {"width": 4, "features": 32, "hidden": 32},
    "mran": {"size": 32, "frames": 8},
    "uran": {"size": 32, "frames": 8, "peepholes": "hadamard"},
}
"""Smaller sizes where the default ones take minutes; those were tried too (docs/precision.md). A branch more where the network has one."""


@pytest.fixture(scope="module")
def kit() -> Sdk:
    try:
        return sdk.load(sdk.RTX)
    except BackendMissing as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("path", sorted(shipped_folders().iterdir()), ids=lambda path: path.name)
def test_every_shipped_graph(kit: Sdk, path: Path) -> None:
    found = list(gate.gate(open_folder(path), kit, ("fp16", "int8")))
    assert {one.part: one.fault for one in found if one.fault is not None} == {}
    wanted = ["fp32", "fp16", "int8"] if open_folder(path).manifest.kind == "expression" else ["fp32"]
    assert [one.precision for one in found] == wanted
    assert all(one.size > 10_000 for one in found)


def test_half_precision_is_what_is_built_as_half(kit: Sdk) -> None:
    """Half the weights' bytes, of a plan that is mostly weights and code."""
    whole, half = gate.gate(open_folder(FER), kit, ("fp16",))
    assert [(one.part, one.precision) for one in (whole, half)] == [("frame", "fp32"), ("frame", "fp16")]
    assert half.size < 0.85 * whole.size


def test_what_the_gate_has_no_use_for_is_refused(kit: Sdk, export_command: Export, tmp_path: Path) -> None:
    for arguments, said in (
        ((shipped_folders() / "blazeface-front", "--gate", "--precision", "fp16"), "is of kind detector in fp32"),
        ((FER, "--gate", "--plans", tmp_path), "--gate keeps no plan"),
    ):
        code, printed, error = export_command("tensorrt", *arguments)
        assert (code, printed) == (2, "")
        assert said in " ".join(error.replace("│", " ").split())


@pytest.mark.proof
@pytest.mark.parametrize("name", architecture.names())
def test_every_architectures_graphs_in_every_precision(kit: Sdk, name: str, tmp_path: Path) -> None:
    blueprint = architecture.find(name, 0, SMALL.get(name, {}))
    files = export.graphs(blueprint)
    # What `export.write` measures besides is proven elsewhere, and would take most of the time here.
    fields = {
        "kind": "expression", "title": name, "opset": 20, "batch": {"max": blueprint.max_batch}, "cost": {"gmac_per_frame": 0},
        "weights": {"kind": "random", "source": "a test", "seed": 0}, "labels": list(blueprint.labels), "outputs": dict(blueprint.outputs),
        "graphs": {part: export.graph_entry(part, data).model_dump(mode="json") for part, data in files.items()},
        "crops": {crop: spec.model_dump(mode="json") for crop, spec in blueprint.crops.items()},
        "window": blueprint.window.model_dump(mode="json"), "keyframes": blueprint.keyframes.model_dump(mode="json"),
        **({"aggregate": blueprint.aggregate} if blueprint.aggregate is not None else {}),
    }  # fmt: skip
    export.finish(tmp_path / "net", fields, {f"{part}.onnx": data for part, data in files.items()}, "net", None)
    found = list(gate.gate(open_folder(tmp_path / "net"), kit, ("fp16", "int8")))
    assert {(one.part, one.precision): one.fault for one in found if one.fault is not None} == {}
    assert {one.precision for one in found} == {"fp32", "fp16", "int8"}
    assert {one.part for one in found} == set(blueprint.parts)


def test_the_command_says_what_was_built(kit: Sdk, export_command: Export) -> None:
    code, said, _ = export_command("tensorrt", FER, "--gate", "--precision", "fp16", "--precision", "int8")
    assert code == 0
    verdicts = [line.split()[:3] for line in said.splitlines() if line.startswith(("ok", "FAILS"))]  # a slow build has lines of its own
    assert verdicts == [["ok", "frame", kind] for kind in ("fp32", "fp16", "int8")]
    assert f"3 of 3 graphs built by tensorrt-rtx {kit.version} for SM89; no plan was kept" in said


def test_the_gate_has_teeth(kit: Sdk, export_command: Export, tmp_path: Path) -> None:
    """A graph that works on bytes, as the face finders' once did, runs on ONNX Runtime and is no TensorRT network."""
    folder = open_folder(FER)
    graph = folder.manifest.graphs["frame"]
    builder = GraphBuilder()
    turned = builder.node("Cast", builder.node("Transpose", "face", perm=[0, 1, 3, 2]), to=1)
    mean = builder.node("ReduceMean", turned, builder.constant([2, 3], np.int64), keepdims=0)
    builder.node("Softmax", builder.node("MatMul", mean, builder.constant([[0.1] * 8] * 3)), axis=1, name="probabilities")
    builder.node("MatMul", mean, builder.constant([[0.1] * 128] * 3), name="features")
    data = builder.model("bytes", graph.inputs, graph.outputs).SerializeToString()
    fields = model_folder.fields_of(folder.manifest) | {"keyframes": {"selector": "uniform"}}
    files = {name: held for name, held in folder.files.items() if name != "itq.npz"}
    model_folder.write(tmp_path / "bytes", fields, {**files, graph.file: data})
    code, said, _ = export_command("tensorrt", tmp_path / "bytes", "--gate")
    assert code == 1
    assert "FAILS  frame   fp32  fer-small/frame: tensorrt-rtx" in said
    assert "UInt8" in said


def test_a_plan_has_its_graphs_precision(export_command: Export) -> None:
    code, _, error = export_command("tensorrt", FER, "--precision", "fp16")
    assert code
    assert "mien-export precision DIR makes folders in others" in " ".join(error.replace("│", " ").split())


def test_without_a_device_the_command_says_so(export_command: Export, tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings")
    from engines.plans.cuda import device

    try:
        device()
    except BackendMissing:
        code, _, error = export_command("tensorrt", FER, "--plans", tmp_path / "plans")
        assert code == 1
        assert "an NVIDIA GPU with a driver is needed" in error
        return
    pytest.skip("there is a device here")
