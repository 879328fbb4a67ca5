"""A ResNet-50 with a sixteenth of the channels and hardly any stride, for pictures of 64 × 64.

Owns the table of its kernels and the network. Does not own what it looks at (`architectures/enhanced_convlstm.py`).

At `base` = 16, as the paper has it (3, 64, 64 in; bottlenecks: 1×1, 3×3, 1×1):

    conv1     3×3, 16                 16 × 64 × 64
    conv2_x   16, 16,  32   × 3       32 × 64 × 64
    conv3_x   32, 32,  64   × 4       64 × 32 × 32     (stride 2)
    conv4_x   64, 32, 128   × 6      128 × 16 × 16     (stride 2)
    conv5_x  128, 64, 128   × 3      128 ×  8 ×  8     (stride 2)

Source: Miyoshi et al. 2020, Table 1, as printed: conv4's 3×3 has half the channels before it, conv5's a half as well, and conv5 ends
with as many channels as conv4. Strides and the missing pooling layer follow from the 128 × 8 × 8 that all streams are summed in. He et
al. 2016, Fig. 5 (bottleneck), section 3.3 (1×1 projection where the shape changes), section 3.4 (batch normalisation after each
convolution).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

TABLE = (((1, 1, 2), 3, 1), ((2, 2, 4), 4, 2), ((4, 2, 8), 6, 2), ((8, 4, 8), 3, 2))
"""Per stage: the channels of a block's three convolutions over `base`; how many blocks; the first one's stride."""
TOP = TABLE[-1][0][-1]
"""Channels of the last stage over `base`."""
StrideAt = Literal["3x3", "1x1"]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Make a convolution without bias, then batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, added to the input, which is projected where the shape changes. (N, C, H, W) → (N, last width, H/stride, W/stride)."""

    def __init__(self, inputs: int, widths: tuple[int, int, int], stride: int, stride_at: StrideAt) -> None:
        super().__init__()
        narrow, middle, wide = widths
        first, second = (stride, 1) if stride_at == "1x1" else (1, stride)
        self.a = convolution(inputs, narrow, 1, first)
        self.b = convolution(narrow, middle, 3, second)
        self.c = convolution(middle, wide, 1)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != wide or stride != 1:
            self.shortcut = convolution(inputs, wide, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.b(functional.relu(self.a(maps))))
        return functional.relu(self.c(inner) + self.shortcut(maps))


class SmallResNet(nn.Module):
    """(N, inputs, 64, 64) → (N, 8·base, 8, 8)."""

    def __init__(self, inputs: int, base: int, stride_at: StrideAt) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, base, 3)
        before, stages = base, []
        for shares, blocks, stride in TABLE:
            widths = (shares[0] * base, shares[1] * base, shares[2] * base)
            stages.append(
                nn.Sequential(
                    *(
                        Bottleneck(before if k == 0 else widths[2], widths, stride if k == 0 else 1, stride_at)
                        for k in range(blocks)
                    )
                )
            )  # fmt: skip
            before = widths[2]
        self.conv2, self.conv3, self.conv4, self.conv5 = stages

    def forward(self, pictures: Tensor) -> Tensor:
        maps: Tensor = functional.relu(self.conv1(pictures))
        for stage in (self.conv2, self.conv3, self.conv4, self.conv5):
            maps = stage(maps)
        return maps

    def spread_out(self, generator: torch.Generator) -> None:
        """Draw batch statistics, and weaken what each block adds: 16 blocks that double the variance would push tanh to its ends."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values, low, high in (
                    (module.weight, 0.7, 1.3), (module.bias, -0.2, 0.2), (module.running_mean, -0.2, 0.2), (module.running_var, 0.7, 1.3)
                ):  # fmt: skip
                    assert values is not None
                    nn.init.uniform_(values, low, high, generator=generator)
        for module in self.modules():
            if isinstance(module, Bottleneck):
                with torch.no_grad():
                    module.c[1].weight.mul_(0.3)  # type: ignore[operator]
