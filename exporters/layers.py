"""Pieces that several networks share: reading of pictures, and layers in the form that exports well.

Owns what turns camera values into a network's numbers (gray, mean and deviation, gamma) and small layers. Does not own recurrent
cells (`cells.py`) or any network. Everything here is part of exported graphs, so there is one implementation of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)
"""Source: ITU-R BT.601, luma from R, G, B."""


def dense(layer: nn.Linear, pooled: Tensor) -> Tensor:
    """Apply a fully connected layer to (N, C, 1, 1) as a 1×1 convolution.

    A matrix product with one row takes another path in ONNX Runtime than one with several; a convolution's rows do not depend
    on each other, and a face's result must not depend on the faces beside it.
    """
    return functional.conv2d(pooled, layer.weight[:, :, None, None], layer.bias)


def column(values: Tensor) -> Tensor:
    """(N, …) → (N, C, 1, 1), the form that `dense` takes."""
    return values.flatten(1)[:, :, None, None]


def folded(clips: Tensor) -> Tensor:
    """(N, T, C, H, W) → (N·T, C, H, W): what is per frame runs over all frames at once."""
    return clips.flatten(0, 1)


def unfolded(frames: Tensor, length: int) -> Tensor:
    """(N·T, …) → (N, T, …)."""
    return frames.reshape(-1, length, *frames.shape[1:])


def over_time(layer: nn.Conv3d, clips: Tensor) -> Tensor:
    """Apply a 3D convolution to (N, T, C, H, W), as a 2D one over each frame with its neighbours' channels beside its own.

    The same sums: time is padded with zero frames to its old length, its stride is 1. On ONNX Runtime's processor kernels a 2D convolution
    does a third more per second than a 3D one (those of `facial_3dcnn_convlstm`, one thread: 52 against 38 GMAC/s).
    """
    return unfolded(frames_over_time(layer, clips), clips.shape[1])


def frames_over_time(layer: nn.Conv3d, clips: Tensor) -> Tensor:
    """Do as `over_time`, and leave the frames side by side, (N·T, …).

    For an activation or a pool that follows: with a reshape in between ONNX Runtime does not work them as one.
    """
    depth, length = layer.kernel_size[0], clips.shape[1]
    around = functional.pad(clips, (0, 0, 0, 0, 0, 0, depth // 2, depth // 2))
    beside = torch.cat([around[:, k : k + length] for k in range(depth)], 2)
    weight = layer.weight.transpose(1, 2).flatten(1, 2)
    _, height, width = layer.kernel_size
    strides = layer.stride[1], layer.stride[2]
    return functional.conv2d(folded(beside), weight, layer.bias, strides, (height // 2, width // 2))


def mean_over_time(values: Tensor) -> Tensor:
    """(N, T, …) → (N, …), one frame added after the other.

    A reduction over an axis in the middle is added in another order by ONNX Runtime for one row than for several.
    """
    total, *others = values.unbind(1)
    for frame in others:
        total = total + frame
    return total / values.shape[1]


def blended(clips: Tensor, weights: Tensor) -> Tensor:
    """Sum the frames of (N, T, C, H, W), each times its weight (T,): (N, C, H, W).

    As a 1×1 convolution over frames: ONNX Runtime's sum over an axis in the middle adds in another order for one row than for several.
    """
    rows = functional.conv2d(clips.flatten(2, 3), weights[None, :, None, None])
    return rows.reshape(-1, *clips.shape[2:])


class Gray(nn.Module):
    """RGB 0–255 (…, 3, H, W), any dtype → gray 0–1 (…, 1, H, W) in the dtype of the buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA, dtype=torch.float64).reshape(3, 1, 1) / 255.0, persistent=False)
        self.luma: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures.to(self.luma.dtype) * self.luma).sum(-3, keepdim=True)


class Standardised(nn.Module):
    """Values (…, C, H, W), any dtype → (values / `top` − mean) / std per channel, in the dtype of the buffers.

    Mean and std are of values / `top`: (0.5,), (0.5,) with top 255 gives −1…1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], top: float = 255.0) -> None:
        super().__init__()
        if len(mean) != len(std) or any(not value > 0 for value in std):
            raise ValueError(f"mean {tuple(mean)} and std {tuple(std)} must be as long as each other, and each std above 0")
        centre, unit = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("factor", (1.0 / (unit * top)).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("offset", (-centre / unit).reshape(-1, 1, 1), persistent=False)
        self.factor: Tensor
        self.offset: Tensor

    def forward(self, values: Tensor) -> Tensor:
        return values.to(self.factor.dtype) * self.factor + self.offset


def lightened(gray: Tensor, gamma: float, below: float = 64 / 255) -> Tensor:
    """Raise dark frames to the power 1/gamma: those of gray 0–1 (…, 1, H, W) whose mean is under `below`.

    Source: Saurav et al. 2020, section IV-B ("gamma correction γ = 1.5 for dark images"); the threshold is ours.
    """
    dark = gray.mean((-2, -1), keepdim=True) < below
    return torch.where(dark, gray.clamp(min=1e-6).pow(1.0 / gamma), gray)
