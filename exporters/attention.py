"""Where a face says most: the spatial encoder and temporal decoder that give MRAN its attention.

Owns both, the decoder's ablation without recurrence, and the softmax over space. Does not own the cells (`cells.py`), which stream
guides which (`recurrent_attention.py`) or what the attention is multiplied with (`emotion_net.py`).

    encoder, per frame     C×S×S → conv1 32, pool → conv2 64, pool → conv3 128, pool     128 × S/8 × S/8
    decoder, over time     lstm1 64, up1 → lstm2 32, up2 → lstm3 1, up3                  1 × S × S, the energy H

Source: Lee et al. 2020, Table I ("Spatial Encoder", "Temporal Decoder"); up3 from the text, "a deconvolution with a factor of 2 after
each LSTM module". The weights of the modalities are their own (section III-B.1).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from exporters.cells import AttentionLstm, GuidedLstm, Peepholes
from exporters.layers import folded, unfolded

ENCODED = 128
HIDDEN = (64, 32, 1)
SHRINK = 8
"""The encoder's three pools: sides of the pictures must be multiples of it."""
Levels = tuple[Tensor, ...]
"""Hidden states of the three levels, each (N, T, hidden, H, W) or (M, hidden, H, W)."""


class Encoder(nn.Module):
    """Frames (M, channels, S, S) → (M, 128, S/8, S/8): three times 3×3, ReLU, 2×2 max pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, ENCODED, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        maps = frames
        for convolution in (self.conv1, self.conv2, self.conv3):
            maps = functional.max_pool2d(functional.relu(convolution(maps)), 2)
        return maps


class RecurrentDecoder(nn.Module):
    """Three A-LSTMs, or AG-LSTMs where `guides` are named, each followed by a 2×2 deconvolution of stride 2.

    `size`: S in pixels. `per_frame` is what one frame gives alone; `forward` walks through the window from a zero state.
    """

    def __init__(self, size: int, guides: tuple[str, ...], peepholes: Peepholes) -> None:
        super().__init__()
        inputs, side = ENCODED, size // SHRINK
        for level, hidden in enumerate(HIDDEN, 1):
            square = (side, side)
            lstm = GuidedLstm(inputs, hidden, square, guides, peepholes) if guides else AttentionLstm(inputs, hidden, square, peepholes)
            self.add_module(f"lstm{level}", lstm)
            self.add_module(f"up{level}", nn.ConvTranspose2d(hidden, hidden, 2, 2))
            inputs, side = hidden, 2 * side

    def level(self, number: int) -> tuple[AttentionLstm, nn.ConvTranspose2d]:
        """Return the LSTM and the deconvolution of level 1 to 3."""
        lstm, up = self.get_submodule(f"lstm{number}"), self.get_submodule(f"up{number}")
        assert isinstance(lstm, AttentionLstm)
        assert isinstance(up, nn.ConvTranspose2d)
        return lstm, up

    def per_frame(self, encoded: Tensor) -> Tensor:
        """(M, 128, S/8, S/8) → gates of lstm1 from the input alone (M, 256, S/8, S/8)."""
        return self.level(1)[0].gates(encoded)

    def forward(self, gates: Tensor, guides: Mapping[str, Levels]) -> tuple[Levels, Tensor]:
        """Gates of lstm1 (N, T, 256, S/8, S/8), other streams' levels → own levels, and up3's map (N, T, 1, S, S)."""
        length, maps, said = gates.shape[1], gates, list[Tensor]()
        for number in range(1, len(HIDDEN) + 1):
            lstm, up = self.level(number)
            if said:
                gates = unfolded(lstm.gates(maps), length)
            if isinstance(lstm, GuidedLstm):
                gates = lstm.guided(gates, {name: levels[number - 1] for name, levels in guides.items()})
            said.append(lstm.run(gates))
            maps = up(folded(said[-1]))
        return tuple(said), unfolded(maps, length)


class FlatDecoder(nn.Module):
    """The decoder without recurrence: each LSTM a 3×3 convolution with bias, then tanh, whose range an LSTM's h has.

    Guides add a 3×3 convolution of their level of the same frame (free: the paper's come one frame later, which here there is no
    memory for).
    Source: Lee et al. 2020, section V-C.2 ("replaced the A-LSTM modules with 2D convolutional layers"), Tables V and VI.
    """

    def __init__(self, guides: tuple[str, ...]) -> None:
        super().__init__()
        inputs = ENCODED
        for level, hidden in enumerate(HIDDEN, 1):
            self.add_module(f"conv{level}", nn.Conv2d(inputs, hidden, 3, padding=1))
            beside = {name: nn.Conv2d(hidden, hidden, 3, padding=1, bias=False) for name in guides}
            self.add_module(f"guides{level}", nn.ModuleDict(beside))
            self.add_module(f"up{level}", nn.ConvTranspose2d(hidden, hidden, 2, 2))
            inputs = hidden

    def forward(self, encoded: Tensor, guides: Mapping[str, Levels]) -> tuple[Levels, Tensor]:
        """(M, 128, S/8, S/8), other streams' levels of the same frames → own levels, and up3's map (M, 1, S, S)."""
        maps, said = encoded, []
        for level in range(1, len(HIDDEN) + 1):
            sums = self.get_submodule(f"conv{level}")(maps)
            beside = self.get_submodule(f"guides{level}")
            assert isinstance(beside, nn.ModuleDict)
            for name, convolution in beside.items():
                sums = sums + convolution(guides[name][level - 1])
            said.append(sums.tanh())
            maps = self.get_submodule(f"up{level}")(said[-1])
        return tuple(said), maps


class ScaledSoftmax(nn.Module):
    """Softmax over space × the number of pixels, (…, S, S) → the same, mean 1: over many pixels the softmax itself underflows in fp16.

    Source: Lee et al. 2020, Eq. 3.
    """

    def forward(self, energy: Tensor) -> Tensor:
        risen = (energy - energy.amax((-2, -1), keepdim=True)).exp()
        return risen / risen.mean((-2, -1), keepdim=True)


def shrunk(attention: Tensor, side: int) -> Tensor:
    """Mean attention (M, 1, S, S) over the squares that one pixel of (M, 1, side, side) covers."""
    square = attention.shape[-1] // side
    return attention if square == 1 else functional.avg_pool2d(attention, square)
