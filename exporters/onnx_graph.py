"""ONNX graphs built by hand, and what every graph of ours must keep.

Owns the builder (nodes and constants in a fixed order, so that the same input gives the same bytes), the rules (opset,
dynamic batch first, all else static, no external data) and the count of multiply-accumulates. Does not own any network
(`architectures/`, `foreign/`) or torch (`targets/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.manifest import Graph, Tensor
from engines.onnx_file import NotOnnx, read_facts
from engines.terms import Dtype
from exporters import operators

OPSET = 20
IR_VERSION = 9
BATCH = "N"
_ELEMENT: Mapping[Dtype, int] = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
_DTYPE: Mapping[int, Dtype] = {element: dtype for dtype, element in _ELEMENT.items()}


class GraphRefused(ValueError):
    """A graph breaks a rule that every exported graph keeps."""


class GraphBuilder:
    """Collects nodes and constants in the order of the calls.

    Value names are the operator's name and a running number, unless given.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
        return name

    def node(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = name or f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def conv(
        self,
        value: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        *,
        stride: int = 1,
        pads: Sequence[int] = (0, 0, 0, 0),
        group: int = 1,
    ) -> str:
        """Add a 2-D convolution. `weight` (out, in/group, kH, kW); `pads` top, left, bottom, right."""
        constants = [self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        kernel = list(weight.shape[2:])
        return self.node("Conv", value, *constants, kernel_shape=kernel, strides=[stride, stride], pads=list(pads), group=group)

    def take_over(self, graph: onnx.GraphProto) -> None:
        """Add another graph's nodes and constants; the names in it must be none of the builder's."""
        self._nodes.extend(graph.node)
        self._constants.extend(graph.initializer)

    def model(self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> onnx.ModelProto:
        """Close the graph: a checked model with a dynamic batch axis in front of every input and output."""
        graph = helper.make_graph(self._nodes, name, [_value(t) for t in inputs], [_value(t) for t in outputs], self._constants)
        return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, _ELEMENT[tensor.dtype], [BATCH, *tensor.shape])


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding (before, after) of one axis of `size` pixels.

    Source: TensorFlow, `tf.nn.convolution`, "SAME": total = max((⌈size/stride⌉ − 1)·stride + kernel − size, 0), the odd pixel after.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stamp a model as ours and hold it to the rules.

    Raises:
        GraphRefused: it breaks one.
    """
    model.ir_version = IR_VERSION
    model.producer_name = "mien"
    model.producer_version = ""
    model.doc_string = ""
    del model.metadata_props[:]
    check(model)
    return model


def check(model: onnx.ModelProto) -> None:
    """Hold a model to the rules: valid ONNX, opset 20, no external data, operators that TensorRT takes, only the batch axis dynamic.

    Raises:
        GraphRefused: with the rule that is broken and what to do.
    """
    self_contained(model)
    unknown = operators.foreign(model.graph)
    if unknown:
        first, more = unknown[0], f", and {len(unknown) - 1} more nodes" if len(unknown) > 1 else ""
        raise GraphRefused(
            f"operator {first.op_type} (node {first.name or first.output[0]!r}{more}) is not among those that TensorRT's parser "
            "takes and that give the same each time; write that step with others and export again (exporters/operators.py lists them)"
        )
    opsets = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if opsets != {OPSET}:
        raise GraphRefused(f"the graph has opset {sorted(opsets)}; ours is {OPSET}: export with opset_version={OPSET}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphRefused(f"not a valid ONNX graph: {error}") from error
    for value in [*model.graph.input, *model.graph.output]:
        tensor_of(value)


def bytes_are_cast(model: onnx.ModelProto) -> None:
    """Refuse a graph that does anything with its bytes but cast them to numbers or hand them on as they came: TensorRT would.

    Raises:
        GraphRefused: it does.
    """
    given = {value.name for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        handed_on = node.op_type == "Identity" and node.output[0] in outputs
        if node.op_type != "Cast" and not handed_on and (raw := sorted(given & set(node.input))):
            raise GraphRefused(
                f"{node.op_type} (node {node.name or node.output[0]!r}) works on the bytes of {raw[0]!r}; TensorRT does nothing with bytes "
                "but cast them: cast them to float first"
            )


def self_contained(model: onnx.ModelProto) -> None:
    """Refuse a model that leans on other files or on operators of anyone's but ONNX.

    Raises:
        GraphRefused: it does.
    """
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            raise GraphRefused(
                f"constant {tensor.name!r} lies in another file; ONNX external data is not allowed: save with the data inside"
            )
    nodes = operators.every_node([model.graph])
    domains = sorted({node.domain for node in nodes if node.domain not in ("", "ai.onnx")} | {f.domain for f in model.functions})
    if domains:
        raise GraphRefused(f"operators of domain {', '.join(domains)} are used; only ONNX's own are allowed: export without them")


def tensor_of(value: onnx.ValueInfoProto) -> Tensor:
    """Read a graph's input or output as the manifest writes it.

    Raises:
        GraphRefused: the batch axis is not dynamic, another axis is, or the element type is none of ours.
    """
    kind = value.type.tensor_type
    if kind.elem_type not in _DTYPE:
        raise GraphRefused(f"{value.name!r} has element type {TensorProto.DataType.Name(kind.elem_type)}; allowed: {', '.join(_ELEMENT)}")
    axes = list(kind.shape.dim)
    if not axes or axes[0].HasField("dim_value"):
        raise GraphRefused(f"{value.name!r} has no dynamic first axis; the batch axis must come first and be dynamic")
    if not all(axis.dim_value > 0 for axis in axes[1:]):
        raise GraphRefused(f"{value.name!r} has a dynamic axis besides the batch; give every other axis a fixed size")
    return Tensor(name=value.name, dtype=_DTYPE[kind.elem_type], shape=tuple(axis.dim_value for axis in axes[1:]))


def graph_entry(model: onnx.ModelProto, file: str) -> Graph:
    """Describe a model's inputs and outputs as the manifest's entry for `file`."""
    inputs, outputs = model.graph.input, model.graph.output
    return Graph(file=file, inputs=tuple(map(tensor_of, inputs)), outputs=tuple(map(tensor_of, outputs)))


def parsed(data: bytes) -> onnx.ModelProto:
    """Parse a model, leaving external data unread, so that `check` can refuse it.

    Raises:
        GraphRefused: it is not an ONNX file.
    """
    try:
        read_facts(data)
    except NotOnnx as error:
        raise GraphRefused(f"not an ONNX file: {error}") from error
    return onnx.load_model_from_string(data)


def gmac(model: onnx.ModelProto) -> float:
    """Count the multiply-accumulates of one row through Conv, ConvTranspose, Gemm and MatMul, in 10⁹.

    Raises:
        GraphRefused: a size in it cannot be told from the graph.
    """
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in [*single.graph.input, *single.graph.output]:
        # Of one row: an axis that holds batch and frames together (N·T) has no size otherwise, and would count as one.
        value.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True).graph
    known: dict[str, list[int]] = {constant.name: list(constant.dims) for constant in inferred.initializer}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        # The batch axis has no size: one row is counted.
        known[value.name] = [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim]
    try:
        return sum(_macs(node, known) for node in inferred.node) / 1e9
    except KeyError as error:
        raise GraphRefused(f"the shape of {error} inside the graph cannot be told; export it with fixed sizes but for the batch") from None


def _macs(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    if node.op_type == "Conv":
        return _product(shapes[node.output[0]]) * _product(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return _product(shapes[node.input[0]]) * _product(shapes[node.input[1]][1:])
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return _product(shapes[node.output[0]]) * shapes[node.input[1]][1 if transposed else 0]
    if node.op_type == "MatMul":
        return _product(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0


def _product(sizes: Iterable[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
