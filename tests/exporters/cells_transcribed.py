"""The recurrent cells written down once more, in numpy, line by line as the papers print them.

Owns the transcription and the split of a cell's parameters into the papers' W and b. Shares no code with `exporters/cells.py`: one
weight per symbol, one clip at a time, frames one after the other, float64. Shapes are channel first; `x` is (T, inputs, H, W).

Names are the papers' indices: `xi` is W_xi, `hf` W_hf, `co` W_co, `bc` b_c; `xs`, `scale`, `shift` belong to the enhanced cell, and
`hi_depth` is w_hi^g of the guide `depth`. In them `c` is the candidate (tanh), which Ly et al. and Saurav et al. call g.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate2d

from exporters.cells import AttentionLstm, ConvLstm, EnhancedConvLstm, GuidedLstm, PeepholeConvLstm

Values = NDArray[np.float64]
Symbols = dict[str, Values]
EPS = 1e-5
"""Added to a group's variance. Source: Wu & He 2018, Eq. 2 (a small constant); torch's default."""


def convolved(weight: Values, maps: Values) -> Values:
    """`*` of the equations: maps (I, H, W) with weight (O, I, k, k), zeros around, as large as before."""
    return np.stack([sum((correlate2d(m, w, mode="same") for m, w in zip(maps, kernels, strict=True)), np.zeros(maps.shape[1:]))
                     for kernels in weight])  # fmt: skip


def sigmoid(values: Values) -> Values:
    return 1.0 / (1.0 + np.exp(-values))


def normalised(maps: Values, groups: int, scale: Values, shift: Values) -> Values:
    """Group normalisation of (C, H, W). Source: Wu & He 2018, Eq. 1–5."""
    out = []
    for group in np.split(maps, groups):
        mean = group.sum() / group.size
        variance = ((group - mean) ** 2).sum() / group.size
        out.append((group - mean) / np.sqrt(variance + EPS))
    return np.concatenate(out) * scale[:, None, None] + shift[:, None, None]


def plain(w: Symbols, x: Values) -> Values:
    """Transcribe Ly et al. 2019, section 2.3, and Saurav et al. 2020, Eq. 1–6."""
    h = c = np.zeros((len(w["bi"]), *x.shape[2:]))
    said = []
    for x_t in x:
        i = sigmoid(convolved(w["xi"], x_t) + convolved(w["hi"], h) + w["bi"])
        f = sigmoid(convolved(w["xf"], x_t) + convolved(w["hf"], h) + w["bf"])
        o = sigmoid(convolved(w["xo"], x_t) + convolved(w["ho"], h) + w["bo"])
        g = np.tanh(convolved(w["xc"], x_t) + convolved(w["hc"], h) + w["bc"])
        c = f * c + i * g
        h = o * np.tanh(c)
        said.append(h)
    return np.stack(said)


def peephole(w: Symbols, x: Values) -> Values:
    """Transcribe Miyoshi et al. 2020, Eq. 1: all three peepholes are Hadamard and look at c_{t−1}."""
    h = c = np.zeros((len(w["bi"]), *x.shape[2:]))
    said = []
    for x_t in x:
        before = c
        i = sigmoid(convolved(w["xi"], x_t) + convolved(w["hi"], h) + w["ci"] * before + w["bi"])
        f = sigmoid(convolved(w["xf"], x_t) + convolved(w["hf"], h) + w["cf"] * before + w["bf"])
        c = f * before + i * np.tanh(convolved(w["xc"], x_t) + convolved(w["hc"], h) + w["bc"])
        o = sigmoid(convolved(w["xo"], x_t) + convolved(w["ho"], h) + w["co"] * before + w["bo"])
        h = o * np.tanh(c)
        said.append(h)
    return np.stack(said)


def enhanced(w: Symbols, x: Values, groups: int) -> Values:
    """Transcribe Miyoshi et al. 2020, Eq. 2: as Eq. 1, and h_t = g(o ∘ tanh(c) + h_{t−2} + W_xs * x_t) is what recurs."""
    zero = np.zeros((len(w["bi"]), *x.shape[2:]))
    c, said = zero, [zero, zero]
    for x_t in x:
        before, h = c, said[-1]
        i = sigmoid(convolved(w["xi"], x_t) + convolved(w["hi"], h) + w["ci"] * before + w["bi"])
        f = sigmoid(convolved(w["xf"], x_t) + convolved(w["hf"], h) + w["cf"] * before + w["bf"])
        c = f * before + i * np.tanh(convolved(w["xc"], x_t) + convolved(w["hc"], h) + w["bc"])
        o = sigmoid(convolved(w["xo"], x_t) + convolved(w["ho"], h) + w["co"] * before + w["bo"])
        said.append(normalised(o * np.tanh(c) + said[-2] + convolved(w["xs"], x_t), groups, w["scale"], w["shift"]))
    return np.stack(said[2:])


def attention(w: Symbols, x: Values, printed: bool, guides: dict[str, Values] | None = None) -> Values:
    """Transcribe Lee et al. 2020, Eq. 1, with guides' h (T, hidden, H, W) Eq. 2.

    Peepholes of i and f look at c_{t−1}: by convolution where `printed`, else Hadamard. o's is Hadamard and looks at c_t.
    """
    h = c = np.zeros((len(w["bi"]), *x.shape[2:]))
    said: list[Values] = []

    def peep(weight: Values, state: Values) -> Values:
        return convolved(weight, state) if printed else weight * state

    def summed(gate: str, t: int) -> Values:
        """Σ_g w_h·^g * h_{t−1}^g, the cell's own modality among them."""
        total = convolved(w[f"h{gate}"], h)
        for name, states in (guides or {}).items():
            total = total + convolved(w[f"h{gate}_{name}"], states[t - 1] if t > 0 else np.zeros_like(h))
        return total

    for t, x_t in enumerate(x):
        i = sigmoid(convolved(w["xi"], x_t) + summed("i", t) + peep(w["ci"], c) + w["bi"])
        f = sigmoid(convolved(w["xf"], x_t) + summed("f", t) + peep(w["cf"], c) + w["bf"])
        now = f * c + i * np.tanh(convolved(w["xc"], x_t) + summed("c", t) + w["bc"])
        o = sigmoid(convolved(w["xo"], x_t) + summed("o", t) + w["co"] * now + w["bo"])
        c = now
        h = o * np.tanh(c)
        said.append(h)
    return np.stack(said)


def symbols(cell: ConvLstm) -> Symbols:
    """Split a cell's parameters, which lie in the order i, f, candidate, o, into one array per symbol."""
    given = {name: value.detach().double().numpy() for name, value in cell.named_parameters()}
    w: Symbols = {}
    for k, gate in enumerate("ifco"):
        part = slice(k * cell.hidden, (k + 1) * cell.hidden)
        w[f"x{gate}"], w[f"h{gate}"], w[f"b{gate}"] = given["x.weight"][part], given["h.weight"][part], given["x.bias"][part, None, None]
        if isinstance(cell, GuidedLstm):
            w |= {f"h{gate}_{name}": given[f"guides.{name}.weight"][part] for name in cell.guides}
    if isinstance(cell, PeepholeConvLstm):
        w |= dict(zip(("ci", "cf", "co"), given["peephole"], strict=True))
    if isinstance(cell, EnhancedConvLstm):
        w |= {"xs": given["skip.weight"], "scale": given["norm.weight"], "shift": given["norm.bias"]}
    if isinstance(cell, AttentionLstm):
        pair = np.split(given["c.weight"], 2) if "c.weight" in given else list(given["peephole"])
        w |= {"ci": pair[0], "cf": pair[1], "co": given["peephole_o"]}
    return w
