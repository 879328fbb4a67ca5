"""Small ONNX files as other people's exporters write them: old opsets, fixed batches, channels last, functions, weights among inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class Foreign:
    """Nodes and constants in the order of the calls, plain `onnx.helper`, seeded weights."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: object, dtype: Any = np.float32) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, *shape: int) -> str:
        fan = int(np.prod(shape[1:]))
        return self.constant(self.rng.standard_normal(shape) * np.sqrt(2 / fan))

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def trunk(self, value: str, channels: int, width: int = 16) -> str:
        """Two convolutions of stride 4 and the mean over space: (N, channels, H, W) → (N, width, 1, 1)."""
        value = self.node("Relu", self.node("Conv", value, self.weight(8, channels, 5, 5), strides=[4, 4]))
        value = self.node("Relu", self.node("Conv", value, self.weight(width, 8, 3, 3), strides=[2, 2]))
        return self.node("GlobalAveragePool", value)

    def file(
        self, shape: Sequence[int | str], outputs: dict[str, Sequence[int | str]], opset: int = 11, kind: int = TensorProto.FLOAT
    ) -> bytes:
        given = helper.make_tensor_value_info("input", kind, list(shape))
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes)) for name, sizes in outputs.items()]
        graph = helper.make_graph(self.nodes, "theirs", [given], values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data


def emotiefflib(outputs: int = 8, batch: int | str = "batch_size", side: int = 224) -> bytes:
    """The interface of EmotiEffLib's files: (N, 3, S, S) → scores, not probabilities, from one fully connected layer."""
    net = Foreign()
    pooled = net.trunk("input", 3)
    # A fixed batch is written into the reshape, as torch's old exporter does.
    flat = net.node("Flatten", pooled) if batch != 1 else net.node("Reshape", pooled, net.constant([1, -1], np.int64))
    net.node("Gemm", flat, net.weight(outputs, 16), net.constant(np.zeros(outputs)), name="output", transB=1)
    return net.file([batch, 3, side, side], {"output": [batch, outputs]})


def mini_xception(side: int = 64) -> bytes:
    """The interface of fer's and human's networks as converted from TensorFlow: (N, S, S, 1) → 7 probabilities."""
    net = Foreign(3)
    value = net.node("Transpose", "input", perm=[0, 3, 1, 2])
    scores = net.node("Squeeze", net.trunk(value, 1, 7), axes=[2, 3])
    net.node("Softmax", scores, name="predictions", axis=1)
    return net.file(["unk__1", side, side, 1], {"predictions": ["unk__1", 7]})


def embedding(outputs: tuple[str, ...] = ("features",), side: int = 64) -> bytes:
    """An embedding network, (N, 3, S, S) → 32 numbers; with a first output of 10 scores where two names are given."""
    net = Foreign(5)
    flat = net.node("Flatten", net.trunk("input", 3, 32), name=outputs[-1])
    widths = {outputs[-1]: 32}
    if len(outputs) == 2:
        net.node("Gemm", flat, net.weight(32, 10), name=outputs[0])
        widths = {outputs[0]: 10, **widths}
    return net.file(["N", 3, side, side], {name: ["N", width] for name, width in widths.items()}, opset=13)


def clips(layout: str = "NCTHW", frames: int = 4, side: int = 32) -> bytes:
    """A 3-D convolution over a clip, 3 scores."""
    net = Foreign(7)
    sizes: dict[str, int | str] = {"N": "N", "C": 3, "T": frames, "H": side, "W": side}
    value, wanted = "input", "NCTHW"
    if layout != wanted:
        value = net.node("Transpose", "input", perm=[layout.index(axis) for axis in wanted])
    value = net.node("Relu", net.node("Conv", value, net.weight(8, 3, 3, 3, 3), strides=[1, 2, 2]))
    flat = net.node("Flatten", net.node("GlobalAveragePool", value))
    net.node("Gemm", flat, net.weight(8, 3), name="scores")
    return net.file([sizes[axis] for axis in layout], {"scores": ["N", 3]})


def values(data: bytes, rows: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """Run a file on onnxruntime, one row at a time; its outputs in order."""
    from exporters.invariance import open_session

    session = open_session(data)
    each = [session.run(None, {session.get_inputs()[0].name: rows[index : index + 1]}) for index in range(len(rows))]
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]
