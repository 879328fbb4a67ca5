"""A `full` graph made of a `frame` and a `window` graph, node by node.

Owns the joining. Does not own the two graphs (`onnx.py`) or the proof that the result is the whole network: `comparison.py` holds it
against that like any other.

Why: an unrolled recurrence is thousands of nodes, torch's exporter takes some 20 ms for each, and the full graph has the same ones as the
window graph (mran: 2 500 nodes, about a minute on one core). Joining takes well under a second. A Scan would be a few dozen nodes, but
neither ONNX Runtime nor TensorRT optimises across its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from engines.terms import Part
from exporters.architecture import Exported
from exporters.onnx_graph import BATCH, OPSET, GraphRefused, finished

PREFIX = "frame/"
"""Before every name of the frame graph, so that none meets one of the window graph."""


def joinable(parts: Mapping[Part, Exported]) -> bool:
    """Say whether a model's full graph can be joined: it has both parts, and all that full names is in the window graph."""
    if not {"full", "frame", "window"} <= set(parts):
        return False
    full, window = parts["full"], parts["window"]
    return full.outputs == window.outputs and set(full.taps) <= set(window.taps)


def joined(frame: onnx.ModelProto, window: onnx.ModelProto, parts: Mapping[Part, Exported]) -> onnx.ModelProto:
    """Join the exported parts of a model: full's clips → every frame through `frame` → stacked → `window`.

    Raises:
        GraphRefused: `window` wants an input that `frame` does not give, or a name means two things.
    """
    given, wanted = {tensor.name: tensor for tensor in parts["full"].inputs}, parts["window"].inputs
    missing = sorted({tensor.name for tensor in wanted} - {output.name for output in frame.graph.output})
    if missing:
        raise GraphRefused(f"the window graph wants {', '.join(missing)}, which the frame graph does not give")
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for tensor in parts["frame"].inputs:
        name = tensor.name
        if tensor.dtype == "uint8":
            # Numbers before anything else: TensorRT does nothing with bytes but cast them. The frame graph's own cast has no work left.
            name = f"{PREFIX}{name}/numbers"
            nodes.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}/cast", to=onnx.TensorProto.FLOAT))
        nodes.append(_reshape(name, PREFIX + tensor.name, (-1, *given[tensor.name].shape[1:]), constants))
    inner = onnx.GraphProto()
    inner.CopyFrom(frame.graph)
    for node in inner.node:
        _rename(node)
        nodes.append(node)
    for constant in inner.initializer:
        constant.name = PREFIX + constant.name
        constants.append(constant)
    for tensor in wanted:
        nodes.append(_reshape(_numbers(nodes, PREFIX + tensor.name), tensor.name, (-1, *tensor.shape), constants))
    nodes += window.graph.node
    constants += window.graph.initializer
    _distinct([*given, *(output for node in nodes for output in node.output), *(constant.name for constant in constants)])
    outputs = list(window.graph.output)
    nodes = _needed(nodes, [*(output.name for output in outputs), *parts["full"].taps])
    used = {name for node in nodes for name in node.input}
    inputs = [helper.make_tensor_value_info(t.name, _element(frame, t.name), [BATCH, *t.shape]) for t in parts["full"].inputs]
    graph = helper.make_graph(nodes, "mien", inputs, outputs, [constant for constant in constants if constant.name in used])
    return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def _numbers(nodes: Sequence[onnx.NodeProto], name: str) -> str:
    """Return the name of the numbers that bytes were made of, where a graph gives bytes; else the name itself."""
    made = next(node for node in nodes if name in node.output)
    to_bytes = made.op_type == "Cast" and any(a.name == "to" and a.i == onnx.TensorProto.UINT8 for a in made.attribute)
    return str(made.input[0]) if to_bytes else name


def _reshape(value: str, name: str, shape: Sequence[int], constants: list[onnx.TensorProto]) -> onnx.NodeProto:
    constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}/shape"))
    return helper.make_node("Reshape", [value, f"{name}/shape"], [name], name=f"{name}/reshape")


def _rename(node: onnx.NodeProto) -> None:
    if any(attribute.HasField("g") for attribute in node.attribute):
        raise GraphRefused(f"{node.op_type} in the frame graph has a graph of its own; only the window graph may have such")
    node.name = PREFIX + node.name
    for field in (node.input, node.output):
        for index, name in enumerate(field):
            field[index] = PREFIX + name if name else ""


def _element(frame: onnx.ModelProto, name: str) -> int:
    return next(int(value.type.tensor_type.elem_type) for value in frame.graph.input if value.name == name)


def _distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise GraphRefused(f"{name!r} is a name in the frame graph and in the window graph; rename an output of the architecture")
        seen.add(name)


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Keep the nodes that outputs and taps need, in their order: `window` may take fewer than all of `frame`'s outputs."""
    wanted, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
