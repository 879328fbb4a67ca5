"""frame_cnn: a plain per-frame network whose window is the mean of its frames.

Owns the network: convolutional stages, the mean over space, one layer for labels and one for valence-arousal. Does not own foreign
graphs of this kind (`mien-export frame-cnn FILE.onnx` takes those as they are).

Input `face` uint8 (N, 3, S, S) RGB. Outputs `features` float32 (N, last width), and as asked for `probabilities` (N, labels),
`valence` (N, 1) and `arousal` (N, 1) in [−1, 1].

    gray or colour, standardised     1 or 3 × S × S
    per width: `depth` × (3×3, batch norm, ReLU), 2×2 max pool      width × S/2^k × S/2^k
    mean over space → features, fully connected → labels, valence-arousal

Source: Simonyan & Zisserman 2015 (stages of 3×3 convolutions); Lin et al. 2014 (mean over space before the last layer). How frames make
a window is the runtime's arithmetic, declared as `aggregate` in the manifest.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from engines.manifest import CropSpec, Keyframes, Window
from engines.manifest import Tensor as TensorSpec
from engines.terms import Strict
from exporters.architecture import Blueprint, Exported, Role, View
from exporters.layers import Gray, Standardised, dense

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
Width = Annotated[int, Field(ge=1, le=4096)]


class Options(Strict):
    """All free: the papers compare against such networks without fixing one.

    `labels`: names of the classes, empty for none; `affect`: whether valence and arousal are given; `size`: S, pixels; `color`: gray
    (one channel) or rgb; `mean`, `std`: per channel, of values in 0–1; `widths`: channels per stage; `depth`: convolutions per stage;
    `aggregate`: mean-probabilities, mean-logits or confidence-weighted.
    """

    labels: tuple[str, ...] = LABELS
    affect: bool = False
    size: Annotated[int, Field(ge=16, le=512)] = 64
    color: Literal["gray", "rgb"] = "gray"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    widths: tuple[Width, ...] = (32, 64, 128, 256)
    depth: Annotated[int, Field(ge=1, le=8)] = 2
    aggregate: Literal["mean-probabilities", "mean-logits", "confidence-weighted"] = "mean-probabilities"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.labels) == 1 or (not self.labels and not self.affect):
            raise ValueError("give at least two labels, or none and affect=true: the network must say something")
        if not self.labels and self.aggregate != "mean-probabilities":
            raise ValueError(f"aggregate {self.aggregate!r} weighs by probabilities; without labels there are none")
        channels = 1 if self.color == "gray" else 3
        if len(self.mean) not in (1, channels) or len(self.std) not in (1, channels):
            raise ValueError(f"mean {self.mean} and std {self.std} must have 1 or {channels} values for color {self.color!r}")
        if not self.widths or self.size % 2 ** len(self.widths):
            raise ValueError(
                f"size {self.size} must be divisible by 2 as often as there are stages; widths {self.widths} make {len(self.widths)}"
            )
        return self


class FrameCnn(nn.Module):
    """uint8 RGB (N, 3, S, S) → features, then probabilities and valence, arousal as the options ask."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        channels = 1 if options.color == "gray" else 3
        self.gray = Gray() if channels == 1 else None
        self.standardised = Standardised(_each(options.mean, channels), _each(options.std, channels), 1.0 if channels == 1 else 255.0)
        stages, inputs = [], channels
        for width in options.widths:
            layers: list[nn.Module] = []
            for _ in range(options.depth):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(inputs, len(options.labels)) if options.labels else None
        self.affect = nn.Linear(inputs, 2) if options.affect else None

    def frame(self, face: Tensor) -> tuple[Tensor, ...]:
        values = self.gray(face) if self.gray is not None else face
        pooled = self.stages(self.standardised(values)).mean((2, 3), keepdim=True)
        said = [pooled.flatten(1)]
        if self.fc is not None:
            said.append(functional.softmax(dense(self.fc, pooled).flatten(1), 1))
        if self.affect is not None:
            said += list(torch.tanh(dense(self.affect, pooled)).flatten(1).chunk(2, 1))
        return tuple(said)


def _each(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def describe(options: Options) -> Blueprint:
    """Build the blueprint: a per-frame network, 16 frames chosen of 32."""
    network = FrameCnn(options)
    outputs: dict[Role, str] = {"features": "features"}
    if options.labels:
        outputs["probabilities"] = "probabilities"
    if options.affect:
        outputs |= {"valence": "valence", "arousal": "arousal"}
    face = TensorSpec(name="face", dtype="uint8", shape=(3, options.size, options.size))
    return Blueprint(
        title="frame_cnn: a per-frame network, frames averaged",
        network=network,
        parts={"frame": Exported(View(network, "frame"), (face,), tuple(outputs))},
        labels=options.labels,
        crops={"face": CropSpec(kind="face", size=(options.size, options.size), scale=1.2, align="eyes")},
        outputs=outputs,
        window=Window(frames=16, buffer=32, hop=4),
        keyframes=Keyframes(selector="itq", features="features"),
        aggregate=options.aggregate,
    )
