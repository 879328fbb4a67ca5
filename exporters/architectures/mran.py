"""mran: valence or arousal from colour, depth and thermal video; the last two say where in the colour face to look.

Owns the options, which combinations of them there are, and the blueprint that `uran` shares. Does not own the network
(`exporters/recurrent_attention.py` and the pieces it names).

Inputs, by `modalities`: `color` uint8 RGB (N, T, 3, S, S), `depth` float32 metres (N, T, 1, S, S), `thermal` float32 kelvin
(N, T, 1, S, S); 0 was not measured. Outputs `valence` and/or `arousal` float32 (N, 1) in [−1, 1], and `attention` float32
(N, T, S, S), which sums to 1 over space.

Rows of the paper as options (Table IV: `modalities`; Tables V and VI, top to bottom, with `modalities=color` where nothing guides):

    2D-CNN                    attention=none emotion_net=2d
    3D-CNN                    attention=none
    3D-CNN, S.E.              attention=encoder
    3D-CNN, S.E., T.D.        (defaults)

Source: Lee et al. 2020, "Multi-modal Recurrent Attention Networks for Facial Expression Recognition".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from engines.manifest import CropSpec, Keyframes, Window
from engines.manifest import Tensor as TensorSpec
from engines.terms import Dtype, Part, Positive, Strict
from exporters.architecture import Blueprint, Exported, Role, View
from exporters.cells import Peepholes
from exporters.depth_thermal import DepthReading, ThermalReading
from exporters.emotion_net import pooled_frames
from exporters.layers import Standardised
from exporters.recurrent_attention import CHANNELS, Attention, Plan, RecurrentAttention

Modality = Literal["color", "depth", "thermal"]
STRIDES = {192: 2}
"""Side of the crops → stride of X′ over space; 1 for all others."""


class Common(Strict):
    """What `mran` and `uran` have in common.

    `size`: S, pixels, a multiple of 16; the paper's fc1 of 9216 inputs means 96, or 192 with X′ at stride 2 (flag); X′ then meets the
    attention's mean over 2×2 pixels. `frames`: T, 8 or a multiple of 16. `peepholes`: of i and f as Eq. 1 prints them (convolutions),
    or `hadamard` as in Shi et al. 2015 (flag). `emotion_net`: Table I's 3d, or 2d with its weights shared over time. `attention`: full,
    encoder (convolutions for LSTMs) or none. `outputs`: one unit of the last layer each. `mean`, `std`: of colour in 0–1, per channel
    (free).
    """

    size: Annotated[int, Field(ge=16, le=384, multiple_of=16)] = 96
    frames: Annotated[int, Field(ge=8, le=64)] = 16
    peepholes: Peepholes = "printed"
    emotion_net: Literal["3d", "2d"] = "3d"
    attention: Attention = "full"
    outputs: Annotated[tuple[Literal["valence", "arousal"], ...], Field(min_length=1)] = ("valence",)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)

    @field_validator("frames")
    @classmethod
    def _pooled(cls, frames: int) -> int:
        pooled_frames(frames)
        return frames

    @field_validator("outputs")
    @classmethod
    def _once(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(outputs)) != len(outputs):
            raise ValueError(f"{', '.join(outputs)}: an output is named twice; name each once")
        return outputs


class Options(Common):
    """Beside what `uran` has too (`Common`):

    `modalities`: a row of Table IV; colour, if there, is the target and the others guide it. All constants of reading are free:
    `depth_scale_m`, over which the distance from the face's plane is divided; `depth_fill_m`, the distance from it that holes get;
    `thermal_mean_k`, `thermal_std_k`; `thermal_fill_k`, the temperature that holes get.
    """

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("color", "depth", "thermal")
    depth_scale_m: Positive = 0.05
    depth_fill_m: float = 0.0
    thermal_mean_k: Positive = 305.0
    thermal_std_k: Positive = 5.0
    thermal_fill_k: Positive = 305.0

    @field_validator("modalities")
    @classmethod
    def _a_row(cls, modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
        if len(set(modalities)) != len(modalities):
            raise ValueError(f"{', '.join(modalities)}: a modality is named twice; name each once")
        if len(modalities) > 1 and "color" not in modalities:
            raise ValueError("depth and thermal guide colour, not each other: add color, or take one of them alone")
        return tuple(sorted(modalities, key=tuple(CHANNELS).index))

    @model_validator(mode="after")
    def _guided(self) -> Self:
        if self.attention == "none" and len(self.modalities) > 1:
            raise ValueError(
                f"attention none leaves {' and '.join(self.modalities[1:])} without a use, for they only guide the attention; "
                f"give modalities={self.modalities[0]}"
            )
        return self


def describe(options: Options) -> Blueprint:
    """Build the blueprint of a network over `options.modalities`."""
    return blueprint("mran: valence and arousal from video whose attention depth and thermal guide", options, options, ())


def blueprint(title: str, options: Common, reading: Options, labels: tuple[str, ...]) -> Blueprint:
    """Build the blueprint of either network; `reading`: which modalities, and how they are read; `labels` replace valence and arousal."""
    streams, size, frames = reading.modalities, options.size, options.frames
    head: tuple[str, ...] = ("probabilities",) if labels else options.outputs
    plan = Plan(
        streams=streams, size=size, stride=STRIDES.get(size, 1), frames=frames, peepholes=options.peepholes, attention=options.attention,
        flat=options.emotion_net == "2d", units=len(labels) or len(head), head=head,
    )  # fmt: skip
    readings = {
        "color": Standardised(options.mean, options.std),
        "depth": DepthReading(size, reading.depth_scale_m, reading.depth_fill_m),
        "thermal": ThermalReading(reading.thermal_mean_k, reading.thermal_std_k, reading.thermal_fill_k),
    }
    network = RecurrentAttention(plan, {stream: readings[stream] for stream in streams})
    roles: dict[str, Role] = {
        "valence": "valence", "arousal": "arousal", "probabilities": "probabilities", "attention": "attention",
    }  # fmt: skip
    return Blueprint(
        title=title,
        network=network,
        parts=_parts(network, plan),
        labels=labels,
        crops={stream: CropSpec(kind="face", modality=stream, size=(size, size), scale=1.2, align="eyes") for stream in streams},
        outputs={roles[name]: name for name in plan.outputs},
        window=Window(period_ms=250, frames=frames, hop=frames // 2, buffer=frames, clip="trace-mean"),
        keyframes=Keyframes(selector="none"),
        max_batch=4,
    )


def _parts(network: RecurrentAttention, plan: Plan) -> dict[Part, Exported]:
    square = (plan.size, plan.size)
    dtypes: dict[str, Dtype] = {"color": "uint8", "depth": "float32", "thermal": "float32"}
    frame = [TensorSpec(name=name, dtype=dtypes[name], shape=(CHANNELS[name], *square)) for name in plan.streams]
    kept = [TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in plan.shapes.items()]
    parts: dict[Part, Exported] = {"full": Exported(View(network, "full"), _over(plan, frame), plan.outputs, plan.window_taps)}
    if kept:
        parts["frame"] = Exported(View(network, "frame"), tuple(frame), tuple(plan.shapes), plan.frame_taps)
        parts["window"] = Exported(View(network, "window"), _over(plan, kept), plan.outputs, plan.window_taps)
    return parts


def _over(plan: Plan, tensors: list[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Stack each tensor over the window's frames."""
    return tuple(one.model_copy(update={"shape": (plan.frames, *one.shape)}) for one in tensors)
