"""`mien windows` for models without features, and for those that look at motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from service.cli import app
from service.perception.flow import flow
from tests.engines.graphs import expression_manifest, write_folder

FRAMES, SIDE = 4, 48


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one graph over crops and their flow: the mean motion right and down, softmaxed."""
    shapes = {"face": (TensorProto.UINT8, 3), "flow": (TensorProto.FLOAT, 2)}
    inputs = [helper.make_tensor_value_info(name, kind, ["n", FRAMES, c, SIDE, SIDE]) for name, (kind, c) in shapes.items()]
    nodes = [
        helper.make_node("ReduceMean", ["flow", "axes"], ["mean"], keepdims=0),
        helper.make_node("Cast", ["face"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["light"], keepdims=0),
        helper.make_node("ReduceMean", ["light", "last"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "zero"], ["nothing"]),
        helper.make_node("Add", ["mean", "nothing"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 3, 4]),
        helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
    ]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "moving", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    entry = {
        "file": "full.onnx",
        "inputs": [
            {"name": "face", "dtype": "uint8", "shape": [FRAMES, 3, SIDE, SIDE]},
            {"name": "flow", "dtype": "float32", "shape": [FRAMES, 2, SIDE, SIDE]},
        ],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [2]}],
    }
    changes = {
        "graphs": {"full": entry}, "outputs": {"probabilities": "probabilities"},
        "crops": {"face": {"size": [SIDE, SIDE]}, "flow": {"size": [SIDE, SIDE], "content": "flow"}},
        "window": {"frames": FRAMES, "buffer": FRAMES, "hop": 2},
    }  # fmt: skip
    manifest = expression_manifest("moving", labels=2, **changes)
    del manifest["aggregate"]  # for models with a frame graph
    return write_folder(tmp_path_factory.mktemp("models") / "moving", manifest, {"full.onnx": model})


def test_crops_and_flow_of_a_model_without_features(media: Path, moving: Path, tmp_path: Path) -> None:
    clips = (media / "single_face.mp4", media / "single_face.jpg")
    result = mien("windows", *clips, "--model", moving, "--inputs", "-o", tmp_path / "w.npz")
    assert (result.exit_code, result.output) == (0, "")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {"features", "feature_model"}.isdisjoint(arrays)
    faces, flows = arrays["inputs.face"], arrays["inputs.flow"]
    assert (faces.dtype, faces.shape) == (np.uint8, (73, 3, SIDE, SIDE))
    assert (flows.dtype, flows.shape) == (np.float32, (73, 2, SIDE, SIDE))
    for row in range(1, 72):
        np.testing.assert_array_equal(flows[row], flow(faces[row - 1], faces[row]))
    # The first sample of a track has its successor's; a picture alone does not move.
    np.testing.assert_array_equal(flows[0], flows[1])
    assert np.abs(flows[1:72]).max() > 0.5
    assert not flows[72].any()


def test_without_features_or_inputs_there_is_nothing_to_write(media: Path, moving: Path, tmp_path: Path) -> None:
    result = mien("windows", media / "single_face.jpg", "--model", moving, "-o", tmp_path / "w.npz")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "gives no features per frame" in result.stderr
    assert "--inputs" in result.stderr
    assert not (tmp_path / "w.npz").exists()


def test_clips_without_a_face_leave_no_file(media: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["windows", str(media / "no_face.mp4"), "--inputs", "-o", str(tmp_path / "w.npz")])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no face in any of 1 clips" in result.stderr
    assert not list(tmp_path.iterdir())
