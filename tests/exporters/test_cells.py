"""Every recurrent cell against a numpy transcription of its printed equations, and what that comparison would catch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from exporters.architecture import randomise
from exporters.cells import AttentionLstm, ConvLstm, EnhancedConvLstm, GuidedLstm, PeepholeConvLstm, Peepholes, State
from tests.exporters import cells_transcribed as transcribed
from tests.exporters.cells_transcribed import Values

CLOSE = 1e-12
GROUPS = 2
KINDS = ("plain", "peephole", "enhanced", "a-lstm printed", "a-lstm hadamard", "ag-lstm 1", "ag-lstm 2", "ag-lstm 2 hadamard")


def made(kind: str, inputs: int = 3, hidden: int = 4, size: tuple[int, int] = (5, 6), kernel: int = 3, seed: int = 0) -> ConvLstm:
    """Make a cell in float64, every parameter random and away from zero."""
    peepholes: Peepholes = "hadamard" if kind.endswith("hadamard") else "printed"
    cell: ConvLstm
    if kind == "plain":
        cell = ConvLstm(inputs, hidden, kernel)
    elif kind == "peephole":
        cell = PeepholeConvLstm(inputs, hidden, size, kernel)
    elif kind == "enhanced":
        cell = EnhancedConvLstm(inputs, hidden, size, kernel, GROUPS)
    elif kind.startswith("a-lstm"):
        cell = AttentionLstm(inputs, hidden, size, peepholes, kernel)
    else:
        cell = GuidedLstm(inputs, hidden, size, ("depth", "thermal")[: int(kind.split()[1])], peepholes, kernel)
    cell.double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for value in cell.parameters():
            drawn = rng.uniform(0.1, 0.6, tuple(value.shape)) * rng.choice([-1.0, 1.0], tuple(value.shape))
            value.copy_(torch.from_numpy(drawn))
    return cell


def clips(cell: ConvLstm, length: int, size: tuple[int, int] = (5, 6), rows: int = 2, seed: int = 1) -> tuple[Values, dict[str, Values]]:
    """Draw clips (rows, T, inputs, H, W) and guides' states (rows, T, hidden, H, W)."""
    rng = np.random.default_rng(seed)
    guides = {name: rng.uniform(-1, 1, (rows, length, cell.hidden, *size)) for name in getattr(cell, "guides", ())}
    return rng.standard_normal((rows, length, cell.x.in_channels, *size)), guides


def run(cell: ConvLstm, x: Values, guides: dict[str, Values]) -> Values:
    """Run `exporters/cells.py`."""
    with torch.no_grad():
        if not isinstance(cell, GuidedLstm):
            return np.asarray(cell(torch.from_numpy(x)).numpy())
        gates = cell.gates(torch.from_numpy(x).flatten(0, 1)).unflatten(0, x.shape[:2])
        return np.asarray(cell.run(cell.guided(gates, {name: torch.from_numpy(states) for name, states in guides.items()})).numpy())


def printed(cell: ConvLstm, x: Values, guides: dict[str, Values]) -> Values:
    """Run the transcription, one clip at a time."""
    w = transcribed.symbols(cell)
    said = []
    for row, clip in enumerate(x):
        if isinstance(cell, AttentionLstm):
            said.append(transcribed.attention(w, clip, cell.c is not None, {name: states[row] for name, states in guides.items()}))
        elif isinstance(cell, EnhancedConvLstm):
            said.append(transcribed.enhanced(w, clip, cell.norm.num_groups))
        else:
            said.append((transcribed.peephole if isinstance(cell, PeepholeConvLstm) else transcribed.plain)(w, clip))
    return np.stack(said)


