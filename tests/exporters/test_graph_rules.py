"""Rules that every exported graph keeps, and the measurements behind a manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.manifest import Tensor
from exporters import onnx_graph, operators
from exporters.invariance import is_invariant, open_session, run
from exporters.onnx_graph import GraphBuilder, GraphRefused
from exporters.probes import probe
from exporters.shipped import shipped_folders

IMAGE = Tensor(name="x", dtype="float32", shape=(64, 8, 8))


def by_convolution() -> onnx.ModelProto:
    """Features and a last layer as 1×1 convolutions."""
    builder = GraphBuilder()
    rng = np.random.default_rng(0)
    hidden = builder.conv("x", rng.standard_normal((96, 64, 3, 3)).astype(np.float32), pads=(1, 1, 1, 1))
    pooled = builder.node("GlobalAveragePool", builder.node("Relu", hidden))
    builder.node("Flatten", builder.conv(pooled, rng.standard_normal((96, 96, 1, 1)).astype(np.float32)), name="y")
    return builder.model("convolution", [IMAGE], [Tensor(name="y", dtype="float32", shape=(96,))])


def by_matrix(batch_mixed: bool) -> onnx.ModelProto:
    """A plain layer; `batch_mixed` takes the mean over the batch off, so that rows depend on each other."""
    builder = GraphBuilder()
    value = "x"
    if batch_mixed:
        value = builder.node("Sub", "x", builder.node("ReduceMean", "x", builder.constant([0], np.int64), keepdims=1))
    builder.node("MatMul", value, builder.constant(np.eye(4)), name="y")
    tensor = Tensor(name="x", dtype="float32", shape=(4,))
    return builder.model("matrix", [tensor], [Tensor(name="y", dtype="float32", shape=(4,))])


def test_the_same_calls_give_the_same_bytes() -> None:
    first, second = (by_convolution().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_multiply_accumulates_are_counted_by_hand_too() -> None:
    assert onnx_graph.gmac(by_convolution()) * 1e9 == 8 * 8 * 96 * 64 * 9 + 96 * 96
    assert onnx_graph.gmac(by_matrix(False)) * 1e9 == 16


def test_invariance_is_measured() -> None:
    good, bad = by_convolution(), by_matrix(True)
    assert is_invariant(good.SerializeToString(), onnx_graph.graph_entry(good, "g.onnx"))
    assert not is_invariant(bad.SerializeToString(), onnx_graph.graph_entry(bad, "g.onnx"))


def test_graph_that_runs_matches_its_entry() -> None:
    model = by_convolution()
    entry = onnx_graph.graph_entry(model, "g.onnx")
    assert entry.inputs == (IMAGE,)
    out = run(open_session(model.SerializeToString()), {"x": probe(IMAGE, 5)})
    assert out["y"].shape == (5, 96)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((1, 4), "no dynamic first axis"), (("N", "M"), "dynamic axis besides the batch")],
)
def test_axes_other_than_the_batch_are_fixed(shape: tuple[object, ...], said: str) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    with pytest.raises(GraphRefused, match=said):
        onnx_graph.tensor_of(value)


def test_foreign_operators_old_opsets_and_outside_data_are_refused() -> None:
    model = by_matrix(False)
    model.graph.node[0].domain = "com.microsoft"
    with pytest.raises(GraphRefused, match=r"com\.microsoft"):
        onnx_graph.check(model)
    model = by_matrix(False)
    model.opset_import[0].version = 13
    with pytest.raises(GraphRefused, match="opset"):
        onnx_graph.check(model)
    model = by_matrix(False)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(GraphRefused, match="external data"):
        onnx_graph.check(model)
    with pytest.raises(GraphRefused, match="not an ONNX file"):
        onnx_graph.parsed(b"\x00nothing of the kind")


def test_operators_that_tensorrt_does_not_take_are_refused_in_bodies_too() -> None:
    model = by_matrix(False)
    model.graph.node[0].op_type = "Det"
    model.graph.node.extend([helper.make_node("Det", ["x"], ["z"], name="second")])
    with pytest.raises(GraphRefused, match=r"operator Det \(node 'y', and 1 more nodes\) is not among"):
        onnx_graph.check(model)
    body = helper.make_graph([helper.make_node("Unique", ["x"], ["u"], name="deep")], "body", [], [])
    graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)], "g", [], [])
    assert [node.name for node in operators.foreign(graph)] == ["deep", "deep"]


def test_allowed_operators_are_of_this_opset() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.since_version <= onnx_graph.OPSET}
    assert known >= operators.ALLOWED
    for path in sorted(shipped_folders().glob("*/*.onnx")):
        onnx_graph.check(onnx.load(path))


@pytest.mark.parametrize(("size", "kernel", "stride", "pads"), [(112, 3, 2, (0, 1)), (7, 3, 1, (1, 1)), (28, 3, 2, (0, 1))])
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert onnx_graph.same_pads(size, kernel, stride) == pads


@pytest.mark.parametrize("graph", sorted(shipped_folders().glob("*/*.onnx")), ids=lambda path: path.parent.name)
def test_shipped_graphs_do_nothing_with_bytes_but_cast_them(graph: Path) -> None:
    onnx_graph.bytes_are_cast(onnx_graph.parsed(graph.read_bytes()))


def test_work_on_bytes_is_refused() -> None:
    builder = GraphBuilder()
    builder.node("Cast", builder.node("Transpose", "x", perm=[0, 2, 1]), to=TensorProto.FLOAT, name="y")
    model = builder.model("bytes", [Tensor(name="x", dtype="uint8", shape=(2, 3))], [Tensor(name="y", dtype="float32", shape=(3, 2))])
    with pytest.raises(GraphRefused, match=r"Transpose .* works on the bytes of 'x'"):
        onnx_graph.bytes_are_cast(model)


def test_bytes_may_be_handed_on_as_they_came() -> None:
    builder = GraphBuilder()
    builder.node("Identity", "x", name="y")
    tensors = [[Tensor(name=name, dtype="uint8", shape=(2, 3))] for name in ("x", "y")]
    onnx_graph.bytes_are_cast(builder.model("bytes", *tensors))
