"""What half precision does to a graph's numbers, on a processor without half arithmetic.

Owns the rewriting of a half graph into a float32 one that rounds each value to half where it is made: a sum inside one operation is
float32's, its result half's, as tensor cores have it. onnxruntime's CPU provider runs half graphs too, but computes many of them in
float32 throughout, which would make half look better than it is. Does not own the making of half graphs (`half.py`).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a graph with every half value held in float32, rounded to half as soon as it is made."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    half = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        written = NodeProto()
        written.CopyFrom(node)
        for attribute in written.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        nodes.append(written)
        for place, name in enumerate(node.output):
            if name in half:
                written.output[place] = f"{name}.exact"
                nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.short"], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [f"{name}.short"], [name], to=TensorProto.FLOAT))
    constants = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        if tensor.data_type == TensorProto.FLOAT16
        else tensor
        for tensor in model.graph.initializer
    ]
    made = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, constants)
    return helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)


def open_rounding(model: onnx.ModelProto, threads: int = 1) -> ort.InferenceSession:
    """Open a half graph so that it rounds; nothing is optimised, for an optimiser takes two casts for nothing.

    Raises:
        ValueError: onnxruntime refuses it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(rounded(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
