"""ensemble: the gesture network and the grayscale overlap network on the same 16 keyframes, their probabilities as one.

Owns how two answers become one. Does not own either network (`gesture_3dcnn_convlstm.py`, `grayscale_overlap_cnn.py`).

Input `body` uint8 (N, 16, 3, 128, 128) RGB. Output `probabilities` float32 (N, labels). Checkpoint keys are the two networks', behind
`gesture.` and `overlap.`.

Source: Ly et al. 2019, Table 3 ("Ensemble our two models"), which does not say how: `combine` has both usual ways.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from engines.terms import Positive
from exporters import body
from exporters.architecture import Blueprint
from exporters.architectures import gesture_3dcnn_convlstm as gesture
from exporters.architectures import grayscale_overlap_cnn as overlap
from exporters.body import BodyOptions, Width
from exporters.layers import Gray

TAPS = ("gesture_logits", "overlap_logits")
SHARED = ("labels", "selector", "seed", "crop")


class Options(BodyOptions):
    """What both networks leave open, and how they are combined.

    `labels`: names of the classes; `selector`: which 16 of the clip (stride is the paper's "overlapping windows"; none: the last 16);
    `seed`: of random and kmeans; `crop`: upper-body (three face widths) or full (the whole picture); `combine`: mean of the two
    probabilities, or their product over its sum; `gesture_width`, `gesture_hidden`, `mean`, `std`: the gesture network's width, hidden,
    mean and std; `overlap_width`, `overlap_hidden`: the overlap network's width and hidden.
    """

    combine: Literal["mean", "product"] = "mean"
    gesture_width: Width = 32
    gesture_hidden: Width = 64
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)
    overlap_width: Width = 32
    overlap_hidden: Width = 128


class Ensemble(nn.Module):
    """Both networks."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        shared = options.model_dump(include=set(SHARED))
        self.combine, self.gray, self.passed = options.combine, Gray(), body.Passed()
        self.gesture = gesture.Gesture(
            gesture.Options(
                **shared, width=options.gesture_width, hidden=options.gesture_hidden, mean=options.mean, std=options.std
            )
        )  # fmt: skip
        self.overlap = overlap.Overlap(overlap.Options(**shared, width=options.overlap_width, hidden=options.overlap_hidden))

    def full(self, frames: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, T, 3, 128, 128) → probabilities (N, labels), then each network's logits."""
        left, right = self.gesture.logits(frames)[0], self.overlap.logits(self.gray(frames))[0]
        # A product of softmaxes over its sum is the softmax of summed logits, without 0/0 where each is sure of another class.
        both = (left.softmax(1) + right.softmax(1)) / 2 if self.combine == "mean" else (left + right).softmax(1)
        return both, left, right

    def frame(self, picture: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 3, 128, 128) → frames, features."""
        found: tuple[Tensor, Tensor] = self.passed(picture)
        return found

    def window(self, frames: Tensor) -> tuple[Tensor, ...]:
        """The same as `full`: frames come as they were cut."""
        return self.full(frames)


def describe(options: Options) -> Blueprint:
    """Build the blueprint: one window for both networks."""
    network = Ensemble(options)
    return Blueprint(
        title=f"Ensemble ({options.combine}) of the gesture network and the grayscale overlap network",
        network=network,
        parts=gesture.parts(network, options, TAPS),
        labels=options.labels,
        crops=body.crops(options),
        outputs=body.outputs(options),
        window=body.window(options),
        keyframes=body.keyframes(options),
        max_batch=4,
    )
