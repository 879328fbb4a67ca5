"""Which ONNX operators an exported graph may use: those that TensorRT's parser takes and that give the same result each time.

Owns the list and the search of a graph, bodies of If, Loop and Scan included. Does not own the other rules (`onnx_graph.py`).
onnxruntime takes every operator of the opset, so TensorRT is the narrower of the two: a graph that keeps to this list runs on all our
engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

_NAMES = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal
    Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization GRU HardSigmoid HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LRN
    LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze
    Where Xor
"""
ALLOWED: frozenset[str] = frozenset(_NAMES.split())
"""Source: onnx-tensorrt, docs/operators.md of its release 10.1-GA (the table says "TensorRT 10.0", opset 9 to 20), column "Supported" Y;
TensorRT 10.3, the oldest that we run on, takes no fewer. Left out of that column: RandomNormal, RandomUniform and their Like forms, which
give another result each time, and what opset 20 no longer has (ImageScaler, ParametricSoftplus, ScaledTanh, Scatter, Upsample)."""


def foreign(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, ...]:
    """Return the nodes whose operator is not allowed, in the graph's order, those in bodies of other nodes included."""
    return tuple(node for node in every_node([graph]) if node.op_type not in ALLOWED)


def every_node(graphs: Iterable[onnx.GraphProto]) -> Iterator[onnx.NodeProto]:
    """Walk all nodes, those in bodies of other nodes after the node that holds them."""
    for graph in graphs:
        for node in graph.node:
            yield node
            yield from every_node(attribute.g for attribute in node.attribute if attribute.HasField("g"))
