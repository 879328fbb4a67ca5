"""A float32 graph to one of half precision, its inputs and outputs as they were.

Owns which values are half and the casts between the two kinds. Does not own the ranges that some of it is decided by (`ranges.py`), how
good the result is (`precision.py`) or what half arithmetic does to numbers (`rounded.py`).

Kept in float32, because half's 11 bits or its reach of 65 504 would lose something there:

- what reads a camera: all before the first convolution or matrix product (305 K is known to 0.25 K in half, 1 m to 0.5–1 mm);
- exponentials, powers, quotients, sums over many values (softmax, means, norms), hence all of MRAN's scaled attention up to its product
  with X′: the attention times H·W is of mean 1, where the plain one would fall under half's smallest normal number;
- whatever was seen to reach beyond `LARGEST`, or to be so small that half's subnormal numbers would have to hold it;
- additions and products that stand between two such nodes, so that no value is rounded on its way from one to the other.

onnxruntime's own converter (`onnxruntime.transformers.float16`) rounds to half between any two nodes that it keeps, which is why there
is one of ours; the types that result are what a strongly typed TensorRT network then uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from exporters.onnx_graph import GraphRefused, finished

Ranges = Mapping[str, tuple[float, float]]
"""The lowest and highest value that each tensor was seen to have."""

LARGEST = 65504.0 / 8
"""A tensor seen to go further is kept: other pictures may go further than those seen."""
SMALLEST = 2.0**-14 * 16
"""A tensor whose largest value is less is kept: 2⁻¹⁴ is half's smallest normal number, below it digits are lost."""
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
SENSITIVE = frozenset({
    "Softmax", "LogSoftmax", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Div", "CumSum", "GlobalAveragePool", "InstanceNormalization",
    "GroupNormalization", "LayerNormalization", "BatchNormalization", "LpNormalization", "MeanVarianceNormalization", "LRN", "CastLike",
    "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp",
})  # fmt: skip
BETWEEN = frozenset({"Add", "Sub", "Mul", "Neg", "Abs", "Max", "Min", "ReduceMax", "Reshape", "Squeeze", "Unsqueeze", "Expand"})
_NESTED = frozenset({"If", "Loop", "Scan"})
_TINY = 2.0**-14
_TYPED = {False: TensorProto.FLOAT, True: TensorProto.FLOAT16}


def halved(model: onnx.ModelProto, ranges: Ranges, readings: Sequence[str] = ()) -> onnx.ModelProto:
    """Copy a graph with its values in half precision where that loses nothing; inputs and outputs keep their types.

    `ranges`: what its float tensors were seen to hold. `readings`: the inputs whose values are a camera's own, read in float32.

    Raises:
        exporters.onnx_graph.GraphRefused: it has bodies of its own (If, Loop, Scan), or values of doubtful type.
    """
    nested = [node.op_type for node in model.graph.node if node.op_type in _NESTED]
    if nested:
        raise GraphRefused(f"a graph with {nested[0]} cannot be made half: what happens inside it is not looked at; export it unrolled")
    kept = kept_nodes(model, ranges, readings)
    writer = _Writer(model)
    for index, node in enumerate(model.graph.node):
        writer.add(node, half=index not in kept)
    return finished(writer.model())


