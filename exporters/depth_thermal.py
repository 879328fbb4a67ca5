"""Reading of depth and thermal pictures inside exported graphs.

Owns what turns metres and kelvin into a network's numbers: holes filled, the face's plane taken from depth, scale. Does not own the
measurement (counts to metres or kelvin: the camera's own) or the crop (`engines`), nor any network.

A pixel of 0 was not measured (a hole); inputs are NaN-free. Everything else here is ours: Lee et al. 2020 say only that the three
modalities are heterogeneous and give no scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RIDGE = 1e-6
"""Added to a direction's variance, in (half pictures)²: too few valid pixels give no slope, and not a division by 0."""


class DepthReading(nn.Module):
    """Metres (M, 1, S, S), 0 = invalid → distance from the face's own plane, over `scale` metres; holes → `fill` metres from it.

    The plane z = a·u + b·v + c is the least-squares one over the valid pixels: it takes off how far the head is and how it is
    turned, which are no expression. No valid pixel at all gives `fill` everywhere.
    """

    def __init__(self, size: int, scale: float, fill: float) -> None:
        super().__init__()
        line = torch.linspace(-1.0, 1.0, size, dtype=torch.float64)
        self.register_buffer("u", line.reshape(1, size), persistent=False)
        self.register_buffer("v", line.reshape(size, 1), persistent=False)
        self.u: Tensor
        self.v: Tensor
        self.scale, self.fill = scale, fill

    def forward(self, depth: Tensor) -> Tensor:
        metres = depth.to(self.u.dtype)
        valid = metres > 0
        weight = valid.to(metres.dtype)
        share = weight / weight.sum((-2, -1), keepdim=True).clamp(min=1.0)
        # One direction after the other, each freed of those before: no determinant, so nothing cancels in float32.
        centred = metres - _mean(share, metres)
        # Twice: a sum of thousands of metres leaves micrometres, and the face's relief is millimetres.
        centred = centred - _mean(share, centred)
        across = self.u - _mean(share, self.u)
        centred = centred - _slope(share, centred, across) * across
        down = self.v - _mean(share, self.v)
        down = down - _slope(share, down, across) * across
        centred = centred - _slope(share, centred, down) * down
        return torch.where(valid, centred, self.fill) / self.scale


class ThermalReading(nn.Module):
    """Kelvin (M, 1, S, S), 0 = invalid → (kelvin − `mean`) / `std`, holes filled with `fill` kelvin before."""

    def __init__(self, mean: float, std: float, fill: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64), persistent=False)
        self.mean: Tensor
        self.std, self.fill = std, fill

    def forward(self, thermal: Tensor) -> Tensor:
        kelvin = thermal.to(self.mean.dtype)
        return (torch.where(kelvin > 0, kelvin, self.fill) - self.mean) / self.std


def _mean(share: Tensor, values: Tensor) -> Tensor:
    return (share * values).sum((-2, -1), keepdim=True)


def _slope(share: Tensor, values: Tensor, direction: Tensor) -> Tensor:
    return _mean(share, values * direction) / (_mean(share, direction * direction) + RIDGE)
