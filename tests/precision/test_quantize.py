"""Eight bits: the form that TensorRT takes, its numbers, and every other form refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from engines.manifest import Tensor
from exporters import onnx_graph, quantize, quantized_rules
from exporters.invariance import open_session, run
from exporters.onnx_graph import GraphBuilder, GraphRefused

ROWS = {"x": np.random.default_rng(1).normal(0, 1, (16, 3, 8, 8)).astype(np.float32)}


def network() -> onnx.ModelProto:
    """Two convolutions with biases, a sum around the second, a mean, a Gemm and a MatMul with softmax; `x` and `inner` come out too."""
    builder, rng = GraphBuilder(), np.random.default_rng(0)
    # Channels of very different size: one scale for all would lose the small ones.
    size = np.array([1, 0.1, 0.01, 0.001], np.float32).reshape(4, 1, 1, 1)
    first = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32) * size
    inner = builder.node("Relu", builder.conv("x", first, np.full(4, 0.1, np.float32), pads=(1, 1, 1, 1)), name="inner")
    second = builder.conv(inner, rng.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32), np.zeros(4, np.float32), pads=(1, 1, 1, 1))
    pooled = builder.node("ReduceMean", builder.node("Add", inner, second), builder.constant([2, 3], np.int64), keepdims=0)
    bias = builder.constant(rng.normal(0, 1, 6))
    hidden = builder.node("Gemm", pooled, builder.constant(rng.normal(0, 1, (6, 4))), bias, transB=1)
    builder.node("Softmax", builder.node("MatMul", hidden, builder.constant(rng.normal(0, 1, (6, 5)))), axis=1, name="y")
    outputs = [Tensor(name="y", dtype="float32", shape=(5,)), Tensor(name="inner", dtype="float32", shape=(4, 8, 8))]
    return builder.model("made", [Tensor(name="x", dtype="float32", shape=(3, 8, 8))], outputs)


@pytest.fixture(scope="module")
def made() -> onnx.ModelProto:
    return quantize.quantized(network(), ROWS)


def test_inputs_outputs_and_numbers(made: onnx.ModelProto) -> None:
    assert onnx_graph.graph_entry(made, "f.onnx") == onnx_graph.graph_entry(network(), "f.onnx")
    exact, got = (run(open_session(model.SerializeToString()), ROWS) for model in (network(), made))
    assert np.abs(got["y"] - exact["y"]).max() < 0.03
    # Outputs that something inside reads as well are not rounded: the error is the first convolution's alone.
    assert len(np.unique(got["inner"])) > 1000


def weights(model: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Eight-bit weights and scales by the operation that takes them."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants}
    return {
        node.output[0]: (constants[pairs[node.input[1]].input[0]], constants[pairs[node.input[1]].input[1]])
        for node in model.graph.node
        if node.op_type in quantized_rules.QUANTIZED
    }


def test_weights_are_as_the_definition_says(made: onnx.ModelProto) -> None:
    """Scale = largest magnitude of an output channel / 127; numbers are the nearest, ties to even."""
    plain = {tensor.name: numpy_helper.to_array(tensor) for tensor in network().graph.initializer}
    wanted = {node.output[0]: (node, plain[node.input[1]]) for node in network().graph.node if node.op_type in quantized_rules.QUANTIZED}
    found = weights(made)
    assert set(found) == set(wanted)
    for name, (eight, scale) in found.items():
        node, weight = wanted[name]
        axis = {"Conv": 0, "Gemm": 0, "MatMul": 1}[node.op_type]
        others = tuple(k for k in range(weight.ndim) if k != axis)
        expected = np.abs(weight).max(axis=others) / 127
        np.testing.assert_allclose(scale, expected, rtol=1e-5)
        shape = [1] * weight.ndim
        shape[axis] = -1
        assert eight.dtype == np.int8
        # The float32 of the scale may tip a tie, never by more than one step.
        assert np.abs(eight - np.rint(weight / expected.reshape(shape))).max() <= 1


def test_activation_scales_are_those_of_the_rows(made: onnx.ModelProto) -> None:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    scales = {node.input[0]: float(constants[node.input[1]]) for node in made.graph.node if node.op_type == "QuantizeLinear"}
    assert scales["x"] == pytest.approx(float(np.abs(ROWS["x"]).max()) / 127, rel=0.01)


def test_the_same_rows_give_the_same_bytes(made: onnx.ModelProto) -> None:
    assert quantize.quantized(network(), ROWS).SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)


Change = Callable[[onnx.ModelProto], None]


def of(model: onnx.ModelProto, op: str) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == op]


def constant(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values, name))


def zero_points_of_three(model: onnx.ModelProto) -> None:
    constant(model, of(model, "QuantizeLinear")[0].input[2], np.array(3, np.int8))


def unsigned(model: onnx.ModelProto) -> None:
    for node in of(model, "QuantizeLinear"):
        constant(model, node.input[2], np.array(128, np.uint8))


def without_zero_point(model: onnx.ModelProto) -> None:
    del of(model, "QuantizeLinear")[0].input[2]


def a_scale_of_zero(model: onnx.ModelProto) -> None:
    constant(model, of(model, "QuantizeLinear")[0].input[1], np.array(0, np.float32))


def quantised_bias(model: onnx.ModelProto) -> None:
    conv = of(model, "Conv")[0]
    for name, values in (("b8", np.ones(4, np.int8)), ("bs", np.array(0.1, np.float32)), ("bz", np.array(0, np.int8))):
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b8", "bs", "bz"], ["bias"]))
    conv.input[2] = "bias"


def one_scale_for_all_weights(model: onnx.ModelProto) -> None:
    pair = next(node for node in of(model, "DequantizeLinear") if node.output[0] == of(model, "Conv")[0].input[1])
    constant(model, pair.input[1], np.array(0.1, np.float32))
    constant(model, pair.input[2], np.array(0, np.int8))


def scales_of_input_channels(model: onnx.ModelProto) -> None:
    pair = next(node for node in of(model, "DequantizeLinear") if node.output[0] == of(model, "Conv")[1].input[1])
    for attribute in pair.attribute:
        attribute.i = 1


def float_weights(model: onnx.ModelProto) -> None:
    conv = of(model, "Conv")[0]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "plain"))
    conv.input[1] = "plain"


def rounded_for_others(model: onnx.ModelProto) -> None:
    add = of(model, "Add")[0]
    conv = of(model, "Conv")[1]
    add.input[0] = conv.input[0]


def eight_bits_into_a_relu(model: onnx.ModelProto) -> None:
    of(model, "Relu")[0].input[0] = of(model, "QuantizeLinear")[0].output[0]


def rounded_output(model: onnx.ModelProto) -> None:
    pair = next(node for node in of(model, "DequantizeLinear") if node.output[0] == of(model, "Conv")[0].input[0])
    pair.output[0] = "extra"
    of(model, "Conv")[0].input[0] = "extra"
    model.graph.output.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, ["N", 3, 8, 8]))


def all_float(model: onnx.ModelProto) -> None:
    model.CopyFrom(network())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (zero_points_of_three, r"zero point \[3\] of INT8"),
        (unsigned, r"zero point \[128\] of UINT8"),
        (without_zero_point, "needs a constant scale and a constant zero point"),
        (a_scale_of_zero, "not a positive number"),
        (quantised_bias, "quantised bias"),
        (one_scale_for_all_weights, "with 1 scales on axis"),
        (scales_of_input_channels, "on axis 1; one for each of the 4 output channels on axis 0"),
        (float_weights, "one side in eight bits"),
        (rounded_for_others, "takes a dequantised value"),
        (eight_bits_into_a_relu, "takes eight-bit values"),
        (rounded_output, "is an output of the graph"),
        (all_float, "no eight-bit operation"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_other_forms_are_refused(made: onnx.ModelProto, change: Change, said: str) -> None:
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(made)
    change(spoilt)
    with pytest.raises(GraphRefused, match=said):
        quantized_rules.check(spoilt)
