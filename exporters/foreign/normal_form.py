"""Somebody's ONNX file brought to the form that ours have: opset 20, no functions, a dynamic batch, only what the outputs need.

Owns the surgery. Does not own the rules it aims at (`onnx_graph.py`) or what is put around the network (`wrapped.py`). Whether the
surgery changed what the network computes is measured afterwards, against the file as it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.inliner import inline_local_functions

from exporters import onnx_graph, operators
from exporters.onnx_graph import BATCH, OPSET, GraphRefused


@dataclass(frozen=True, slots=True)
class Port:
    """An input of a graph: name, ONNX element type, sizes of all axes, None where dynamic."""

    name: str
    dtype: int
    dims: tuple[int | None, ...]


def normal(data: bytes) -> onnx.ModelProto:
    """Parse a file and bring it to opset 20 with its functions inlined; old files' weights leave the list of inputs.

    Raises:
        GraphRefused: it is no ONNX file, leans on other files or other operators, or cannot be converted.
    """
    model: onnx.ModelProto = inline_local_functions(onnx_graph.parsed(data))
    onnx_graph.self_contained(model)
    opsets = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if opsets != {OPSET}:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            first = str(error).strip().splitlines()[0]
            raise GraphRefused(
                f"opset {sorted(opsets)} cannot be converted to {OPSET} ({first}); export with opset_version={OPSET}"
            ) from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    del model.graph.value_info[:]
    return model


def the_input(model: onnx.ModelProto) -> Port:
    """Return the one input.

    Raises:
        GraphRefused: there are several, or it is not numbers.
    """
    if len(model.graph.input) != 1:
        names = ", ".join(value.name for value in model.graph.input) or "none"
        raise GraphRefused(f"the graph has inputs {names}; one is served, a picture or a clip")
    (value,) = model.graph.input
    kind = value.type.tensor_type
    if kind.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8):
        raise GraphRefused(
            f"input {value.name!r} has element type {TensorProto.DataType.Name(kind.elem_type)}; pictures are float or uint8"
        )
    return Port(value.name, kind.elem_type, tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim))


def freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Open the batch axis of a graph that was fixed to one row; a graph with an open one is returned as it is.

    Reshapes to (1, …) of what depends on the input become reshapes to as many rows as there are.

    Raises:
        GraphRefused: it is fixed to several rows.
    """
    rows = the_input(model).dims[0]
    if rows is None:
        return model
    if rows != 1:
        raise GraphRefused(f"the graph is fixed to a batch of {rows}; export it with a dynamic batch axis, or with a batch of one")
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    graph = opened.graph
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    shapes = {tensor.name: tensor for tensor in graph.initializer} | {
        node.output[0]: attribute.t
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.name == "value"
    }
    moving = _moving(graph)
    for index, node in enumerate(graph.node):
        if node.op_type == "Reshape" and node.input[0] in moving and node.input[1] in shapes:
            target = numpy_helper.to_array(shapes[node.input[1]]).copy()
            if target.size > 1 and target[0] == 1:
                target[0] = 0  # as many as the input has
                name = f"rows_{index}_{node.input[1]}"
                graph.initializer.append(numpy_helper.from_array(np.asarray(target, np.int64), name))
                node.input[1] = name
    return opened


def require(model: onnx.ModelProto, outputs: Iterable[str]) -> None:
    """Refuse names that no value of a graph has.

    Raises:
        GraphRefused: there is one; the message lists the graph's outputs.
    """
    missing = sorted(set(outputs) - {name for node in model.graph.node for name in node.output})
    if missing:
        names = ", ".join(value.name for value in model.graph.output)
        raise GraphRefused(f"the graph has no output {', '.join(missing)}; there are: {names}")


def kept(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """Copy a model with only the nodes and constants that the values `outputs` need, and these as its outputs.

    Raises:
        GraphRefused: it has no such value.
    """
    require(model, outputs)
    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(_read([node]))
    trimmed = onnx.ModelProto()
    trimmed.CopyFrom(model)
    graph = trimmed.graph
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return trimmed


def _moving(graph: onnx.GraphProto) -> set[str]:
    """Collect the values that depend on the input."""
    found = {value.name for value in graph.input}
    for node in graph.node:
        if found & _read([node]):
            found.update(node.output)
    return found


def _read(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Collect all values that nodes read, those that their bodies take from outside included."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.input)
        bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        found.update(name for inner in operators.every_node(bodies) for name in inner.input)
        found.update(value.name for body in bodies for value in body.output)
    return found


def penultimate(model: onnx.ModelProto, output: str) -> str | None:
    """Return the value that a class output's last fully connected layer reads, its features; None: it does not end in one."""
    makers = {name: node for node in model.graph.node for name in node.output}
    moving = _moving(model.graph)
    value: str = output
    while (node := makers.get(value)) is not None:
        read = [name for name in node.input if name in moving]
        if len(read) != 1:
            return None
        if node.op_type in ("Gemm", "MatMul"):
            return read[0] if read[0] in makers else None
        if node.op_type not in ("Softmax", "Identity", "Add", "Squeeze", "Flatten", "Reshape", "Cast"):
            return None
        value = read[0]
    return None
