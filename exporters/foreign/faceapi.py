"""face-api's expression network, from the weights of npm `@vladmandic/face-api`.

Owns the graph, built anew from the TensorFlow.js weights, and a float64 torch reading of the same weights to hold it against.
Does not own the weights.

Input `face` uint8 (N, 3, 112, 112) RGB; mean colour and 1/255 inside. Outputs `probabilities` float32 (N, 7), `features`
float32 (N, 256), the mean over space before the last layer.

Four blocks of 32, 64, 128, 256 channels, each halving the size: a convolution of stride 2 (depthwise-separable but in the first
block) and ReLU, then three separable ones, each fed with the ReLU of the sum of all before. TensorFlow's SAME padding: with stride 2 on an
even size the odd pixel is right and below. The head's logits are divided by 3.6 (the card says why).
Source: face-api.js by Vincent Mühler, `FaceExpressionNet` on `FaceFeatureExtractor` (`denseBlock4`), as packaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch.nn import functional

from engines.manifest import Tensor
from exporters.onnx_graph import GraphBuilder, same_pads

SIZE = 112
LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
MEAN = (122.782, 117.001, 104.298)
"""Mean red, green, blue that the network was trained with."""
TEMPERATURE = 3.6
BLOCKS = 4
FEATURES = 256

Weights = Mapping[str, NDArray[np.float32]]


def convert(weights: Weights) -> onnx.ModelProto:
    """Build the graph."""
    builder = GraphBuilder()
    mean = builder.constant(np.reshape(MEAN, (1, 3, 1, 1)))
    value = builder.node("Cast", "face", to=onnx.TensorProto.FLOAT)
    value = builder.node("Div", builder.node("Sub", value, mean), builder.constant(255.0))
    size = SIZE

    def convolve(value: str, size: int, name: str, stride: int) -> str:
        before, after = same_pads(size, 3, stride)
        pads = (before, before, after, after)
        if name == "dense0/conv0":
            return builder.conv(value, _dense(weights[f"{name}/filters"]), weights[f"{name}/bias"], stride=stride, pads=pads)
        depthwise = _depthwise(weights[f"{name}/depthwise_filter"])
        spread = builder.conv(value, depthwise, stride=stride, pads=pads, group=len(depthwise))
        return builder.conv(spread, _dense(weights[f"{name}/pointwise_filter"]), weights[f"{name}/bias"])

    for block in range(BLOCKS):
        value = total = builder.node("Relu", convolve(value, size, f"dense{block}/conv0", 2))
        size = -(-size // 2)
        for index in range(1, 4):
            total = builder.node("Add", total, convolve(value, size, f"dense{block}/conv{index}", 1))
            value = builder.node("Relu", total)
    pooled = builder.node("AveragePool", value, kernel_shape=[size, size])
    # The last layer as a 1×1 convolution: a matrix product with one row takes another path than one with several.
    logits = builder.conv(pooled, weights["fc/weights"].T[:, :, None, None], weights["fc/bias"])
    calibrated = builder.node("Div", builder.node("Flatten", logits), builder.constant(TEMPERATURE))
    builder.node("Softmax", calibrated, axis=1, name="probabilities")
    builder.node("Flatten", pooled, name="features")
    face = Tensor(name="face", dtype="uint8", shape=(3, SIZE, SIZE))
    outputs = [
        Tensor(name="probabilities", dtype="float32", shape=(len(LABELS),)),
        Tensor(name="features", dtype="float32", shape=(FEATURES,)),
    ]
    return builder.model("face_api_expression", [face], outputs)


def reference(weights: Weights) -> Callable[[Mapping[str, NDArray[np.generic]]], dict[str, NDArray[np.generic]]]:
    """Read the same weights in torch, float64: a function of {`face`} to {`probabilities`, `features`}."""
    tensors = {name: torch.from_numpy(values.astype(np.float64)) for name, values in weights.items()}

    def separable(maps: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        filters = tensors[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
        spread = functional.conv2d(_same(maps, stride), filters, stride=stride, groups=len(filters))
        return functional.conv2d(spread, tensors[f"{name}/pointwise_filter"].permute(3, 2, 0, 1), tensors[f"{name}/bias"])

    def forward(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        maps = torch.from_numpy(np.asarray(inputs["face"])).double()
        maps = (maps - torch.tensor(MEAN, dtype=torch.float64).reshape(1, 3, 1, 1)) / 255
        for block in range(BLOCKS):
            if block == 0:
                filters = tensors["dense0/conv0/filters"].permute(3, 2, 0, 1)
                entering = functional.conv2d(_same(maps, 2), filters, tensors["dense0/conv0/bias"], stride=2)
            else:
                entering = separable(maps, f"dense{block}/conv0", 2)
            first = functional.relu(entering)
            second = separable(first, f"dense{block}/conv1", 1)
            third = separable(functional.relu(first + second), f"dense{block}/conv2", 1)
            fourth = separable(functional.relu(first + second + third), f"dense{block}/conv3", 1)
            maps = functional.relu(first + second + third + fourth)
        features = maps.mean((2, 3))
        logits = features @ tensors["fc/weights"] + tensors["fc/bias"]
        return {"probabilities": (logits / TEMPERATURE).softmax(1).numpy(), "features": features.numpy()}

    return forward


def _same(maps: torch.Tensor, stride: int) -> torch.Tensor:
    down, across = (same_pads(size, 3, stride) for size in maps.shape[2:])
    return functional.pad(maps, (*across, *down))


def _dense(filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """(kH, kW, in, out) → (out, in, kH, kW)."""
    return np.ascontiguousarray(filters.transpose(3, 2, 0, 1))


def _depthwise(filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """(kH, kW, channels, 1) → (channels, 1, kH, kW)."""
    return np.ascontiguousarray(filters.transpose(2, 3, 0, 1))
