"""fer_small: a small residual network for one face, 8 expressions; the default model.

Owns the network, its reading of a picture (gray, standardised) and its calibrated head. Does not own its training.

Input `face` uint8 (N, 3, 64, 64) RGB. Outputs `probabilities` float32 (N, 8) and `features` float32 (N, 128), from one graph.

    gray, standardised      1 × 64 × 64
    stem  5×5, stride 2    24 × 32 × 32
    l1    1 block          32 × 32 × 32
    l2    1 block, stride 2    64 × 16 × 16      (a pretrained 2-D trunk for other networks ends here)
    l3    2 blocks, stride 2  128 ×  8 ×  8
    l4    1 block, stride 2   128 ×  4 ×  4, mean over space → features
    fc    128 → 8, over the temperature, plus the prior correction, softmax

A block is 3×3, 3×3, squeeze-excitation (He et al. 2016, "Deep Residual Learning", basic block; Hu et al. 2018,
"Squeeze-and-Excitation Networks", ratio 8). Fully connected layers run as 1×1 convolutions: a matrix product with one row
takes another path in ONNX Runtime than one with several, and a face's result must not depend on the faces beside it.
"""

from __future__ import annotations

import torch
from pydantic import field_validator
from torch import Tensor, nn
from torch.nn import functional

from engines.manifest import CropSpec, Keyframes, Window
from engines.manifest import Tensor as TensorSpec
from engines.terms import Strict
from exporters.architecture import Blueprint, Exported
from exporters.layers import LUMA, dense

SIZE = 64
LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "contempt")
WIDTHS = (24, 32, 64, 128)
FLOOR = 8.0
"""Added to a face's standard deviation, in gray levels, so that a flat picture is not blown up."""
TEMPERATURE = 0.6547040343
"""Fitted on FER+'s PublicTest part; see the card."""
PRIOR = (0.3847229, 0.4643503, 0.6850781, 0.8565894, 1.2185605, 1.6135308, 0.7342844, 1.5996876)
"""−0.35 · log(share of the label in training), added to the logits; see the card."""


class Excitation(nn.Module):
    """Weighs channels by what is in them. (N, C, H, W) → the same."""

    def __init__(self, channels: int, ratio: int = 8) -> None:
        super().__init__()
        self.a = nn.Linear(channels, channels // ratio)
        self.b = nn.Linear(channels // ratio, channels)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.mean((2, 3), keepdim=True)
        return maps * torch.sigmoid(dense(self.b, functional.relu(dense(self.a, pooled))))


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Make a convolution without bias, then batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3×3 convolutions with excitation, added to the input; a 1×1 convolution (and 2×2 mean) where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.a = convolution(inputs, outputs, 3, stride)
        self.b = convolution(outputs, outputs, 3)
        self.se = Excitation(outputs)
        self.d: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.d = nn.Sequential(nn.AvgPool2d(2) if stride == 2 else nn.Identity(), convolution(inputs, outputs, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.se(self.b(functional.relu(self.a(maps)))) + self.d(maps))


class Options(Strict):
    """`labels`: names of the eight classes, in the network's order."""

    labels: tuple[str, ...] = LABELS

    @field_validator("labels")
    @classmethod
    def _as_many(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(labels) != len(LABELS):
            raise ValueError(f"{len(labels)} labels were given, the network has {len(LABELS)}: {', '.join(LABELS)}")
        return labels


def evened(gray: Tensor) -> Tensor:
    """Gray levels 0–255 (N, 1, H, W) → mean 0, scaled by the picture's own deviation."""
    centred = gray - gray.mean((2, 3), keepdim=True)
    deviation = (centred * centred).mean((2, 3), keepdim=True).sqrt()
    return centred / (deviation + FLOOR)


class FerSmall(nn.Module):
    """uint8 RGB (N, 3, 64, 64) → probabilities (N, 8), features (N, 128). Module names are the checkpoint's keys."""

    def __init__(self) -> None:
        super().__init__()
        w = WIDTHS
        self.stem = convolution(1, w[0], 5, 2)
        self.l1 = nn.Sequential(Block(w[0], w[1]))
        self.l2 = nn.Sequential(Block(w[1], w[2], 2))
        self.l3 = nn.Sequential(Block(w[2], w[3], 2), Block(w[3], w[3]))
        self.l4 = Block(w[3], w[3], 2)
        self.fc = nn.Linear(w[3], len(LABELS))
        self.register_buffer("luma", torch.tensor(LUMA, dtype=torch.float64).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("prior", torch.tensor(PRIOR, dtype=torch.float64).reshape(1, -1, 1, 1), persistent=False)
        self.luma: Tensor
        self.prior: Tensor

    def standardised(self, face: Tensor) -> Tensor:
        """RGB 0–255 (N, 3, H, W) → gray (N, 1, H, W), mean 0, scaled by its own deviation."""
        return evened((face.to(self.luma.dtype) * self.luma).sum(1, keepdim=True))

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor]:
        maps = functional.relu(self.stem(self.standardised(face)))
        pooled = self.l4(self.l3(self.l2(self.l1(maps)))).mean((2, 3), keepdim=True)
        logits = dense(self.fc, pooled) / TEMPERATURE + self.prior
        return logits.flatten(1).softmax(1), pooled.flatten(1)


def describe(options: Options) -> Blueprint:
    """Build the blueprint: a per-frame network, 16 frames chosen of 32, their probabilities averaged."""
    network = FerSmall()
    face = TensorSpec(name="face", dtype="uint8", shape=(3, SIZE, SIZE))
    return Blueprint(
        title="fer_small: 8 expressions from one face",
        network=network,
        parts={"frame": Exported(network, (face,), ("probabilities", "features"))},
        labels=options.labels,
        crops={"face": CropSpec(kind="face", size=(SIZE, SIZE), scale=1.2, align="eyes")},
        outputs={"probabilities": "probabilities", "features": "features"},
        window=Window(frames=16, buffer=32, hop=4),
        keyframes=Keyframes(selector="itq", features="features"),
        aggregate="mean-probabilities",
        dropped=("aux.",),
        options={"temperature": TEMPERATURE, "prior_correction": 0.35},
    )
