"""MRAN and URAN as one network: which stream is the target, who guides it, what is per frame and what is per window.

Owns the whole and its split into a frame and a window part. Does not own the pieces (`attention.py`, `emotion_net.py`,
`depth_thermal.py`, `cells.py`) or the options (`architectures/mran.py`, `architectures/uran.py`).

The target stream is colour if it is there, else the only one. With several streams the target's decoder is of AG-LSTMs and the others
guide it; with one it is of A-LSTMs. X′ is taken from the target.

What a frame alone gives, and the frame part therefore hands on (`kept`), by ablation:

    attention full, 3-D       target's picture, each stream's lstm1 gates
    attention full, 2-D       X′, each stream's lstm1 gates
    attention encoder, 3-D    target's picture, the energy (up3's map)
    attention encoder, 2-D    the energy, the fourth level's maps
    attention none, 2-D       the fourth level's maps
    attention none, 3-D       nothing worth keeping: there is no frame part

Source: Lee et al. 2020, Figure 2, Table I, sections III-B and V-C.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from exporters.attention import SHRINK, Encoder, FlatDecoder, Levels, RecurrentDecoder, ScaledSoftmax, shrunk
from exporters.cells import Peepholes
from exporters.emotion_net import FEATURES, WIDTHS, EmotionNet
from exporters.layers import folded, mean_over_time, unfolded

Attention = Literal["full", "none", "encoder"]
CHANNELS: Mapping[str, int] = {"color": 3, "depth": 1, "thermal": 1}
Named = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built. `streams`: the target first. `head`: names of the last layer's units, or one name for a softmax over `units`."""

    streams: tuple[str, ...]
    size: int
    stride: int
    frames: int
    peepholes: Peepholes
    attention: Attention
    flat: bool
    units: int
    head: tuple[str, ...]

    @property
    def target(self) -> str:
        return self.streams[0]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what the frame part hands on, without the batch axis; empty: there is no frame part."""
        shapes: dict[str, tuple[int, ...]] = {}
        side, small = self.size // self.stride, self.size // self.stride // 16
        if self.attention == "full":
            coarse = self.size // SHRINK
            shapes |= {f"{stream}_gates": (256, coarse, coarse) for stream in self.streams}
        if self.attention == "encoder":
            shapes["energy"] = (1, self.size, self.size)
        if self.flat:
            last = (FEATURES, side, side) if self.attention == "full" else (WIDTHS[-1], small, small)
            shapes["x_prime" if self.attention == "full" else "conv4"] = last
        elif self.attention != "none":
            shapes[f"{self.target}_frame"] = (CHANNELS[self.target], self.size, self.size)
        return shapes

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.head, "attention") if self.attention != "none" else self.head

    @property
    def frame_taps(self) -> tuple[str, ...]:
        encoded = tuple(f"{stream}_encoded" for stream in self.streams) if self.attention != "none" else ()
        decoded = tuple(f"{s}_decoded{n}" for s in self.streams for n in (1, 2, 3)) if self.attention == "encoder" else ()
        return (*encoded, *decoded, *(("x_prime", "conv1", "conv2", "conv3") if self.flat and self.attention != "full" else ()))

    @property
    def window_taps(self) -> tuple[str, ...]:
        stepped = tuple(f"{s}_lstm{n}" for s in self.streams for n in (1, 2, 3)) if self.attention == "full" else ()
        convolved = ("conv1", "conv2", "conv3", "conv4") if not self.flat or self.attention == "full" else ()
        return (*stepped, *(() if self.flat else ("x_prime",)), *convolved, "fc1")


class RecurrentAttention(nn.Module):
    """Clips of one or more streams → what `head` names and the attention (N, T, S, S), which sums to 1 over space.

    `readings`: per stream, what turns camera values into numbers. Module names are a checkpoint's keys: `encoders.<stream>`,
    `decoders.<stream>`, `emotion`. The parts' methods give their outputs, then `Plan.frame_taps` or `Plan.window_taps`.
    """

    def __init__(self, plan: Plan, readings: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.plan = plan
        self.readings = nn.ModuleDict(readings)
        self.encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for stream in plan.streams if plan.attention != "none" else ():
            guides = plan.streams[1:] if stream == plan.target else ()
            self.encoders[stream] = Encoder(CHANNELS[stream])
            flat = plan.attention == "encoder"
            self.decoders[stream] = FlatDecoder(guides) if flat else RecurrentDecoder(plan.size, guides, plan.peepholes)
        self.normalised = ScaledSoftmax()
        weighed = plan.attention != "none"
        self.emotion = EmotionNet(CHANNELS[plan.target], plan.size, plan.stride, plan.frames, plan.units, weighed, plan.flat)

    def full(self, *clips: Tensor) -> tuple[Tensor, ...]:
        """The streams' clips (N, T, C, S, S) → outputs and the window's taps."""
        kept, _ = self.per_frame(tuple(folded(clip) for clip in clips))
        return self._ordered(*self.over_window({name: unfolded(value, self.plan.frames) for name, value in kept.items()}))

    def frame(self, *frames: Tensor) -> tuple[Tensor, ...]:
        """The streams' frames (N, C, S, S) → what is kept of them, in `Plan.shapes`' order, and the frame's taps."""
        kept, taps = self.per_frame(frames)
        return (*(kept[name] for name in self.plan.shapes), *(taps[name] for name in self.plan.frame_taps))

    def window(self, *kept: Tensor) -> tuple[Tensor, ...]:
        """What is kept of T frames, stacked on axis 1 → outputs and the window's taps."""
        return self._ordered(*self.over_window(dict(zip(self.plan.shapes, kept, strict=True))))

    def per_frame(self, frames: tuple[Tensor, ...]) -> tuple[Named, Named]:
        """Frames (M, C, S, S) → what is kept, and taps."""
        plan = self.plan
        pictures = {stream: self.readings[stream](frame) for stream, frame in zip(plan.streams, frames, strict=True)}
        found = {f"{plan.target}_frame": pictures[plan.target]}
        taps = {f"{stream}_encoded": encoder(pictures[stream]) for stream, encoder in self.encoders.items()}
        if plan.attention == "full":
            found |= {f"{stream}_gates": self._recurrent(stream).per_frame(taps[f"{stream}_encoded"]) for stream in plan.streams}
        if plan.attention == "encoder":
            levels: dict[str, Levels] = {}
            for stream in reversed(plan.streams):
                levels[stream], found["energy"] = self.decoders[stream](taps[f"{stream}_encoded"], levels)
                taps |= {f"{stream}_decoded{number}": value for number, value in enumerate(levels[stream], 1)}
        if plan.flat:
            features = self.emotion.features(pictures[plan.target])
            if plan.attention == "full":
                found["x_prime"] = features
            else:
                scaled = self.normalised(found["energy"]) if plan.attention == "encoder" else None
                said = self.emotion.convolved(features if scaled is None else shrunk(scaled, features.shape[-1]) * features)
                found["conv4"] = said[-1]
                taps |= {"x_prime": features, **{f"conv{number}": value for number, value in enumerate(said[:-1], 1)}}
        return ({name: found[name] for name in plan.shapes} if plan.shapes else found), taps

    def over_window(self, kept: Named) -> tuple[Named, Named]:
        """What is kept of T frames, (N, T, …) → outputs and taps."""
        plan, taps = self.plan, Named()
        energy = kept.get("energy")
        if plan.attention == "full":
            levels: dict[str, Levels] = {}
            for stream in reversed(plan.streams):
                levels[stream], energy = self._recurrent(stream)(kept[f"{stream}_gates"], levels)
                taps |= {f"{stream}_lstm{number}": value for number, value in enumerate(levels[stream], 1)}
        scaled = None if energy is None else self.normalised(energy)
        if not plan.flat:
            features = self.emotion.features(kept[f"{plan.target}_frame"])
            taps["x_prime"] = features
            if scaled is not None:
                features = _over_frames(scaled, features.shape[-1]) * features
            said = self.emotion.convolved(features)
            taps |= {f"conv{number}": value for number, value in enumerate(said, 1)}
            last = said[-1]
        else:
            last = mean_over_time(self._flat(kept, scaled, taps))
        taps["fc1"], units = self.emotion.connected(last)
        if plan.head == ("probabilities",):
            given: Named = {"probabilities": units.softmax(1)}
        else:
            given = {name: units[:, place : place + 1].tanh() for place, name in enumerate(plan.head)}
        if scaled is not None:
            given["attention"] = scaled.squeeze(2) / (plan.size * plan.size)
        return given, taps

    def spread_out(self) -> None:
        """Make random weights show in the outputs: an untrained attention is nearly even, and its product small."""
        self.emotion.spread_out()

    def _recurrent(self, stream: str) -> RecurrentDecoder:
        decoder = self.decoders[stream]
        assert isinstance(decoder, RecurrentDecoder)
        return decoder

    def _flat(self, kept: Named, scaled: Tensor | None, taps: Named) -> Tensor:
        """The fourth level's maps (N, T, 256, …) of 2-D: kept, or made here where the attention needs the window."""
        if "conv4" in kept:
            return kept["conv4"]
        assert scaled is not None
        features = kept["x_prime"]
        said = self.emotion.convolved(folded(_over_frames(scaled, features.shape[-1]) * features))
        taps |= {f"conv{number}": unfolded(value, self.plan.frames) for number, value in enumerate(said, 1)}
        return unfolded(said[-1], self.plan.frames)

    def _ordered(self, given: Named, taps: Named) -> tuple[Tensor, ...]:
        return (*(given[name] for name in self.plan.outputs), *(taps[name] for name in self.plan.window_taps))


def _over_frames(scaled: Tensor, side: int) -> Tensor:
    """(N, T, 1, S, S) → (N, T, 1, side, side)."""
    return scaled if scaled.shape[-1] == side else unfolded(shrunk(folded(scaled), side), scaled.shape[1])
