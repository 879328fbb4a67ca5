"""A torch network to an ONNX graph: opset 20, dynamic batch, all else static, one file, the same bytes each time.

Owns the export and the cleaning of what the exporter leaves (stack traces, paths, functions). Does not own the rules
(`onnx_graph.py`) or the comparison with the network (`parity.py`).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence

import onnx
import torch
from onnx_ir.passes import Sequential, common
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import materialize_reshape_shape_rule
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engines.manifest import Tensor
from engines.terms import Dtype
from exporters.architecture import Exported, View
from exporters.onnx_graph import OPSET, GraphRefused, finished

MANY = 3000
"""Nodes above which `simplified` takes the short way."""
_TORCH: dict[Dtype, torch.dtype] = {"uint8": torch.uint8, "float32": torch.float32, "int64": torch.int64}


def example(tensor: Tensor, rows: int) -> torch.Tensor:
    """Make a tensor of `rows` rows to trace with."""
    return torch.zeros((rows, *tensor.shape), dtype=_TORCH[tensor.dtype])


def folded(module: nn.Module) -> nn.Module:
    """Copy a module for inference, every batch normalisation folded into the convolution before it, in float64.

    A module's own `fold()` runs too, where it has one: for what it can work into its weights once and for all.
    """
    copied = copy.deepcopy(module).double().eval()
    for parent in list(copied.modules()):
        fold = getattr(parent, "fold", None)
        if fold is not None:
            fold()
        if not isinstance(parent, nn.Sequential):
            continue
        for index in range(len(parent) - 1):
            first, second = parent[index], parent[index + 1]
            if isinstance(first, nn.Conv2d | nn.Conv3d) and isinstance(second, nn.BatchNorm2d | nn.BatchNorm3d):
                parent[index], parent[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return copied.float()


def export(part: Exported) -> onnx.ModelProto:
    """Export one graph of a network.

    Taps are traced as outputs, so that they keep their names, and taken from the outputs afterwards.

    Raises:
        GraphRefused: what came out breaks a rule (an operator of another domain, a second dynamic axis, …).
    """
    inputs = [tensor.name for tensor in part.inputs]
    batch = torch.export.Dim("N", min=1, max=4096)
    # Says at every export which of torchvision's operators it does not know; none is used.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch's exporter warns about its own internals, not about the network.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message="# The axis name: N", category=UserWarning)  # several inputs share the batch
        program = torch.onnx.export(
            folded(part.module),
            tuple(example(tensor, 2) for tensor in part.inputs),
            input_names=inputs,
            output_names=[*part.outputs, *part.taps],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            dynamic_shapes=_axes(part, batch),
            verbose=False,
            optimize=False,
        )
    if program is None:
        raise GraphRefused("torch.onnx.export returned nothing")
    simplified(program)
    model = program.model_proto
    del model.graph.output[len(part.outputs) :]
    _measure_after_cast(model.graph)
    return finished(_cleaned(model, inputs, part.outputs))


def simplified(program: torch.onnx.ONNXProgram) -> None:
    """Fold constants and leave out what does nothing, in place.

    torch's own optimiser holds every node against every rewriting rule. On an unrolled recurrence of thousands of nodes that takes
    longer than all else together and takes away hardly any (`enhanced_convlstm`: 197 s of one core for 4 231 nodes, against 64 s for
    4 241), so a graph of more than `MANY` nodes gets one of its rules alone: shapes that are known are written down.
    """
    if len(program.model.graph) <= MANY:
        program.optimize()
        return
    model = program.model
    common.InlinePass()(model)
    for _ in range(2):
        optimizer.fold_constants(model, onnx_shape_inference=True)
        rewriter.rewrite(model, [materialize_reshape_shape_rule])
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def _axes(part: Exported, batch: object) -> tuple[object, ...]:
    each = tuple({0: batch} for _ in part.inputs)
    # A View takes its inputs as one `*inputs`.
    return (each,) if isinstance(part.module, View) else each


def _measure_after_cast(graph: onnx.GraphProto) -> None:
    """Take the length of the batch from a picture's numbers and not from its bytes: TensorRT lets nothing else at bytes than their cast."""
    raw = {value.name for value in graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    casts = {node.input[0]: node for node in reversed(graph.node) if node.op_type == "Cast" and node.input[0] in raw}
    measured = [node for node in graph.node if node.op_type == "Shape" and node.input[0] in casts]
    for node in measured:
        node.input[0] = casts[node.input[0]].output[0]
    if measured:
        # These casts wait for no node, so they may come first, before whoever asks for a shape.
        first = list(casts.values())
        nodes = first + [node for node in graph.node if not any(node is cast for cast in first)]
        nodes = [copy.deepcopy(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(nodes)


def _cleaned(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Drop what is not the graph: stack traces and paths of this machine, inner shapes, names of other domains."""
    graph = model.graph
    graph.name = "mien"
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    kept = {"": OPSET}
    for entry in list(model.opset_import):
        if entry.domain not in kept and not any(node.domain == entry.domain for node in graph.node):
            model.opset_import.remove(entry)
    for item in [*graph.node, *graph.initializer, *graph.input, *graph.output]:
        item.doc_string = ""
        del item.metadata_props[:]
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    found = [value.name for value in graph.input], [value.name for value in graph.output]
    if found != (list(inputs), list(outputs)):
        raise GraphRefused(f"the exported graph has inputs {found[0]} and outputs {found[1]}; wanted {list(inputs)} and {list(outputs)}")
    return model
