"""gesture_3dcnn_convlstm: 3D convolutions, then two ConvLSTMs, over 16 keyframes of an upper body.

Owns the network and its reading of a picture (colour, standardised). Does not own the cell (`cells.py`), the crop, the features that
keyframes are chosen by (`body.py`), or the choice itself (the service's).

Input `body` uint8 (N, 16, 3, 128, 128) RGB. Output `probabilities` float32 (N, labels). With w = 32, hidden = 64:

    c1   3×3×3, ReLU, max pool (1,2,2)      w × 16 × 64 × 64
    c2   3×3×3, ReLU, max pool 2           2w ×  8 × 32 × 32
    c3a  3×3×3, ReLU                       4w ×  8 × 32 × 32
    c3b  3×3×3, ReLU, max pool 2           4w ×  4 × 16 × 16
    lstm1, lstm2  ConvLSTM 3×3             64 × 4 × 16 × 16
    last h of lstm2, max pool 2            64 × 8 × 8
    flattened 4096, fc, softmax            labels

Source: Ly et al. 2019, section 2.3, Fig. 3 and Tables 1–2. The paper gives no widths.

Where keyframes go by features (itq, kmeans) there are three graphs. `frame`: one body → `frames`, the crop as it came, and `features`, its
thumbnail. `window`: 16 `frames` → `probabilities`. Else there is one: the 3D convolutions look at neighbours in the window, and which
frames are neighbours changes with each choice, so nothing can be computed per frame.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from engines.terms import Part, Positive
from exporters import body
from exporters.architecture import Blueprint, Exported, View
from exporters.body import BodyOptions, Width
from exporters.cells import ConvLstm
from exporters.layers import Standardised, column, dense, folded, halved_over_time, over_time, unfolded

TAPS = ("convolved", "hidden1", "hidden2")


class Options(BodyOptions):
    """What the paper leaves open, and the rows of its Table 2 (`selector` stride, kmeans, itq).

    `labels`: names of the classes; `selector`: which 16 of the clip (stride is the paper's "overlapping windows"; none: the last 16);
    `seed`: of random and kmeans; `crop`: upper-body (three face widths) or full (the whole picture); `width`: w; `hidden`: channels of
    both ConvLSTMs; `mean`, `std`: of each colour, of values in 0–1.
    """

    width: Width = 32
    hidden: Width = 64
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)


class Gesture(nn.Module):
    """The network."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        w, hidden = options.width, options.hidden
        self.colour = Standardised(options.mean, options.std)
        self.c1 = nn.Conv3d(3, w, 3, padding=1)
        self.c2 = nn.Conv3d(w, 2 * w, 3, padding=1)
        self.c3a = nn.Conv3d(2 * w, 4 * w, 3, padding=1)
        self.c3b = nn.Conv3d(4 * w, 4 * w, 3, padding=1)
        self.lstm1, self.lstm2 = ConvLstm(4 * w, hidden), ConvLstm(hidden, hidden)
        self.fc = nn.Linear(hidden * (body.SIZE // 16) ** 2, len(options.labels))
        self.passed = body.Passed()

    def logits(self, frames: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, T, 3, H, W) → logits (N, labels), then the TAPS, time before channels."""
        length = frames.shape[1]
        maps = functional.max_pool2d(functional.relu(over_time(self.c1, folded(self.colour(frames)), length)), 2)
        maps = halved_over_time(functional.max_pool2d(functional.relu(over_time(self.c2, maps, length)), 2))
        maps = functional.relu(over_time(self.c3a, maps, length // 2))
        maps = halved_over_time(functional.max_pool2d(functional.relu(over_time(self.c3b, maps, length // 2)), 2))
        convolved = unfolded(maps, length // 4)
        hidden1 = self.lstm1(convolved)
        hidden2 = self.lstm2(hidden1)
        pooled = functional.max_pool2d(hidden2[:, -1], 2)
        return dense(self.fc, column(pooled)).flatten(1), convolved, hidden1, hidden2

    def full(self, frames: Tensor) -> tuple[Tensor, ...]:
        """(N, T, 3, 128, 128) → probabilities (N, labels), then the TAPS."""
        logits, *taps = self.logits(frames)
        return (logits.softmax(1), *taps)

    def frame(self, picture: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, 128, 128) → frames, features."""
        found: tuple[Tensor, Tensor] = self.passed(picture)
        return found

    def window(self, frames: Tensor) -> tuple[Tensor, ...]:
        """The same as `full`: frames come as they were cut."""
        return self.full(frames)


def parts(network: nn.Module, options: BodyOptions, taps: tuple[str, ...]) -> dict[Part, Exported]:
    """Make the graphs of a network with methods `full`, `frame` and `window` whose window takes the crops themselves."""
    found: dict[Part, Exported] = {"full": Exported(View(network, "full"), (body.clip("body"),), ("probabilities",), taps)}
    if options.by_features:
        found["frame"] = Exported(View(network, "frame"), (body.picture("body"),), ("frames", "features"))
        found["window"] = Exported(View(network, "window"), (body.clip("frames"),), ("probabilities",), taps)
    return found


def describe(options: Options) -> Blueprint:
    """Build the blueprint: 16 keyframes of a clip, or of a buffer of 64."""
    network = Gesture(options)
    return Blueprint(
        title="3D CNN and ConvLSTM: 16 keyframes of an upper body",
        network=network,
        parts=parts(network, options, TAPS),
        labels=options.labels,
        crops=body.crops(options),
        outputs=body.outputs(options),
        window=body.window(options),
        keyframes=body.keyframes(options),
        max_batch=4,
    )
