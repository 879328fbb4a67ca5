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


def over_time(layer: nn.Conv3d, frames: Tensor, length: int) -> Tensor:
    """Apply a 3D convolution to clips of `length` frames that lie side by side, (N·T, C, H, W), as a 2D one over each frame with its
    neighbours' channels beside its own.

    The same sums: time is padded with zero frames to its old length, its stride is 1. On ONNX Runtime's processor kernels a 2D convolution
    does a third more per second than a 3D one (those of `facial_3dcnn_convlstm`, one thread: 52 against 38 GMAC/s). The clips stay side
    by side from layer to layer: a reshape to (N, T, …) in between makes OpenVINO reorder all its numbers, a tenth of a network's time.
    """
    depth, height, width = layer.kernel_size
    beside = torch.cat([neighbours(frames, length, k - depth // 2) for k in range(depth)], 1)
    weight = layer.weight.transpose(1, 2).flatten(1, 2)
    return functional.conv2d(beside, weight, layer.bias, layer.stride[1:], (height // 2, width // 2))


def neighbours(frames: Tensor, length: int, by: int) -> Tensor:
    """(N·T, C, H, W) → for each frame the one `by` later in its clip of `length`, a zero frame where the clip has none."""
    if by == 0:
        return frames
    times = torch.arange(length, device=frames.device) + by
    inside = ((times >= 0) & (times < length)).expand(frames.shape[0] // length, length).reshape(-1, 1, 1, 1)
    # Chosen and not multiplied by 0 or 1: another clip's infinity must not come in.
    return torch.where(inside, torch.cat([frames[by:], frames[:by]]), torch.zeros((), dtype=frames.dtype, device=frames.device))


def halved_over_time(frames: Tensor) -> Tensor:
    """Max pool (N·T, …) by 2 over time; T is even."""
    return torch.maximum(frames[0::2], frames[1::2])


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
