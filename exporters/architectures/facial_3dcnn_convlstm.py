"""facial_3dcnn_convlstm: 3D convolutions, then a ConvLSTM, over 8 frames of one face; with `fer_branch` a 2D CNN beside them.

Owns the network and its branches, and its reading of a picture (gray, optionally lightened). Does not own the cell (`cells.py`), the
choice of the 8 frames (the service's), or any training.

Input `face` uint8 (N, 8, 3, 64, 64) RGB, aligned. Output `probabilities` float32 (N, labels). At the default options:

    gray 0–1                      1 × 8 × 64 × 64
    c1  3×3×3, ReLU              16 × 8 × 64 × 64, max pool (1,2,2)
    c2  3×3×3, ReLU              32 × 8 × 32 × 32
    c3  3×3×3, ReLU              32 × 8 × 32 × 32, max pool (1,2,2)
    cell  ConvLSTM 3×3           16 × 16 × 16, the last h          (+ the branch's last h)
    flattened 4096, fc, softmax   labels

Source: Saurav et al. 2020, section III-B, Fig. 3, Eq. 1–6 (network); section IV-B (gray, gamma, the FER2013 branch, "added before passing
onto the fully-connected layers", 8 frames uniform with both ends). Fig. 3 names no widths but the ConvLSTM's 16; the text says "one"
pooling layer and later "the second": two, over space only, so that 8 steps survive.

With `fer_branch` there are three graphs. `frame`: one face → `gray`, `branch` (the branch's per-frame work with the input side of its
ConvLSTM's gates, 4·hidden × 16 × 16) and `features` (the branch's map, mean over space). `window`: `gray` and `branch` of 8 frames →
`probabilities`. The 3D convolutions stay in the window: they look over its edges. Without the branch only gray would be per frame, so
there is one graph.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from engines.manifest import CropSpec, Keyframes, Window
from engines.manifest import Tensor as TensorSpec
from engines.terms import Part, Strict
from exporters.architecture import Blueprint, Exported, Labels, Role, View
from exporters.architectures import fer_small
from exporters.cells import ConvLstm
from exporters.layers import Gray, column, dense, folded, lightened, over_time, unfolded

SIZE, FRAMES, GRID = 64, 8, 16
LABELS = ("neutral", "surprise", "happy", "disgust", "sad", "fear", "anger")
Width = Annotated[int, Field(ge=1, le=1024)]
Three = tuple[Width, Width, Width]


class Options(Strict):
    """What the paper leaves open, and its AFEW variant.

    `labels`: names of the classes (CK+ has contempt instead of neutral); `widths`: channels of c1, c2, c3; `hidden`: units of each
    ConvLSTM (the paper's 16); `fully_connected`: widths of layers between the flattened state and the last one; `gamma`: dark
    frames are raised to the power 1/gamma, 1 for never (the paper's AFEW: 1.5); `fer_branch`: add the 2D CNN trained on FER2013 (the
    paper's AFEW); `branch`: its layers, vgg or those of fer-small; `branch_widths`: channels of vgg's three stages.
    """

    labels: Labels = LABELS
    widths: Three = (16, 32, 32)
    hidden: Width = 16
    fully_connected: tuple[Width, ...] = ()
    gamma: Annotated[float, Field(ge=1, le=4)] = 1.0
    fer_branch: bool = False
    branch: Literal["vgg", "fer-small"] = "vgg"
    branch_widths: Three = (32, 64, 128)


class Vgg(nn.Module):
    """Gray (N, 1, 64, 64) → (N, last width, 16, 16): three stages of two 3×3 convolutions with ReLU, max pool 2 after the first two.

    Source: Saurav et al. 2020, section IV-B, says "a custom CNN" only; the stages are those of Simonyan & Zisserman 2015.
    """

    def __init__(self, widths: Three) -> None:
        super().__init__()
        first, second, self.channels = widths
        self.a1, self.a2 = nn.Conv2d(1, first, 3, padding=1), nn.Conv2d(first, first, 3, padding=1)
        self.b1, self.b2 = nn.Conv2d(first, second, 3, padding=1), nn.Conv2d(second, second, 3, padding=1)
        self.c1, self.c2 = nn.Conv2d(second, self.channels, 3, padding=1), nn.Conv2d(self.channels, self.channels, 3, padding=1)

    def forward(self, gray: Tensor) -> Tensor:
        maps = functional.relu(self.a2(functional.relu(self.a1(gray))))
        maps = functional.relu(self.b2(functional.relu(self.b1(functional.max_pool2d(maps, 2)))))
        return functional.relu(self.c2(functional.relu(self.c1(functional.max_pool2d(maps, 2)))))


class FerSmallTrunk(nn.Module):
    """Gray 0–1 (N, 1, 64, 64) → (N, 64, 16, 16): fer_small up to its 16×16 stage, under the same names."""

    def __init__(self) -> None:
        super().__init__()
        first, second, self.channels = fer_small.WIDTHS[:3]
        self.stem = fer_small.convolution(1, first, 5, 2)
        self.l1 = nn.Sequential(fer_small.Block(first, second))
        self.l2 = nn.Sequential(fer_small.Block(second, self.channels, 2))

    def forward(self, gray: Tensor) -> Tensor:
        maps: Tensor = self.l2(self.l1(functional.relu(self.stem(fer_small.evened(gray * 255.0)))))
        return maps


class Facial(nn.Module):
    """The network. A pretrained branch's keys load under `branch.`; the ConvLSTM after it is `branch_cell`."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        first, second, third = options.widths
        self.gray, self.gamma = Gray(), options.gamma
        self.c1 = nn.Conv3d(1, first, 3, padding=1)
        self.c2 = nn.Conv3d(first, second, 3, padding=1)
        self.c3 = nn.Conv3d(second, third, 3, padding=1)
        self.cell = ConvLstm(third, options.hidden)
        self.branch: Vgg | FerSmallTrunk | None = None
        if options.fer_branch:
            self.branch = Vgg(options.branch_widths) if options.branch == "vgg" else FerSmallTrunk()
            self.branch_cell = ConvLstm(self.branch.channels, options.hidden)
        widths = (options.hidden * GRID * GRID, *options.fully_connected)
        self.hidden_layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.fc = nn.Linear(widths[-1], len(options.labels))

    def read(self, face: Tensor) -> Tensor:
        """RGB 0–255 (…, 3, H, W) → gray 0–1 (…, 1, H, W), dark frames lightened where asked for."""
        gray: Tensor = self.gray(face)
        return gray if self.gamma == 1.0 else lightened(gray, self.gamma)

    def beside(self, gray: Tensor) -> tuple[Tensor, Tensor]:
        """Gray (M, 1, H, W) → the branch's map (M, channels, 16, 16) and its cell's gates (M, 4·hidden, 16, 16)."""
        assert self.branch is not None
        maps = self.branch(gray)
        return maps, self.branch_cell.gates(maps)

    def decided(self, gray: Tensor, branch: Tensor | None) -> tuple[Tensor, ...]:
        """Gray (N, T, 1, H, W) and the branch's gates (N, T, …) → probabilities, then c1, c2, c3 (time first), hidden[, branch_hidden]."""
        length = gray.shape[1]
        c1 = functional.relu(over_time(self.c1, folded(gray), length))
        c2 = functional.relu(over_time(self.c2, functional.max_pool2d(c1, 2), length))
        c3 = functional.relu(over_time(self.c3, c2, length))
        hidden = self.cell(unfolded(functional.max_pool2d(c3, 2), length))[:, -1]
        taps = [*(unfolded(maps, length) for maps in (c1, c2, c3)), hidden]
        state = hidden
        if branch is not None:
            taps.append(self.branch_cell.run(branch)[:, -1])
            state = hidden + taps[-1]
        said = column(state)
        for layer in self.hidden_layers:
            assert isinstance(layer, nn.Linear)
            said = functional.relu(dense(layer, said))
        return (dense(self.fc, said).flatten(1).softmax(1), *taps)

    def full(self, face: Tensor) -> tuple[Tensor, ...]:
        """(N, T, 3, H, W) → what `decided` gives."""
        gray = self.read(face)
        if self.branch is None:
            return self.decided(gray, None)
        return self.decided(gray, unfolded(self.beside(folded(gray))[1], face.shape[1]))

    def frame(self, face: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) → gray, the branch's gates, features (N, channels), the branch's map."""
        gray = self.read(face)
        maps, gates = self.beside(gray)
        return gray, gates, maps.mean((2, 3)), maps

    def window(self, gray: Tensor, branch: Tensor) -> tuple[Tensor, ...]:
        """Gray (N, T, 1, H, W), branch (N, T, 4·hidden, 16, 16) → what `decided` gives."""
        return self.decided(gray, branch)


def describe(options: Options) -> Blueprint:
    """Build the blueprint: 8 frames, first and last of the sequence among them."""
    network = Facial(options)
    face = TensorSpec(name="face", dtype="uint8", shape=(FRAMES, 3, SIZE, SIZE))
    taps = ("c1", "c2", "c3", "hidden", *(("branch_hidden",) if options.fer_branch else ()))
    parts: dict[Part, Exported] = {"full": Exported(View(network, "full"), (face,), ("probabilities",), taps)}
    outputs: dict[Role, str] = {"probabilities": "probabilities"}
    if options.fer_branch:
        one = TensorSpec(name="face", dtype="uint8", shape=(3, SIZE, SIZE))
        kept = (
            TensorSpec(name="gray", dtype="float32", shape=(FRAMES, 1, SIZE, SIZE)),
            TensorSpec(name="branch", dtype="float32", shape=(FRAMES, 4 * options.hidden, GRID, GRID)),
        )
        parts["frame"] = Exported(View(network, "frame"), (one,), ("gray", "branch", "features"), ("branch_map",))
        parts["window"] = Exported(View(network, "window"), kept, ("probabilities",), taps)
        outputs["features"] = "features"
    return Blueprint(
        title="3D CNN and ConvLSTM: 8 frames of one face" + (", with a 2D CNN beside it" if options.fer_branch else ""),
        network=network,
        parts=parts,
        labels=options.labels,
        crops={"face": CropSpec(kind="face", size=(SIZE, SIZE), align="eyes")},
        outputs=outputs,
        window=Window(frames=FRAMES, buffer=2 * FRAMES, hop=4, scope="clip"),
        keyframes=Keyframes(selector="uniform"),
        max_batch=4 if options.fer_branch else 16,
    )
