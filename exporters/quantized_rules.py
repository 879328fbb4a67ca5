"""Which eight-bit graphs TensorRT takes, checked node by node.

Owns the rules. Does not own the quantising (`quantize.py`); a graph quantised elsewhere is held to the same.

Source: NVIDIA TensorRT documentation, "Working with Quantized Types": explicit quantisation, symmetric INT8 with zero point 0, weights
per tensor or per output channel, activations per tensor; biases are not quantised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from exporters.onnx_graph import GraphRefused

QUANTIZED = frozenset({"Conv", "Gemm", "MatMul"})
_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})


def check(model: onnx.ModelProto) -> None:
    """Hold a graph to the rules; it must have at least one quantised operation.

    Raises:
        exporters.onnx_graph.GraphRefused: with the node and the rule that it breaks.
    """
    graph = _Graph(model)
    quantized = 0
    for node in model.graph.node:
        if node.op_type in _PAIR:
            graph.check_pair(node)
        elif any(name in graph.eight for name in node.input):
            raise _refused(node, f"takes eight-bit values: only a DequantizeLinear may read what a QuantizeLinear gave ({node.op_type})")
        elif node.op_type in QUANTIZED:
            quantized += graph.check_weighted(node)
        elif any(graph.made_by.get(name) == "DequantizeLinear" for name in node.input):
            raise _refused(node, f"takes a dequantised value; only {', '.join(sorted(QUANTIZED))} are quantised")
    if not quantized:
        raise GraphRefused("the graph has no eight-bit operation at all; it has nothing to gain: keep it in fp32")


class _Graph:
    """A graph's constants, and what made each value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants: Mapping[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made_by = {name: node.op_type for node in model.graph.node for name in node.output}
        self.nodes = {name: node for node in model.graph.node for name in node.output}
        self.eight = {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.output}
        self.given = {value.name for value in model.graph.output}

    def check_pair(self, node: NodeProto) -> None:
        """Hold a QuantizeLinear or DequantizeLinear to the rules of scale and zero point, and to its partner."""
        if len(node.input) < 3 or node.input[1] not in self.constants or node.input[2] not in self.constants:
            raise _refused(node, "needs a constant scale and a constant zero point, which says that it is of signed eight bits")
        scale, zero = (numpy_helper.to_array(self.constants[name]) for name in node.input[1:3])
        if self.constants[node.input[2]].data_type != TensorProto.INT8 or np.any(zero):
            kind = TensorProto.DataType.Name(self.constants[node.input[2]].data_type)
            raise _refused(node, f"has zero point {zero.ravel()[:3].tolist()} of {kind}; allowed is 0 of INT8 (symmetric, signed)")
        if scale.dtype not in (np.float32, np.float16) or not np.isfinite(scale).all() or not (scale > 0).all():
            raise _refused(node, "has a scale that is not a positive number")
        weight = node.op_type == "DequantizeLinear" and node.input[0] in self.constants
        if scale.size != 1 and not weight:
            raise _refused(node, f"has {scale.size} scales for values that come and go; these have one scale, only weights have more")
        if node.op_type == "DequantizeLinear" and not weight and node.input[0] not in self.eight:
            raise _refused(node, "reads neither a weight nor what a QuantizeLinear gave")
        if self.given & set(node.output):
            raise _refused(node, "is an output of the graph; outputs are float32 that nothing rounded")

    def check_weighted(self, node: NodeProto) -> bool:
        """Hold a convolution or matrix product to the rules; say whether it is quantised."""
        sides = [self.made_by.get(name) == "DequantizeLinear" for name in node.input[:2]]
        if len(node.input) > 2 and node.input[2] and self.made_by.get(node.input[2]) in _PAIR:
            raise _refused(node, "has a quantised bias, which TensorRT refuses; leave biases float")
        if not any(sides):
            return False
        if not all(sides):
            raise _refused(node, "has one side in eight bits and the other in float; both or neither")
        pair = self.nodes[node.input[1]]
        if pair.input[0] not in self.constants:
            raise _refused(node, "has quantised weights that are no constant")
        weight = numpy_helper.to_array(self.constants[pair.input[0]])
        scale = numpy_helper.to_array(self.constants[pair.input[1]])
        axis = next((attribute.i for attribute in pair.attribute if attribute.name == "axis"), 1) % weight.ndim
        wanted = _channels(node, weight.ndim)
        if scale.shape != (weight.shape[wanted],) or (axis != wanted and scale.size != 1):
            raise _refused(
                node,
                f"has weights {weight.shape} with {math.prod(scale.shape)} scales on axis {axis}; one for each of the "
                f"{weight.shape[wanted]} output channels on axis {wanted} are needed",
            )
        return True


def _channels(node: NodeProto, rank: int) -> int:
    """Return the axis of a weight that runs over output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        transposed = any(helper.get_attribute_value(a) for a in node.attribute if a.name == "transB")
        return 0 if transposed else 1
    return rank - 1


def _refused(node: NodeProto, why: str) -> GraphRefused:
    return GraphRefused(f"node {node.name or node.output[0]!r} ({node.op_type}) {why}")
