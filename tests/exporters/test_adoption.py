"""Somebody's ONNX file to a model folder: `frame-cnn` and `import-onnx`, with the arithmetic done again here by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.folder import Folder, open_folder
from engines.manifest import Expression, Features
from exporters.foreign import normal_form
from exporters.invariance import open_session
from exporters.onnx_graph import GraphRefused
from exporters.probes import drawn_clips, drawn_faces
from tests.exporters import foreign_graphs
from tests.exporters.command_line import Export, export

__all__ = ["export"]


def pictures(side: int, rows: int = 4) -> NDArray[np.uint8]:
    return np.ascontiguousarray(drawn_faces(rows, side, side, seed=9).transpose(0, 3, 1, 2))


def run(folder: Folder, part: str, rows: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    session = open_session(folder.read(f"{part}.onnx"))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: rows}), strict=True))


def softmax(scores: NDArray[np.generic]) -> NDArray[np.float64]:
    powers = np.exp(np.asarray(scores, np.float64))
    return np.asarray(powers / powers.sum(1, keepdims=True))


@pytest.mark.parametrize(("outputs", "batch"), [(8, "batch_size"), (10, 1), (7, 1)])
def test_emotiefflib_s_files_become_frame_models(export: Export, tmp_path: Path, outputs: int, batch: int | str) -> None:
    (tmp_path / "enet.onnx").write_bytes(data := foreign_graphs.emotiefflib(outputs, batch))
    code, out, err = export("frame-cnn", tmp_path / "enet.onnx", "--preset", "emotiefflib", "--out", tmp_path / "enet")
    assert code == 0, err
    assert "guessed  scores: not probabilities, so a softmax was put behind them" in out
    folder = open_folder(tmp_path / "enet")
    manifest = folder.manifest
    assert isinstance(manifest, Expression)
    classes = 7 if outputs == 7 else 8
    assert manifest.labels[0] == "anger"
    assert len(manifest.labels) == classes
    assert (manifest.keyframes.selector, manifest.keyframes.features) == ("itq", "features")
    assert manifest.weights.kind == "pretrained"
    faces = pictures(224)
    scaled = (faces / 255 - np.reshape((0.485, 0.456, 0.406), (3, 1, 1))) / np.reshape((0.229, 0.224, 0.225), (3, 1, 1))
    (wanted,) = foreign_graphs.values(data, scaled.astype(np.float32))
    got = run(folder, "frame", faces)
    np.testing.assert_allclose(got["probabilities"], softmax(wanted[:, :classes]), atol=1e-5)
    assert got["features"].shape == (4, 16)
    if outputs == 10:
        np.testing.assert_allclose(got["valence"], np.clip(wanted[:, 8:9], -1, 1), atol=1e-5)
        np.testing.assert_allclose(got["arousal"], np.clip(wanted[:, 9:10], -1, 1), atol=1e-5)
    code, out, _ = export("verify", tmp_path / "enet", "--checkpoint", tmp_path / "enet.onnx")
    assert code == 0
    assert "ok            parity, measured: probabilities" in out
    assert "needs the file it was made from, enet.onnx" in export("verify", tmp_path / "enet")[1]


@pytest.mark.parametrize(("preset", "luma"), [("fer", (0.299, 0.587, 0.114)), ("human", (0.2989, 0.587, 0.114))])
def test_channels_last_gray_networks_become_frame_models(export: Export, tmp_path: Path, preset: str, luma: tuple[float, ...]) -> None:
    (tmp_path / "fer.onnx").write_bytes(data := foreign_graphs.mini_xception())
    code, out, err = export("frame-cnn", tmp_path / "fer.onnx", "--preset", preset, "--out", tmp_path / "fer", "--frames", 8)
    assert code == 0, err
    assert "scores: probabilities, they sum to 1" in out
    folder = open_folder(tmp_path / "fer")
    assert isinstance(folder.manifest, Expression)
    assert folder.manifest.labels == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert (folder.manifest.window.frames, folder.manifest.window.buffer) == (8, 16)
    faces = pictures(64)
    gray = np.tensordot(faces.transpose(0, 2, 3, 1).astype(np.float64), luma, 1)[..., None]
    (wanted,) = foreign_graphs.values(data, ((gray / 255 - 0.5) * 2).astype(np.float32))
    np.testing.assert_allclose(run(folder, "frame", faces)["probabilities"], wanted, atol=1e-5)


def test_an_embedding_serves_keyframes_of_another_model(export: Export, tmp_path: Path) -> None:
    (tmp_path / "vgg.onnx").write_bytes(foreign_graphs.embedding())
    scaling = ("--scale", 255, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    code, _, err = export("import-onnx", tmp_path / "vgg.onnx", "--kind", "features", "--out", tmp_path / "vgg", *scaling)
    assert code == 0, err
    features = open_folder(tmp_path / "vgg")
    assert isinstance(features.manifest, Features)
    assert features.manifest.output == "features"
    code, _, err = export("onnx", "fer-small", "--random-weights", 1, "--keyframes-from", tmp_path / "vgg", "--out", tmp_path / "fer")
    assert code == 0, err
    manifest = open_folder(tmp_path / "fer").manifest
    assert isinstance(manifest, Expression)
    assert [(need.id, need.sha256, need.output) for need in manifest.requires] == [("vgg", features.sha256, "features")]
    assert (manifest.keyframes.selector, manifest.keyframes.model, manifest.keyframes.features) == ("itq", "vgg", "features")
    code, _, err = export("onnx", "fer-small", "--random-weights", 1, "--keyframes-from", tmp_path / "fer", "--out", tmp_path / "again")
    assert (code, err.count("\n")) == (1, 1)
    assert "a model of kind features is needed" in err


@pytest.mark.parametrize("layout", ["NCTHW", "NTCHW", "NTHWC"])
def test_a_network_of_clips_becomes_a_full_graph(export: Export, tmp_path: Path, layout: str) -> None:
    (tmp_path / "c.onnx").write_bytes(data := foreign_graphs.clips(layout))
    arguments = ("import-onnx", tmp_path / "c.onnx", "--out", tmp_path / "c", "--scale", 255, "--labels", "a,b,c", "--channels", "bgr")
    code, out, err = export(*arguments, "--crop", "upper-body")
    assert code == 0, err
    assert "guessed  window: 4 of 4 frames, a result every 2 (edit window)" in out
    folder = open_folder(tmp_path / "c")
    assert isinstance(folder.manifest, Expression)
    assert folder.manifest.crops["body"].kind == "upper-body"
    assert folder.manifest.cost.gmac_per_window > 0
    rows = np.ascontiguousarray(drawn_clips(3, 4, 32, 32).transpose(0, 1, 4, 2, 3))
    scaled = (rows[:, :, ::-1] / 255).astype(np.float32).transpose(["NTCHW".index(axis) for axis in layout])
    (wanted,) = foreign_graphs.values(data, np.ascontiguousarray(scaled))
    np.testing.assert_allclose(run(folder, "full", rows)["probabilities"], softmax(wanted), atol=1e-5)


def test_uint8_graphs_are_taken_as_they_are(export: Export, tmp_path: Path) -> None:
    net = foreign_graphs.Foreign()
    value = net.node("Mul", net.node("Cast", "input", to=TensorProto.FLOAT), net.constant(1 / 255))
    net.node("Softmax", net.node("Flatten", net.trunk(value, 3, 4)), name="prob", axis=1)
    (tmp_path / "u.onnx").write_bytes(data := net.file(["N", 3, 48, 48], {"prob": ["N", 4]}, kind=TensorProto.UINT8))
    code, out, err = export("import-onnx", tmp_path / "u.onnx", "--out", tmp_path / "u")
    assert code == 0, err
    assert "guessed  labels: class-0 … class-3 (--labels a,b,c; edit labels)" in out
    faces = pictures(48)
    np.testing.assert_allclose(
        run(open_folder(tmp_path / "u"), "frame", faces)["probabilities"], foreign_graphs.values(data, faces)[0], atol=1e-5
    )
    code, _, err = export("import-onnx", tmp_path / "u.onnx", "--out", tmp_path / "u", "--scale", 255)
    assert (code, err) == (1, "mien-export: the input is uint8, so the network scales inside; leave out --scale, --mean and --std\n")


def test_outputs_are_what_the_user_says(export: Export, tmp_path: Path) -> None:
    (tmp_path / "e.onnx").write_bytes(foreign_graphs.emotiefflib(10, side=48))
    takes = ("--output", "probabilities=softmax(output[0:8])", "--output", "arousal=output[8]", "--output", "valence=clip(output[9:10])")
    code, _, err = export("import-onnx", tmp_path / "e.onnx", "--out", tmp_path / "e", "--scale", 255, *takes)
    assert code == 0, err
    manifest = open_folder(tmp_path / "e").manifest
    assert isinstance(manifest, Expression)
    assert set(manifest.outputs) == {"probabilities", "arousal", "valence"}
    assert manifest.options["taken"] == ("probabilities=softmax(output[0:8])", "arousal=output[8:9]", "valence=clip(output[9:10])")
    assert export("verify", tmp_path / "e", "--checkpoint", tmp_path / "e.onnx")[0] == 0


def two_inputs() -> bytes:
    net = foreign_graphs.Foreign()
    net.node("Add", "input", "other", name="y")
    shape = ["N", 3, 8, 8]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "other")]
    graph = helper.make_graph(net.nodes, "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)])
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7).SerializeToString()
    return data


def of_operator(op: str, **attributes: object) -> Callable[[], bytes]:
    def make() -> bytes:
        net = foreign_graphs.Foreign()
        net.node(op, net.node("Sigmoid", net.node("Flatten", net.trunk("input", 3, 4))), name="prob", **attributes)
        return net.file(["N", 3, 48, 48], {"prob": ["N", 4]}, opset=15)

    return make


REFUSED: list[tuple[str, Callable[[], bytes], tuple[object, ...], str]] = [
    ("import-onnx", lambda: b"rubbish", (), "not an ONNX file"),
    ("import-onnx", two_inputs, (), "the graph has inputs input, other; one is served"),
    ("import-onnx", foreign_graphs.embedding, (), "say how it was trained: --scale 255"),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255, "--mean", "0.1,0.2"), "--mean has 2 numbers; for rgb give one, or 3"),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255, "--mean", "x"), "--mean x: input should be a valid number"),
    (
        "import-onnx",
        foreign_graphs.embedding,
        ("--scale", 255, "--crop", "hand"),
        "--crop hand: input should be 'face', 'upper-body'",
    ),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255, "--layout", "NTCHW"), "which --layout NTCHW is not"),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255, "--output", "probabilities=x"), "no output x; there are: features"),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255, "--output", "mood=features"), "must be ROLE=OUTPUT"),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255, "--output", "probabilities=features[30:40]"), "has 32 numbers per row"),
    (
        "import-onnx",
        lambda: foreign_graphs.embedding(("scores", "more")),
        ("--scale", 1),
        "outputs scores (10), more (32); say which",
    ),
    ("import-onnx", foreign_graphs.embedding, ("--scale", 255), "a model of kind expression gives probabilities"),
    ("import-onnx", lambda: foreign_graphs.emotiefflib(2, side=48), ("--scale", 255), "has 2 numbers; say what they are"),
    (
        "import-onnx",
        lambda: foreign_graphs.emotiefflib(8, side=48),
        ("--scale", 255, "--labels", "a,b"),
        "2 labels were given, there are 8",
    ),
    ("import-onnx", lambda: foreign_graphs.emotiefflib(8, 4, 48), ("--scale", 255), "fixed to a batch of 4"),
    (
        "import-onnx",
        of_operator("Bernoulli"),
        ("--scale", 255),
        "operator Bernoulli (node 'net/prob') is not among",
    ),
    ("import-onnx", foreign_graphs.clips, ("--scale", 255, "--frames", 8), "clips of 4 frames, --frames says 8"),
    ("import-onnx", foreign_graphs.clips, ("--scale", 255, "--kind", "features"), "single frames"),
    ("frame-cnn", foreign_graphs.clips, ("--preset", "fer"), "use import-onnx"),
    ("frame-cnn", foreign_graphs.emotiefflib, ("--preset", "fer"), "reads 3 channels, networks of this preset 1"),
    ("frame-cnn", lambda: foreign_graphs.emotiefflib(5), ("--preset", "emotiefflib"), "no output has 7 or 9 or 8 or 10 numbers"),
]


@pytest.mark.parametrize(("command", "make", "arguments", "said"), REFUSED)
def test_refusals_are_one_line(
    export: Export, tmp_path: Path, command: str, make: Callable[[], bytes], arguments: tuple[object, ...], said: str
) -> None:
    (tmp_path / "f.onnx").write_bytes(make())
    code, _, err = export(command, tmp_path / "f.onnx", "--out", tmp_path / "f", *arguments)
    assert (code, err.count("\n")) == (1, 1), err
    assert said in err
    assert not (tmp_path / "f").exists()


def test_a_batch_that_stays_fixed_is_refused(export: Export, tmp_path: Path) -> None:
    net = foreign_graphs.Foreign()
    flat = net.node("Flatten", net.trunk("input", 3, 4))
    net.node("Concat", flat, net.constant(np.zeros((1, 4))), name="prob", axis=1)
    (tmp_path / "f.onnx").write_bytes(net.file([1, 3, 48, 48], {"prob": [1, 8]}))
    code, _, err = export("import-onnx", tmp_path / "f.onnx", "--out", tmp_path / "f", "--scale", 255)
    assert (code, err.count("\n")) == (1, 1)
    assert "dynamic batch" in err


def test_functions_are_inlined_and_weights_leave_the_inputs() -> None:
    function = helper.make_function(
        "theirs", "Doubled", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [helper.make_node("Doubled", ["x"], ["d"], domain="theirs"), helper.make_node("Mul", ["d", "w"], ["y"])]
    weight = onnx.numpy_helper.from_array(np.ones((1,), np.float32), "w")
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3]), helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])]
    graph = helper.make_graph(nodes, "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])], [weight])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("theirs", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    made = normal_form.normal(model.SerializeToString())
    assert [value.name for value in made.graph.input] == ["x"]
    assert {node.op_type for node in made.graph.node} == {"Add", "Mul"}
    del model.functions[:]
    with pytest.raises(GraphRefused, match="operators of domain theirs"):
        normal_form.normal(model.SerializeToString())
