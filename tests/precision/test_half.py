"""Half precision: what stays float32, what rounding does, and that a graph's face does not change."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from engines.manifest import Tensor
from engines.terms import Dtype
from exporters import half, onnx_graph, ranges, rounded
from exporters.invariance import open_session, run
from exporters.onnx_graph import GraphBuilder, GraphRefused

Rows = dict[str, np.ndarray]


def built(builder: GraphBuilder, dtype: Dtype, shape: tuple[int, ...], out: tuple[int, ...]) -> onnx.ModelProto:
    return builder.model("made", [Tensor(name="x", dtype=dtype, shape=shape)], [Tensor(name="y", dtype="float32", shape=out)])


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input, *graph.output]}


def reduced(model: onnx.ModelProto, rows: Rows, readings: tuple[str, ...] = ()) -> onnx.ModelProto:
    return half.halved(model, ranges.measured(model, rows), readings)


def rounding_error(model: onnx.ModelProto, made: onnx.ModelProto, rows: Rows) -> float:
    exact = run(open_session(model.SerializeToString()), rows)["y"]
    return float(np.abs(run(rounded.open_rounding(made), rows)["y"] - exact).max())


def thermal() -> onnx.ModelProto:
    """Kelvin in, (T − 305) · 0.2, a convolution: half's steps at 305 are 0.25 K."""
    builder = GraphBuilder()
    read = builder.node("Mul", builder.node("Sub", "x", builder.constant(305.0)), builder.constant(0.2))
    weight = np.random.default_rng(0).normal(0, 0.2, (4, 1, 3, 3)).astype(np.float32)
    builder.node("Relu", builder.conv(read, weight, pads=(1, 1, 1, 1)), name="y")
    return built(builder, "float32", (1, 8, 8), (4, 8, 8))


def test_a_cameras_values_are_read_in_float32() -> None:
    rows = {"x": np.random.default_rng(1).uniform(300, 310, (6, 1, 8, 8)).astype(np.float32)}
    with_care, without = reduced(thermal(), rows, ("x",)), reduced(thermal(), rows)
    assert rounding_error(thermal(), with_care, rows) < 2e-3
    assert rounding_error(thermal(), without, rows) > 1e-2


def test_inputs_outputs_and_weights() -> None:
    builder = GraphBuilder()
    value = builder.node("Cast", "x", to=TensorProto.FLOAT)
    weight = np.random.default_rng(0).normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32)
    inner = builder.node("Relu", builder.conv(value, weight, pads=(1, 1, 1, 1)), name="hidden")
    pooled = builder.node("ReduceMean", inner, builder.constant([2, 3], np.int64), keepdims=0)
    builder.node("Softmax", pooled, axis=1, name="y")
    model = built(builder, "uint8", (3, 8, 8), (4,))
    rows = {"x": np.random.default_rng(1).integers(0, 256, (6, 3, 8, 8), np.uint8)}
    made = reduced(model, rows, ("x",))
    assert onnx_graph.graph_entry(made, "f.onnx") == onnx_graph.graph_entry(model, "f.onnx")
    found = types(made)
    assert found["hidden_half"] == TensorProto.FLOAT16
    assert {node.op_type: found[node.output[0]] for node in made.graph.node if node.op_type in ("ReduceMean", "Softmax")} == {
        "ReduceMean": TensorProto.FLOAT, "Softmax": TensorProto.FLOAT,
    }  # fmt: skip
    assert {tensor.data_type for tensor in made.graph.initializer if tensor.name.startswith("c") and len(tensor.dims) == 4} == {10}
    assert made.SerializeToString(deterministic=True) == reduced(model, rows, ("x",)).SerializeToString(deterministic=True)
    assert rounding_error(model, made, rows) < 2e-3


def test_no_value_is_rounded_between_two_that_are_kept() -> None:
    """A softmax in pieces, as the attention has it: largest off, exp, over the mean."""
    builder = GraphBuilder()
    energy = builder.node("MatMul", "x", builder.constant(np.random.default_rng(0).normal(0, 1, (4, 64))))
    largest = builder.node("ReduceMax", energy, builder.constant([1], np.int64), keepdims=1)
    risen = builder.node("Exp", builder.node("Sub", energy, largest), name="risen")
    builder.node("Div", risen, builder.node("ReduceMean", risen, builder.constant([1], np.int64), keepdims=1), name="y")
    model = built(builder, "float32", (4,), (64,))
    rows = {"x": np.random.default_rng(1).normal(0, 2, (12, 4)).astype(np.float32)}
    made = reduced(model, rows)
    found = types(made)
    casts = [node for node in made.graph.node if node.op_type == "Cast"]
    # In: x. Out of half: the energy, once, for the largest and the difference.
    assert [found[node.output[0]] for node in casts] == [TensorProto.FLOAT16, TensorProto.FLOAT]
    assert all(found[name] == TensorProto.FLOAT for name in ("risen", "y"))


@pytest.mark.parametrize(("factor", "kept"), [(1.0, False), (1e5, True), (1e-6, True)], ids=["within", "too far", "too small"])
def test_what_half_cannot_hold_stays_float32(factor: float, kept: bool) -> None:
    builder = GraphBuilder()
    big = builder.node("MatMul", "x", builder.constant(np.eye(4) * factor), name="big")
    builder.node("MatMul", big, builder.constant(np.eye(4) / factor), name="y")
    model = built(builder, "float32", (4,), (4,))
    rows = {"x": np.random.default_rng(1).uniform(0.5, 2, (6, 4)).astype(np.float32)}
    made = reduced(model, rows)
    assert types(made).get("big") == (TensorProto.FLOAT if kept else None)
    assert rounding_error(model, made, rows) < 2e-3
    if kept:
        forced = half.halved(model, {}, ())
        assert not rounding_error(model, forced, rows) < 2e-3, "half throughout would have lost it"


def test_a_constant_that_half_would_lose_keeps_its_node() -> None:
    builder = GraphBuilder()
    hidden = builder.node("MatMul", "x", builder.constant(np.eye(4)))
    builder.node("Add", hidden, builder.constant(1e-6), name="y")
    model = built(builder, "float32", (4,), (4,))
    assert types(half.halved(model, {}))["y"] == TensorProto.FLOAT
    assert half.kept_nodes(model, {}, ()) == {1}


def test_bodies_are_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])], "b", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["N", 4])]
    )
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")]
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    model = helper.make_model(helper.make_graph([node], "g", io[:1], io[1:], [yes]), opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(GraphRefused, match="graph with If"):
        half.halved(model, {})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-200, 200, width=32), min_size=4, max_size=4), st.lists(st.floats(-200, 200, width=32), min_size=4, max_size=4))
def test_rounding_is_that_of_half_arithmetic(values: list[float], factors: list[float]) -> None:
    builder = GraphBuilder()
    builder.node("Add", builder.node("Mul", "x", builder.constant(factors), name="product"), builder.constant([0.5, 1, 2, 3]), name="y")
    # Values this large or small stay float32 unless their ranges are unknown, as here.
    made = half.halved(built(builder, "float32", (4,), (4,)), {})
    if half.kept_nodes(built(builder, "float32", (4,), (4,)), {}, ()):
        return
    found = run(rounded.open_rounding(made), {"x": np.array([values], np.float32)})["y"]
    with np.errstate(over="ignore"):
        wanted = np.float16(values) * np.float16(factors) + np.float16([0.5, 1, 2, 3])
    np.testing.assert_array_equal(found[0], wanted.astype(np.float32))
