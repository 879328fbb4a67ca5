"""A float32 graph to one of eight-bit convolutions and matrix products, calibrated on rows.

Owns the settings of onnxruntime's quantiser and the form they give. Does not own the rows (`reduced.py`), the proof of the form
(`quantized_rules.py`) or how good the result is (`precision.py`).

The form is the one that TensorRT takes: a pair of QuantizeLinear and DequantizeLinear before each convolution and matrix product,
symmetric signed eight bits with zero point 0, weights per output channel, biases float. What lies between (recurrent gates, softmax,
norms, transposed convolutions) stays float32, and so do results: sums go on in float32.
"""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from exporters import quantized_rules
from exporters.onnx_graph import OPSET, finished
from exporters.quantized_rules import QUANTIZED
from exporters.ranges import RowReader, Rows, unheard

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_SETTINGS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,  # TensorRT refuses the int32 form
    "DedicatedQDQPair": False,
    "AddQDQPairToWeight": False,  # eight-bit numbers in the file, not float ones that are rounded at each start
    "OpTypesToExcludeOutputQuantization": sorted(QUANTIZED),
    "MatMulConstBOnly": True,
    "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
}


def quantized(model: onnx.ModelProto, rows: Rows) -> onnx.ModelProto:
    """Copy a graph with its convolutions and matrix products in eight bits, ranges as they are over `rows`; inputs and outputs stay.

    Raises:
        exporters.onnx_graph.GraphRefused: the result is not of the form.
    """
    # Advises at each call what `settled` has done already.
    logging.getLogger().addFilter(_no_advice)
    try:
        with unheard():
            return _quantized(model, rows)
    finally:
        logging.getLogger().removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in str(record.msg)


def _quantized(model: onnx.ModelProto, rows: Rows) -> onnx.ModelProto:
    with TemporaryDirectory() as directory:
        out = Path(directory, "quantized.onnx")
        quantize_static(
            _named(model), out, RowReader(rows),
            quant_format=QuantFormat.QDQ, op_types_to_quantize=sorted(QUANTIZED), per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            extra_options=_SETTINGS,
        )  # fmt: skip
        made = onnx.load_model(out)
    del made.graph.value_info[:]
    for entry in list(made.opset_import):
        if entry.domain not in ("", "ai.onnx"):
            made.opset_import.remove(entry)
        elif entry.version != OPSET:
            entry.version = OPSET
    _only_where_wanted(made.graph)
    quantized_rules.check(made)
    return finished(made)


def _only_where_wanted(graph: onnx.GraphProto) -> None:
    """Give the float value back to every other reader of a value that was rounded for a convolution or matrix product."""
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in QUANTIZED:
            continue
        for place, name in enumerate(node.input):
            pair = made_by.get(name)
            before = made_by.get(pair.input[0]) if pair is not None and pair.op_type == "DequantizeLinear" else None
            if before is not None and before.op_type == "QuantizeLinear":
                node.input[place] = before.input[0]
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        kept = [node for node in graph.node if node.op_type not in _PAIR or read & set(node.output)]
        if len(kept) == len(graph.node):
            return
        del graph.node[:]
        graph.node.extend(kept)


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a graph with a name on every node, by which the quantiser tells them apart, and outputs that nothing in it reads."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    read = {name for node in graph.node for name in node.input}
    for name in [value.name for value in graph.output if value.name in read]:
        # The quantiser would round the output along with what is read.
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [f"{name}_read" if one == name else one for one in names]
        graph.node.append(helper.make_node("Identity", [f"{name}_read"], [name]))
    for index, node in enumerate(graph.node):
        node.name = f"n{index}_{node.op_type}"
    return copied
