"""enhanced_convlstm: four streams over 16 frames of a face and its optical flow, summed: two of Enhanced ConvLSTMs, two of ResNets.

Owns the network, its reading of pictures and flow, and the sum of the streams. Does not own the cells (`cells.py`), the ResNet
(`small_resnet.py`), or the flow itself (the service's, Farnebäck 2003).

Inputs `face` uint8 (N, 16, 3, 64, 64) RGB and `flow` float32 (N, 16, 2, 64, 64), pixels, x then y, flow_t from frame t−1 to t; only those
that the streams look at. Output `probabilities` float32 (N, labels). At the default options:

    rgb-convlstm, flow-convlstm: 4 Enhanced ConvLSTMs over 16 frames
        5×5, 16 × 64 × 64, max pool 2;  5×5, 32 × 32 × 32, max pool 2;  3×3, 64 × 16 × 16, max pool 2;  3×3, 128 × 8 × 8; the last h
    rgb-resnet, flow-resnet: the mean of the 16 frames, ResNet, tanh             128 × 8 × 8
    summed, flattened 8192; fc 512, ReLU; fc 128, ReLU; fc, softmax              labels

Source: Miyoshi et al. 2020, section 3, Fig. 2, Eq. 1–2, Table 1 (ResNet), Table 2 (`streams` and `enhanced` make its rows), section 4
(16 frames, 8 of them shared with the window before; 6 labels). The dynamic image is the sum over time there; the mean is the same
picture in the frames' own range. Widths, and the pooling between layers, are not given: the sum needs all streams in one shape.

There is one graph, `full`: flow is known for pairs, and every cell but the first looks at recurrent states, which begin with the window.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from engines.manifest import CropSpec, Keyframes, Window
from engines.manifest import Tensor as TensorSpec
from engines.terms import Positive, Strict
from exporters.architecture import Blueprint, Exported, Labels, View
from exporters.cells import ConvLstm, EnhancedConvLstm, PeepholeConvLstm
from exporters.layers import Standardised, blended, column, dense, folded, unfolded
from exporters.small_resnet import TOP, SmallResNet, StrideAt

SIZE, FRAMES, HOP = 64, 16, 8
LABELS = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
Stream = Literal["rgb-convlstm", "flow-convlstm", "rgb-resnet", "flow-resnet"]
STREAMS: tuple[Stream, ...] = ("rgb-convlstm", "flow-convlstm", "rgb-resnet", "flow-resnet")
Width = Annotated[int, Field(ge=1, le=4096)]
Kernel = Annotated[int, Field(ge=1, le=15)]


class Options(Strict):
    """What the paper leaves open, and the rows of its Table 2.

    `labels`: names of the classes; `streams`: which of rgb-convlstm, flow-convlstm, rgb-resnet, flow-resnet; `enhanced`: the paper's
    cell (Eq. 2), or the plain one with peepholes (Eq. 1); `widths`, `kernels`: of the four ConvLSTM layers (odd kernels); `groups`: of the
    group normalisation; `resnet`: channels of the ResNet's conv1 (an eighth of the last width); `resnet_stride`: which convolution of a
    bottleneck has the stride (He et al. 2016 do not say; their own code: 1x1, most others': 3x3); `fully_connected`: widths of the layers
    before the last; `mean`, `std`: of each colour, of values in 0–1; `flow_scale`: flow is multiplied by it, 1/pixels.
    """

    labels: Labels = LABELS
    streams: tuple[Stream, ...] = STREAMS
    enhanced: bool = True
    widths: tuple[Width, Width, Width, Width] = (16, 32, 64, 128)
    kernels: tuple[Kernel, Kernel, Kernel, Kernel] = (5, 5, 3, 3)
    groups: Width = 8
    resnet: Width = 16
    resnet_stride: StrideAt = "3x3"
    fully_connected: tuple[Width, ...] = (512, 128)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)
    flow_scale: Positive = 1.0

    @field_validator("streams")
    @classmethod
    def _ordered(cls, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        if not streams or len(set(streams)) < len(streams):
            raise ValueError(f"streams {', '.join(streams) or 'none'} must be one or more of {', '.join(STREAMS)}, each once")
        return tuple(sorted(streams, key=STREAMS.index))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kinds = {stream.partition("-")[2] for stream in self.streams}
        even = [kernel for kernel in self.kernels if kernel % 2 == 0]
        if even:
            raise ValueError(f"kernels must be odd, so that maps keep their size; {even[0]} is not")
        ungrouped = [width for width in self.widths if width % self.groups]
        if "convlstm" in kinds and self.enhanced and ungrouped:
            raise ValueError(f"{ungrouped[0]} channels do not make {self.groups} groups; choose widths that are multiples of groups")
        if len(kinds) == 2 and TOP * self.resnet != self.widths[-1]:
            raise ValueError(
                f"ConvLSTMs end with {self.widths[-1]} channels, ResNets with {TOP} × {self.resnet}; they are summed: make them equal"
            )
        return self


class CellStack(nn.Module):
    """Clips (N, T, C, 64, 64) → the last layer's last h (N, last width, 8, 8)."""

    def __init__(self, inputs: int, options: Options) -> None:
        super().__init__()
        cells: list[ConvLstm] = []
        for layer, (width, kernel) in enumerate(zip(options.widths, options.kernels, strict=True)):
            size = SIZE >> layer, SIZE >> layer
            if options.enhanced:
                cells.append(EnhancedConvLstm(inputs, width, size, kernel, options.groups))
            else:
                cells.append(PeepholeConvLstm(inputs, width, size, kernel))
            inputs = width
        self.cells = nn.ModuleList(cells)

    def forward(self, clips: Tensor) -> Tensor:
        for layer, cell in enumerate(self.cells):
            clips = cell(clips if layer == 0 else unfolded(functional.max_pool2d(folded(clips), 2), clips.shape[1]))
        return clips[:, -1]

    def spread_out(self, generator: torch.Generator) -> None:
        """Draw group scales and shifts, which else would be 1 and 0 and prove nothing."""
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                nn.init.uniform_(module.weight, 0.7, 1.3, generator=generator)
                nn.init.uniform_(module.bias, -0.2, 0.2, generator=generator)


class Streams(nn.Module):
    """The network. Keys of a stream begin with `streams.` and its name, `-` written `_`."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.colour, self.flow_scale = Standardised(options.mean, options.std), options.flow_scale
        self.streams = nn.ModuleDict()
        for name in options.streams:
            inputs = 3 if name.startswith("rgb") else 2
            made = CellStack(inputs, options) if name.endswith("convlstm") else SmallResNet(inputs, options.resnet, options.resnet_stride)
            self.streams[name.replace("-", "_")] = made
        top = options.widths[-1] if "convlstm" in options.streams[0] else TOP * options.resnet
        widths = (top * (SIZE // 8) ** 2, *options.fully_connected, len(options.labels))
        self.fc = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.uses = tuple(kind for kind in ("rgb", "flow") if any(name.startswith(kind) for name in options.streams))

    def full(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`face` and `flow`, those in use → probabilities (N, labels), then every stream's features, (N, last width, 8, 8) each."""
        given = dict(zip(self.uses, inputs, strict=True))
        if "rgb" in given:
            given["rgb"] = self.colour(given["rgb"])
        if "flow" in given:
            given["flow"] = given["flow"] * self.flow_scale
        features = []
        for name, stream in self.streams.items():
            clips = given[name.partition("_")[0]]
            features.append(stream(clips) if isinstance(stream, CellStack) else stream(dynamic_image(clips)).tanh())
        said = column(summed(features))
        for layer in self.fc[:-1]:
            said = functional.relu(dense(layer, said))  # type: ignore[arg-type]
        last = self.fc[-1]
        return (dense(last, said).flatten(1).softmax(1), *features)  # type: ignore[arg-type]

    def spread_out(self) -> None:
        """Draw what He et al.'s rule leaves at 1 and 0: the normalisations' own numbers."""
        generator = torch.Generator().manual_seed(0)
        for stream in self.streams.values():
            stream.spread_out(generator)  # type: ignore[operator]


def dynamic_image(clips: Tensor) -> Tensor:
    """(N, T, C, H, W) → (N, C, H, W): the mean over time; the order of frames is lost.

    Source: Miyoshi et al. 2020, section 3.2, where frames are summed.
    """
    length = clips.shape[1]
    return blended(clips, torch.full((length,), 1 / length, dtype=clips.dtype, device=clips.device))


def summed(features: list[Tensor]) -> Tensor:
    """Add streams, in the order of `STREAMS`."""
    total = features[0]
    for other in features[1:]:
        total = total + other
    return total


def describe(options: Options) -> Blueprint:
    """Build the blueprint: 16 frames on end, every 8."""
    network = Streams(options)
    face = TensorSpec(name="face", dtype="uint8", shape=(FRAMES, 3, SIZE, SIZE))
    flow = TensorSpec(name="flow", dtype="float32", shape=(FRAMES, 2, SIZE, SIZE))
    crops = {
        "face": CropSpec(kind="face", size=(SIZE, SIZE), align="eyes"),
        "flow": CropSpec(kind="face", size=(SIZE, SIZE), align="eyes", content="flow"),
    }
    inputs = tuple(tensor for kind, tensor in (("rgb", face), ("flow", flow)) if kind in network.uses)
    return Blueprint(
        title=f"{'Enhanced ConvLSTM' if options.enhanced else 'ConvLSTM'} network: {len(options.streams)} streams over 16 frames of a face",
        network=network,
        parts={"full": Exported(View(network, "full"), inputs, ("probabilities",), tuple(network.streams))},
        labels=options.labels,
        crops={tensor.name: crops[tensor.name] for tensor in inputs},
        outputs={"probabilities": "probabilities"},
        window=Window(frames=FRAMES, buffer=FRAMES, hop=HOP),
        keyframes=Keyframes(),
        max_batch=4,
    )
