"""Recurrent cells of the four papers: ConvLSTM and its relatives.

Owns their equations, one class per variant, and the unrolled run over a window. Does not own networks. `*` is convolution, `∘` the
Hadamard product, σ the logistic function. All shapes are channel first.

Every cell splits its work as time allows: `gates(frames)` is what depends on a frame alone (all `W_x * x_t + b`), for any number of
frames at once; `run(gates)` walks through time. So the first can be cached per frame, and the second starts at zero at each window.
Gates lie along the channels in the order i, f, g, o (g: the candidate, tanh). h and c before the first frame are zero, so the first
step has no recurrent convolutions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from exporters.layers import folded, unfolded

State = tuple[Tensor, Tensor]
"""h and c, each (N, hidden, H, W)."""


def _same(inputs: int, outputs: int, kernel: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class ConvLstm(nn.Module):
    """ConvLSTM without peepholes.

    i, f, o = σ(W_x * x_t + W_h * h_{t−1} + b); g = tanh(…); c_t = f ∘ c_{t−1} + i ∘ g; h_t = o ∘ tanh(c_t).
    Parameters: `x` convolution inputs → 4·hidden with bias, `h` hidden → 4·hidden without.
    Source: Ly et al. 2019, section 2.3; Saurav et al. 2020, Eq. 1–6.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        self.hidden = hidden
        self.x = _same(inputs, 4 * hidden, kernel, bias=True)
        self.h = _same(hidden, 4 * hidden, kernel, bias=False)

    def gates(self, frames: Tensor) -> Tensor:
        """(M, inputs, H, W) → (M, 4·hidden, H, W)."""
        out: Tensor = self.x(frames)
        return out

    def step(self, gates: Tensor, state: State | None) -> State:
        """Advance one frame; `state` None: zeros."""
        i, f, g, o = (gates if state is None else gates + self.h(state[0])).chunk(4, 1)
        c = i.sigmoid() * g.tanh()
        if state is not None:
            c = f.sigmoid() * state[1] + c
        return o.sigmoid() * c.tanh(), c

    def run(self, gates: Tensor) -> Tensor:
        """Gates (N, T, 4·hidden, H, W) → h of every frame (N, T, hidden, H, W)."""
        state: State | None = None
        said = []
        # Time lies among the channels meanwhile: taking a frame out and putting one back is then one node less each.
        for frame in gates.flatten(1, 2).chunk(gates.shape[1], 1):
            state = self.step(frame, state)
            said.append(state[0])
        return torch.cat(said, 1).reshape(-1, gates.shape[1], self.hidden, *gates.shape[3:])

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, inputs, H, W) → h of every frame (N, T, hidden, H, W)."""
        return self.run(unfolded(self.gates(folded(clips)), clips.shape[1]))


class PeepholeConvLstm(ConvLstm):
    """ConvLSTM with Hadamard peepholes, all on c_{t−1}: i, f, o = σ(W_x * x_t + W_h * h_{t−1} + W_c ∘ c_{t−1} + b).

    Parameters beside `ConvLstm`'s: `peephole` (3, hidden, H, W) for i, f, o.
    Source: Miyoshi et al. 2020, Eq. 1.
    """

    def __init__(self, inputs: int, hidden: int, size: tuple[int, int], kernel: int = 3) -> None:
        super().__init__(inputs, hidden, kernel)
        self.peephole = nn.Parameter(torch.empty(3, hidden, *size).normal_(0.0, 0.5))

    def cell(self, gates: Tensor, state: State | None) -> State:
        """Return the output gate's value and c_t."""
        i, f, g, o = (gates if state is None else gates + self.h(state[0])).chunk(4, 1)
        if state is None:
            return o.sigmoid(), i.sigmoid() * g.tanh()
        before = state[1]
        at_i, at_f, at_o = self.peephole.unbind(0)
        c = (f + at_f * before).sigmoid() * before + (i + at_i * before).sigmoid() * g.tanh()
        return (o + at_o * before).sigmoid(), c

    def step(self, gates: Tensor, state: State | None) -> State:
        o, c = self.cell(gates, state)
        return o * c.tanh(), c


