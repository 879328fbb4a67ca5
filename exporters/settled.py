"""A graph whose weights are constants outright, as precisions other than float32 are made from.

Owns the folding of what torch's exporter leaves before a weight (a Reshape, an Unsqueeze). Does not own any precision.
"""

from __future__ import annotations

import onnx
import onnx_ir
from onnx_ir.passes import Sequential, common
from onnxscript import optimizer

_ANY_SIZE = 2**31


def settled(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a graph with everything that follows from constants alone computed."""
    network = onnx_ir.from_proto(model)
    optimizer.fold_constants(network, onnx_shape_inference=False, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE)
    Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
    )(network)
    made: onnx.ModelProto = onnx_ir.to_proto(network)
    return made
