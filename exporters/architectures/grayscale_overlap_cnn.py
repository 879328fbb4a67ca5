"""grayscale_overlap_cnn: a 2D CNN on one picture that holds the motion of 16 keyframes, later motion brighter.

Owns the overlapping and the network. Does not own the crop, the features that keyframes are chosen by (`body.py`), or the choice itself.

Input `body` uint8 (N, 16, 3, 128, 128) RGB. Output `probabilities` float32 (N, labels). With w = 32:

    gray 0–1, overlapped, over its max      1 × 128 × 128
    c1 3×3, ReLU, max pool 2                w ×  64 ×  64
    c2 3×3, ReLU, max pool 2               2w ×  32 ×  32
    c3 3×3, ReLU, max pool 2               4w ×  16 ×  16
    c4 3×3, ReLU, max pool 2               4w ×   8 ×   8
    fc1, ReLU                              hidden
    fc2, softmax                           labels

Source: Ly et al. 2019, section 2.3 ("Grayscale overlapping") and Table 3; the paper says "typical 2D CNN", so its layers are ours.

Three graphs. `frame`: one body → `gray`, and `features` where keyframes go by them. `window`: 16 `gray` → `probabilities`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.terms import Part
from exporters import body
from exporters.architecture import Blueprint, Exported, View
from exporters.body import BodyOptions, Width
from exporters.layers import Gray, blended, column, dense

TAPS = ("overlap", "c1", "c2", "c3", "c4")


class Options(BodyOptions):
    """The paper leaves the 2D CNN open.

    `labels`: names of the classes; `selector`: which 16 of the clip (stride is the paper's "overlapping windows"; none: the last 16);
    `seed`: of random and kmeans; `crop`: upper-body (three face widths) or full (the whole picture); `width`: w; `hidden`: units of fc1.
    """

    width: Width = 32
    hidden: Width = 128


def overlapped(gray: Tensor) -> Tensor:
    """Gray (N, T, 1, H, W) → M (N, 1, H, W), 0–1: M = Σ_{i=1..T−1} |F_{i−1} − F_i| · (i/t), t = T − 1, then over its largest value.

    Frames that are all alike give 0 everywhere.
    Source: Ly et al. 2019, section 2.3, the equation of M. It sums to N, one frame more than there are; and it leaves M's range open.
    """
    steps = gray.shape[1] - 1
    share = torch.arange(1, steps + 1, dtype=gray.dtype, device=gray.device) / steps
    total = blended((gray[:, :-1] - gray[:, 1:]).abs(), share)
    largest = total.amax((1, 2, 3), keepdim=True)
    return total / torch.where(largest > 0, largest, torch.ones_like(largest))


class Overlap(nn.Module):
    """The network."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        w = options.width
        self.gray, self.thumbnail = Gray(), body.Thumbnail()
        self.by_features = options.by_features
        self.c1 = nn.Conv2d(1, w, 3, padding=1)
        self.c2 = nn.Conv2d(w, 2 * w, 3, padding=1)
        self.c3 = nn.Conv2d(2 * w, 4 * w, 3, padding=1)
        self.c4 = nn.Conv2d(4 * w, 4 * w, 3, padding=1)
        self.fc1 = nn.Linear(4 * w * (body.SIZE // 16) ** 2, options.hidden)
        self.fc2 = nn.Linear(options.hidden, len(options.labels))

    def logits(self, gray: Tensor) -> tuple[Tensor, ...]:
        """Gray 0–1 (N, T, 1, H, W) → logits (N, labels), then the TAPS; those of layers before their pooling."""
        maps = overlapped(gray)
        seen = [maps]
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            seen.append(functional.relu(convolution(maps)))
            maps = functional.max_pool2d(seen[-1], 2)
        hidden = functional.relu(dense(self.fc1, column(maps)))
        return (dense(self.fc2, hidden).flatten(1), *seen)

    def full(self, frames: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, T, 3, 128, 128) → probabilities (N, labels), then the TAPS."""
        return self.window(self.gray(frames))

    def frame(self, picture: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 3, 128, 128) → gray[, features]."""
        gray = self.gray(picture)
        return (gray, self.thumbnail(gray)) if self.by_features else (gray,)

    def window(self, gray: Tensor) -> tuple[Tensor, ...]:
        """Gray (N, T, 1, 128, 128) → probabilities (N, labels), then the TAPS."""
        logits, *seen = self.logits(gray)
        return (logits.softmax(1), *seen)


def describe(options: Options) -> Blueprint:
    """Build the blueprint: 16 keyframes of a clip, or of a buffer of 64, as the gesture network's."""
    network = Overlap(options)
    kept = ("gray", "features") if options.by_features else ("gray",)
    parts: dict[Part, Exported] = {
        "full": Exported(View(network, "full"), (body.clip("body"),), ("probabilities",), TAPS),
        "frame": Exported(View(network, "frame"), (body.picture("body"),), kept),
        "window": Exported(View(network, "window"), (body.clip("gray", "float32", 1),), ("probabilities",), TAPS),
    }
    return Blueprint(
        title="Grayscale overlap CNN: the motion of 16 keyframes of an upper body in one picture",
        network=network,
        parts=parts,
        labels=options.labels,
        crops=body.crops(options),
        outputs=body.outputs(options),
        window=body.window(options),
        keyframes=body.keyframes(options),
    )