class EnhancedConvLstm(PeepholeConvLstm):
    """ConvLSTM with skip connections in space and time: h_t = GN(o ∘ tanh(c_t) + h_{t−2} + W_xs * x_t); else as Eq. 1.

    The normalised h is what recurs. Parameters beside `PeepholeConvLstm`'s: `skip` convolution inputs → hidden without bias (Eq. 2
    has none), `norm` group normalisation. `gates` carries the skip's result as its last `hidden` channels.
    Source: Miyoshi et al. 2020, Eq. 2; Wu & He 2018 (group normalisation).
    """

    def __init__(self, inputs: int, hidden: int, size: tuple[int, int], kernel: int = 3, groups: int = 8) -> None:
        super().__init__(inputs, hidden, size, kernel)
        self.skip = _same(inputs, hidden, kernel, bias=False)
        self.norm = nn.GroupNorm(groups, hidden)

    def gates(self, frames: Tensor) -> Tensor:
        """(M, inputs, H, W) → (M, 5·hidden, H, W)."""
        return torch.cat([self.x(frames), self.skip(frames)], 1)

    def run(self, gates: Tensor) -> Tensor:
        """Gates (N, T, 5·hidden, H, W) → h of every frame (N, T, hidden, H, W)."""
        state: State | None = None
        said: list[Tensor] = []
        for frame in gates.unbind(1):
            o, c = self.cell(frame[:, : 4 * self.hidden], state)
            h = o * c.tanh() + frame[:, 4 * self.hidden :]
            if len(said) >= 2:
                h = h + said[-2]
            said.append(self.norm(h))
            state = said[-1], c
        return torch.stack(said, 1)


Peepholes = Literal["printed", "hadamard"]


class AttentionLstm(ConvLstm):
    """A-LSTM: i, f look through peepholes at c_{t−1}, o at c_t.

    `printed`: convolutions for i and f, Hadamard for o. `hadamard`: all three Hadamard (Shi et al. 2015).
    Parameters beside `ConvLstm`'s: `c` convolution hidden → 2·hidden (i, f) without bias, or `peephole` (2, hidden, H, W); and
    `peephole_o` (hidden, H, W).
    Source: Lee et al. 2020, Eq. 1.
    """

    def __init__(self, inputs: int, hidden: int, size: tuple[int, int], peepholes: Peepholes = "printed", kernel: int = 3) -> None:
        super().__init__(inputs, hidden, kernel)
        self.c: nn.Conv2d | None = None
        if peepholes == "printed":
            self.c = _same(hidden, 2 * hidden, kernel, bias=False)
        else:
            self.peephole = nn.Parameter(torch.empty(2, hidden, *size).normal_(0.0, 0.5))
        self.peephole_o = nn.Parameter(torch.empty(hidden, *size).normal_(0.0, 0.5))

    def step(self, gates: Tensor, state: State | None) -> State:
        # i and f stay one tensor for as long as both are treated alike: fewer nodes, and an unrolled window has thousands.
        both, g, o = (gates if state is None else gates + self.h(state[0])).split([2 * self.hidden, self.hidden, self.hidden], 1)
        if state is None:
            c = both[:, : self.hidden].sigmoid() * g.tanh()
        else:
            before = state[1]
            if self.c is not None:
                peeped = self.c(before)
            else:
                peeped = self.peephole.flatten(0, 1) * torch.cat([before, before], 1)
            i, f = (both + peeped).sigmoid().chunk(2, 1)
            c = f * before + i * g.tanh()
        return (o + self.peephole_o * c).sigmoid() * c.tanh(), c


class GuidedLstm(AttentionLstm):
    """AG-LSTM: an A-LSTM whose gates also see the other modalities' hidden states of the frame before, Σ_g w^g * h^g_{t−1}.

    The guides' states are known for the whole window beforehand, so their convolutions run over all frames at once.
    Parameters beside `AttentionLstm`'s: `guides.<name>` convolution hidden → 4·hidden without bias.
    Source: Lee et al. 2020, Eq. 2 (x^F in f_t read as x^I).
    """

    def __init__(
        self, inputs: int, hidden: int, size: tuple[int, int], guides: tuple[str, ...], peepholes: Peepholes = "printed", kernel: int = 3
    ) -> None:
        super().__init__(inputs, hidden, size, peepholes, kernel)
        self.guides = nn.ModuleDict({name: _same(hidden, 4 * hidden, kernel, bias=False) for name in guides})

    def guided(self, gates: Tensor, guides: dict[str, Tensor]) -> Tensor:
        """Gates (N, T, 4·hidden, H, W) and guides' h (N, T, hidden, H, W) by name → gates with the guides' part added."""
        if gates.shape[1] == 1:
            return gates
        for name, convolution in self.guides.items():
            states = guides[name]
            before = unfolded(convolution(folded(states[:, :-1])), states.shape[1] - 1)
            gates = torch.cat([gates[:, :1], gates[:, 1:] + before], 1)
        return gates