def kept_nodes(model: onnx.ModelProto, ranges: Ranges, readings: Sequence[str]) -> frozenset[int]:
    """Return the indices of the nodes that stay in float32."""
    nodes = list(model.graph.node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    far = {name for name, seen in ranges.items() if not _held(*seen)}
    far |= {name for name, tensor in constants.items() if tensor.data_type == TensorProto.FLOAT and not _constant_held(tensor)}
    kept: set[int] = set()
    raw = set(readings)
    for index, node in enumerate(nodes):
        # A size is no value: what is reshaped by it has not read a camera.
        reading = node.op_type not in WEIGHTED | {"Shape", "Size"} and any(name in raw for name in node.input)
        if reading:
            raw.update(node.output)
        if reading or node.op_type in SENSITIVE or any(name in far for name in (*node.input, *node.output)):
            kept.add(index)
    made_by = {name: index for index, node in enumerate(nodes) for name in node.output}
    users: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            users.setdefault(name, []).append(index)
    given = {value.name for value in model.graph.output}
    for index, node in reversed(list(enumerate(nodes))):
        # What only kept nodes read, and what only kept nodes and constants make, is not rounded on the way.
        after = [user for name in node.output for user in users.get(name, [])]
        if node.op_type in BETWEEN and after and not given & set(node.output) and all(user in kept for user in after):
            kept.add(index)
    for index, node in enumerate(nodes):
        before = [made_by[name] for name in node.input if name in made_by]
        if node.op_type in BETWEEN and before and all(maker in kept for maker in before):
            kept.add(index)
    return frozenset(kept)


def _held(low: float, high: float) -> bool:
    largest = max(abs(low), abs(high))
    return largest == 0 or SMALLEST <= largest <= LARGEST


def _constant_held(tensor: TensorProto) -> bool:
    values = np.abs(numpy_helper.to_array(tensor))
    if values.size == 1:
        alone = float(values.item())
        return alone == 0 or _TINY <= alone <= LARGEST
    return values.size == 0 or float(values.max()) <= LARGEST


@dataclass(eq=False)
class _Writer:
    """Writes the nodes again, each on values of its own kind, with a cast wherever two kinds meet; a cast is shared.

    `made`: the float values so far, by their old name; True: held as half.
    """

    old: onnx.ModelProto
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    made: dict[str, bool] = field(default_factory=dict)
    cast: dict[tuple[str, bool], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = onnx.shape_inference.infer_shapes(self.old, strict_mode=True, data_prop=True).graph
        self.types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input, *graph.output]}
        self.known = {tensor.name: tensor for tensor in graph.initializer}
        self.used: set[str] = set()
        self.outputs = {value.name for value in graph.output}
        self.made |= {value.name: False for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}

    def add(self, node: NodeProto, half: bool) -> None:
        """Write one node; only what is float of its values becomes half."""
        written = NodeProto()
        written.CopyFrom(node)
        half = half and node.op_type not in ("Constant", "ConstantOfShape", "DequantizeLinear", "QuantizeLinear", "EyeLike")
        for place, name in enumerate(node.input):
            # Sizes and scales of a Resize are float32 by ONNX' rules, whatever is resized.
            written.input[place] = self.value(name, half and not (node.op_type == "Resize" and place > 0))
        for place, name in enumerate(node.output):
            if self.types.get(name, TensorProto.FLOAT) != TensorProto.FLOAT:
                continue
            if name and name not in self.types:
                raise GraphRefused(f"the type of {name!r} inside the graph cannot be told; export it again")
            self.made[name] = half
            written.output[place] = f"{name}_half" if half and name else name
        for attribute in written.attribute:
            if half and node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        self.nodes.append(written)
        for name in node.output:
            if name in self.outputs and self.made.get(name):
                self.nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_single", to=TensorProto.FLOAT))
                self.cast[name, False] = name

    def value(self, name: str, half: bool) -> str:
        """Return what a value is called in the kind that is wanted, and write what makes it so."""
        if name in self.known:
            return self._constant(self.known[name], half)
        if name not in self.made:
            return name
        is_half = self.made[name]
        if is_half == half:
            return f"{name}_half" if is_half else name
        if (name, half) not in self.cast:
            there, wanted = (f"{name}_half", f"{name}_single") if is_half else (name, f"{name}_half")
            self.nodes.append(helper.make_node("Cast", [there], [wanted], name=wanted, to=_TYPED[half]))
            self.cast[name, half] = wanted
        return self.cast[name, half]

    def _constant(self, tensor: TensorProto, half: bool) -> str:
        half = half and tensor.data_type == TensorProto.FLOAT
        name = f"{tensor.name}_half" if half else tensor.name
        if name not in self.used:
            self.used.add(name)
            self.constants.append(numpy_helper.from_array(_half(numpy_helper.to_array(tensor)), name) if half else tensor)
        return name

    def model(self) -> onnx.ModelProto:
        """Close the graph."""
        graph = helper.make_graph(self.nodes, self.old.graph.name, self.old.graph.input, self.old.graph.output, self.constants)
        return helper.make_model(graph, opset_imports=self.old.opset_import)


def _half(values: NDArray[np.generic]) -> NDArray[np.float16]:
    return np.ascontiguousarray(values, np.float16)
