"""lrcn: a 2D CNN on each frame of the upper body, an LSTM over the frames; the baseline of the gesture papers.

Owns the network and its reading of a picture (colour, −1…1). Does not own the choice of frames (the service's) or the gesture network
that it is compared with (`gesture_3dcnn_convlstm.py`).

Input `body` uint8 (N, T, 3, 128, 128) RGB. Output `probabilities` float32 (N, labels). At the default options, T = 16 and w = 32:

    per frame: c1 3×3, ReLU, max pool 2      w × 64 × 64
               c2 3×3, ReLU, max pool 2     2w × 32 × 32
               c3 3×3, ReLU, max pool 2     4w × 16 × 16
               c4 3×3, ReLU, max pool 2     4w ×  8 ×  8
               fc6, ReLU → `features`       256
    LSTM                                    256 per frame
    fc, softmax                             labels per frame, their mean over the frames

Source: Ly et al. 2019, Table 1 (LRCN on 16 keyframes and on 40 random frames; 128×128×3 frames, section 3.2), which gives no layers;
Donahue et al. 2015, section 3 (the LSTM: no peepholes) and section 4 (it reads fc6; 256 units; the softmax of every step is averaged).
Donahue's CNN is CaffeNet at 227×227; ours is sized for 128×128.

Graphs: `full`; `frame`: one body → `features`; `window`: `features` of T frames → `probabilities`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from engines.manifest import Tensor as TensorSpec
from engines.manifest import Window
from exporters import body
from exporters.architecture import Blueprint, Exported, View
from exporters.body import BodyOptions
from exporters.cells import ConvLstm
from exporters.layers import Standardised, column, dense, folded, mean_over_time, unfolded


class Options(BodyOptions):
    """All free but `frames` and `selector`, whose pairs (16, itq) and (40, random) are the paper's rows.

    `labels`: names of the classes; `frames`: T; `selector`: which T of the clip; `seed`: of random and kmeans; `crop`: upper-body or
    full (the whole picture); `width`: w; `features`: units of fc6; `hidden`: units of the LSTM; `readout`: mean of the softmaxes of all
    steps (Donahue et al.), or that of the last one.
    """

    frames: Annotated[int, Field(ge=2, le=body.BUFFER)] = 16
    selector: Literal["itq", "random", "uniform", "stride", "kmeans"] = "itq"
    width: Annotated[int, Field(ge=1, le=256)] = 32
    features: Annotated[int, Field(ge=1, le=4096)] = 256
    hidden: Annotated[int, Field(ge=1, le=4096)] = 256
    readout: Literal["mean", "last"] = "mean"


class Lrcn(nn.Module):
    """The network. Its LSTM is a ConvLSTM on 1×1 maps: a matrix product's rows would depend on the batch (`layers.dense`)."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        w, self.readout = options.width, options.readout
        self.colour = Standardised((0.5,) * 3, (0.5,) * 3)
        self.c1 = nn.Conv2d(3, w, 3, padding=1)
        self.c2 = nn.Conv2d(w, 2 * w, 3, padding=1)
        self.c3 = nn.Conv2d(2 * w, 4 * w, 3, padding=1)
        self.c4 = nn.Conv2d(4 * w, 4 * w, 3, padding=1)
        self.fc6 = nn.Linear(4 * w * (body.SIZE // 16) ** 2, options.features)
        self.lstm = ConvLstm(options.features, options.hidden, kernel=1)
        self.fc = nn.Linear(options.hidden, len(options.labels))

    def per_frame(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(M, 3, 128, 128) → features (M, features), the last map (M, 4w, 8, 8)."""
        maps: Tensor = self.colour(pictures)
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            maps = functional.max_pool2d(functional.relu(convolution(maps)), 2)
        return functional.relu(dense(self.fc6, column(maps))).flatten(1), maps

    def decided(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, features) → probabilities (N, labels), h of every frame (N, T, hidden)."""
        states = self.lstm(features[..., None, None]).flatten(2)
        read = states if self.readout == "mean" else states[:, -1:]
        logits = unfolded(dense(self.fc, column(folded(read))).flatten(1), read.shape[1])
        return mean_over_time(logits.softmax(2)), states

    def full(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(N, T, 3, 128, 128) → probabilities, h of every frame."""
        return self.decided(unfolded(self.per_frame(folded(clips))[0], clips.shape[1]))

    def frame(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, 128, 128) → features, the last map."""
        return self.per_frame(pictures)

    def window(self, features: Tensor) -> tuple[Tensor, ...]:
        """(N, T, features) → probabilities, h of every frame."""
        return self.decided(features)


def describe(options: Options) -> Blueprint:
    """Build the blueprint: T frames of a buffer of 64, as the gesture network's."""
    network, t = Lrcn(options), options.frames
    one = body.picture("body")
    clip = one.model_copy(update={"shape": (t, *one.shape)})
    kept = TensorSpec(name="features", dtype="float32", shape=(t, options.features))
    return Blueprint(
        title=f"LRCN: {t} frames of the upper body, 2D CNN and LSTM",
        network=network,
        parts={
            "full": Exported(View(network, "full"), (clip,), ("probabilities",), ("hidden",)),
            "frame": Exported(View(network, "frame"), (one,), ("features",), ("map",)),
            "window": Exported(View(network, "window"), (kept,), ("probabilities",), ("hidden",)),
        },
        labels=options.labels,
        crops=body.crops(options),
        outputs={"probabilities": "probabilities", "features": "features"},
        window=Window(frames=t, buffer=body.BUFFER, hop=body.HOP, scope="clip"),
        keyframes=body.keyframes(options),
        max_batch=4,
    )
