"""What the networks of body gestures share: labels, the crop, the thumbnail that keyframes are chosen by, and the window.

Owns those and the checks of their options. Does not own any network, or the choice of keyframes (the service's).

Keyframes by `itq` and `kmeans` need features of every frame. The paper's are VGG16's fc7 (4096-d), which no small processor computes for
every frame of a camera; ours are a gray thumbnail, 16 × 16 cells, each the mean of the 8 × 8 pixels under it (256-d, 0–1), which costs
nothing beside the crop. For the paper's own, export VGG16 as a model of kind `features` and name it in the manifest's
`keyframes.model` and `requires`: it then goes before the thumbnail.
Source: Ly et al. 2019, section 2.1 (fc7, 16 bits); sections 3.1 (labels) and 3.2 (16 keyframes of 128 × 128 × 3).
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
from engines.terms import Dtype, Strict
from exporters.architecture import Labels, Role
from exporters.layers import Gray

SIZE, FRAMES, BUFFER, HOP = 128, 16, 64, 8
CELLS = 16
LABELS = ("anger", "anxiety", "boredom", "disgust", "fear", "happiness", "surprise", "puzzlement", "sadness", "uncertainty")
Selector = Literal["itq", "kmeans", "random", "stride", "uniform", "none"]
Width = Annotated[int, Field(ge=1, le=1024)]


class BodyOptions(Strict):
    """Options of every network here.

    `labels`: names of the classes; `selector`: which 16 of the clip (stride is the paper's "overlapping windows"; none: the last 16);
    `seed`: of random and kmeans; `crop`: upper-body (three face widths) or full (the whole picture).
    """

    labels: Labels = LABELS
    selector: Selector = "itq"
    seed: Annotated[int, Field(ge=0)] = 0
    crop: Literal["upper-body", "full"] = "upper-body"

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.seed and self.selector not in ("random", "kmeans"):
            raise ValueError(f"seed {self.seed} has no effect on selector {self.selector!r}; it is for random and kmeans: leave it out")
        return self

    @property
    def by_features(self) -> bool:
        """Say whether the choice of frames needs features of each."""
        return self.selector in ("itq", "kmeans")


class Thumbnail(nn.Module):
    """Gray 0–1 (M, 1, 128, 128) → (M, 256): the mean of each of 16 × 16 cells, row by row."""

    def forward(self, gray: Tensor) -> Tensor:
        return functional.avg_pool2d(gray, SIZE // CELLS).flatten(1)


class Passed(nn.Module):
    """The frame part of a network that looks at nothing but whole windows: uint8 RGB (M, 3, 128, 128) → itself, its thumbnail."""

    def __init__(self) -> None:
        super().__init__()
        self.gray, self.thumbnail = Gray(), Thumbnail()

    def forward(self, body: Tensor) -> tuple[Tensor, Tensor]:
        # There and back: TensorRT does nothing with bytes but cast them.
        return body.to(self.gray.luma.dtype).to(torch.uint8), self.thumbnail(self.gray(body))


def picture(name: str, dtype: Dtype = "uint8", channels: int = 3) -> TensorSpec:
    """Describe one picture."""
    return TensorSpec(name=name, dtype=dtype, shape=(channels, SIZE, SIZE))


def clip(name: str, dtype: Dtype = "uint8", channels: int = 3) -> TensorSpec:
    """Describe the pictures of a window."""
    return TensorSpec(name=name, dtype=dtype, shape=(FRAMES, channels, SIZE, SIZE))


def crops(options: BodyOptions) -> dict[str, CropSpec]:
    """Say what `body` is cut from."""
    return {"body": CropSpec(kind=options.crop, size=(SIZE, SIZE), align="none")}


def outputs(options: BodyOptions) -> dict[Role, str]:
    """Name what the graphs give by its role."""
    return {"probabilities": "probabilities", **({"features": "features"} if options.by_features else {})}


def window(options: BodyOptions) -> Window:
    """Say which samples make a window: 16 of the whole clip; live, of the last 64."""
    return Window(frames=FRAMES, buffer=FRAMES if options.selector == "none" else BUFFER, hop=HOP, scope="clip")


def keyframes(options: BodyOptions) -> Keyframes:
    """Say how the 16 are chosen."""
    drawn = options.selector in ("random", "kmeans")
    return Keyframes(selector=options.selector, features="features" if options.by_features else None, seed=options.seed if drawn else None)