def error(cell: ConvLstm, reference: ConvLstm | None = None) -> float:
    x, guides = clips(cell, 6)
    return float(np.abs(run(cell, x, guides) - printed(reference or cell, x, guides)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_its_printed_equations(kind: str) -> None:
    cell = made(kind)
    x, guides = clips(cell, 6)
    assert np.abs(run(cell, x, guides)).max() > 0.2
    assert error(cell) <= CLOSE


@given(
    st.sampled_from(KINDS), st.integers(1, 3), st.sampled_from([2, 4]), st.sampled_from([1, 3, 5]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(1, 6), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_of_any_size_kernel_and_length(kind: str, inputs: int, hidden: int, kernel: int, size: tuple[int, int], t: int, seed: int) -> None:
    if kind == "enhanced" and size == (1, 1):
        size = (2, 1)  # torch refuses to normalise a group of one value
    cell = made(kind, inputs, hidden, size, kernel, seed)
    x, guides = clips(cell, t, size, seed=seed)
    assert np.abs(run(cell, x, guides) - printed(cell, x, guides)).max() <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_part_is_per_frame_and_the_second_starts_at_zero(kind: str) -> None:
    cell = made(kind)
    x, _ = clips(cell, 5)
    with torch.no_grad():
        frames = torch.from_numpy(x)
        each = torch.stack([cell.gates(frames[:, k]) for k in range(5)], 1)
        assert torch.allclose(cell.run(each), cell(frames), rtol=0, atol=CLOSE)
        assert torch.allclose(cell.run(each[:, 2:])[:, 0], cell.run(each[:, 2:3])[:, 0], rtol=0, atol=CLOSE)


def test_a_guide_acts_a_frame_later() -> None:
    cell = made("ag-lstm 1")
    x, guides = clips(cell, 5)
    moved = {name: states.copy() for name, states in guides.items()}
    moved["depth"][:, 2] += 1.0
    difference = np.abs(run(cell, x, guides) - run(cell, x, moved)).max((0, 2, 3, 4))
    assert (difference[:3] == 0).all()
    assert (difference[3:] > 1e-3).all()


def _swapped(cell: ConvLstm, first: int, second: int) -> None:
    order = list(range(4))
    order[first], order[second] = order[second], order[first]
    with torch.no_grad():
        for value in (cell.x.weight, cell.x.bias, cell.h.weight):
            assert value is not None
            value.copy_(torch.cat([value.chunk(4)[k] for k in order]))


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_swapped_gate_is_caught(kind: str, pair: tuple[int, int]) -> None:
    cell = made(kind)
    _swapped(cell, *pair)
    assert error(cell, made(kind)) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_parameter_is_caught(kind: str) -> None:
    names = [(name, part) for name, value in made(kind).named_parameters() for part in range(_parts(name, value))]
    assert ("peephole" in " ".join(name for name, _ in names)) == (kind != "plain")
    for name, part in names:
        cell = made(kind)
        value = dict(cell.named_parameters())[name]
        with torch.no_grad():
            value.chunk(_parts(name, value))[part].zero_()
        assert error(cell, made(kind)) > 1e-3, f"{name}, part {part}"


def _parts(name: str, value: Tensor) -> int:
    """Into how many gates a parameter divides."""
    if name.startswith(("x.", "h.", "guides.")):
        return 4
    return 2 if name == "c.weight" else len(value) if name == "peephole" else 1


class LaterOutput(PeepholeConvLstm):
    """Mistaken: o looks at c_t, as in Lee et al."""

    def cell(self, gates: Tensor, state: State | None) -> State:
        _, c = super().cell(gates, state)
        o = (gates if state is None else gates + self.h(state[0])).chunk(4, 1)[3]
        return (o + self.peephole[2] * c).sigmoid(), c


class EarlierOutput(AttentionLstm):
    """Mistaken: o looks at c_{t−1}, as in Miyoshi et al."""

    def step(self, gates: Tensor, state: State | None) -> State:
        _, c = super().step(gates, state)
        o = (gates if state is None else gates + self.h(state[0])).chunk(4, 1)[3]
        return (o if state is None else o + self.peephole_o * state[1]).sigmoid() * c.tanh(), c


class Enhanced(EnhancedConvLstm):
    """Mistaken in `fault`: what is added from before, or what recurs."""

    fault = ""

    def run(self, gates: Tensor) -> Tensor:
        state: State | None = None
        said: list[Tensor] = []
        for frame in gates.unbind(1):
            o, c = self.cell(frame[:, : 4 * self.hidden], state)
            h = o * c.tanh() + frame[:, 4 * self.hidden :]
            back = {"h_{t-2} left out": 99, "h_{t-1} for h_{t-2}": 1}.get(self.fault, 2)
            if len(said) >= back:
                h = h + said[-back]
            said.append(h if self.fault == "no normalisation" else self.norm(h))
            state = (h if self.fault == "un-normalised h recurs" else said[-1]), c
        return torch.stack(said, 1)


def _as(cell: ConvLstm, kind: type[ConvLstm]) -> ConvLstm:
    cell.__class__ = kind
    return cell


def test_the_output_gate_looking_at_the_wrong_state_is_caught() -> None:
    assert error(_as(made("peephole"), LaterOutput), made("peephole")) > 1e-3
    for kind in ("a-lstm printed", "a-lstm hadamard"):
        assert error(_as(made(kind), EarlierOutput), made(kind)) > 1e-3


@pytest.mark.parametrize("fault", ["", "h_{t-2} left out", "h_{t-1} for h_{t-2}", "un-normalised h recurs", "no normalisation"])
def test_a_wrong_skip_or_normalisation_is_caught(fault: str) -> None:
    cell = _as(made("enhanced"), Enhanced)
    assert isinstance(cell, Enhanced)
    cell.fault = fault
    found = error(cell, made("enhanced"))
    assert (found > 1e-3) == bool(fault)
    assert fault or found <= CLOSE


def test_a_reading_of_the_peepholes_for_the_other_is_caught() -> None:
    size = (3, 3)
    cell = made("a-lstm hadamard", size=size)
    other = made("a-lstm printed", size=size)
    x, _ = clips(cell, 5, size)
    for name in ("x", "h"):
        getattr(other, name).load_state_dict(getattr(cell, name).state_dict())
    assert np.abs(run(other, x, {}) - printed(cell, x, {})).max() > 1e-3


def test_random_weights_leave_no_peephole_at_zero() -> None:
    for kind in KINDS:
        cell: nn.Module = made(kind)
        randomise(cell, 0)
        assert all(value.abs().max() > 0.01 for name, value in cell.named_parameters() if "peephole" in name)
