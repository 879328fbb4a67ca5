"""Key maps: a checkpoint renamed, permuted and packed by somebody else maps back to the identical network; mistakes name their line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from exporters import checkpoint, key_map
from exporters.cells import ConvLstm
from exporters.checkpoint import Checkpoint
from exporters.key_map import KeyMapError

GATES = "ifgo"
"""Our order; the common implementation stores i, f, o, g in one convolution over [x, h]."""


class Network(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, inputs, 3), nn.BatchNorm2d(inputs))
        self.cell = ConvLstm(inputs, hidden)
        self.fc = nn.Linear(hidden, 2)


def gate_order(order: str, hidden: int) -> list[int]:
    """Rows of their joint tensor where our gates begin."""
    return [order.index(gate) * hidden for gate in GATES]


@settings(deadline=None, max_examples=25)
@given(
    order=st.permutations(GATES).map("".join), inputs=st.integers(1, 4), hidden=st.integers(1, 3), prefix=st.sampled_from(["", "module."])
)
def test_a_joint_convlstm_with_other_names_and_gates_maps_back(order: str, inputs: int, hidden: int, prefix: str) -> None:
    ours = Network(inputs, hidden)
    state = ours.state_dict()
    joint = torch.cat([state["cell.x.weight"], state["cell.h.weight"]], 1)
    blocks = dict(zip(GATES, joint.chunk(4), strict=True))
    biases = dict(zip(GATES, state["cell.x.bias"].chunk(4), strict=True))
    theirs: dict[str, Tensor] = {
        f"{prefix}backbone.{name.removeprefix('features.')}": value for name, value in state.items() if name.startswith("features.")
    }
    theirs[f"{prefix}lstm.conv.weight"] = torch.cat([blocks[gate] for gate in order])
    theirs[f"{prefix}lstm.conv.bias"] = torch.cat([biases[gate] for gate in order])
    theirs["fc.weight"], theirs["fc.bias"] = state["fc.weight"], state["fc.bias"]
    theirs["aux.head"] = torch.zeros(7)
    rows = [f"{start}:{start + hidden}" for start in gate_order(order, hidden)]
    text = "\n".join(
        [
            f'"features.*" = "{prefix}backbone.*"',
            f'"cell.x.weight" = {json.dumps([f"{prefix}lstm.conv.weight[{row}, 0:{inputs}]" for row in rows])}',
            f'"cell.h.weight" = {json.dumps([f"{prefix}lstm.conv.weight[{row}, {inputs}:]" for row in rows])}',
            f'"cell.x.bias" = {json.dumps([f"{prefix}lstm.conv.bias[{row}]" for row in rows])}',
            'drop = ["aux.*"]',
        ]
    )
    target = Network(inputs, hidden)
    made = key_map.apply(key_map.parse(text), theirs, checkpoint.shapes(target))
    assert checkpoint.fit(target, Checkpoint(made, "")) == ""
    assert all(torch.equal(value, state[name]) for name, value in target.state_dict().items() if "num_batches" not in name)


NAMES = st.lists(st.from_regex(r"[a-z]{1,3}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True), min_size=1, max_size=6, unique=True)


@settings(deadline=None)
@given(ours=NAMES, theirs=NAMES, seed=st.integers(0, 99))
def test_any_renaming_maps_back(ours: list[str], theirs: list[str], seed: int) -> None:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != "drop"]
    generator = torch.Generator().manual_seed(seed)
    wanted = {name: torch.rand(2, 3, generator=generator) for name, _ in pairs}
    text = "\n".join(f'"{name}" = "{other}"' for name, other in pairs)
    made = key_map.apply(key_map.parse(text), {other: wanted[name] for name, other in pairs}, wanted)
    assert set(made) == set(wanted)
    assert all(torch.equal(made[name], value) for name, value in wanted.items())


STATE = {"conv.weight": torch.zeros(8, 5, 3, 3), "conv.bias": torch.zeros(8), "old.a": torch.zeros(2), "old.b": torch.zeros(3)}
WANTED = ("x.weight", "x.bias", "new.a", "new.b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\n"y.weight" = "conv.weight"', "line 2, 'y.weight': the network has no such key (nearest: x.weight)"),
        ('"x.weight" = "convs.weight"', "line 1, 'x.weight': the checkpoint has no key 'convs.weight' (nearest: conv.weight)"),
        ('"new.*" = "older.*"', "line 1, 'new.*': the checkpoint has no key 'older.a' (nearest: old.a, old.b)"),
        ('"new.*" = "old.a"', "line 1, 'new.*': both sides must have as many *"),
        ('"new.a" = "old.a"\n"new.b" = "old.b"\n"new.*" = "old.*"', "line 3, 'new.*': is never used"),
        ('"x.weight" = "conv.weight[:, 0:6]"', "line 1, 'x.weight': conv.weight has shape (8, 5, 3, 3); 0:6 on axis 1 is empty or outside"),
        ('"x.weight" = "conv.weight[4:4]"', "4:4 on axis 0 is empty"),
        ('"x.bias" = "conv.bias[:, 0:1]"', "a slice of 2 axes does not fit"),
        ('"x.bias" = "conv.bias[0:4:2]"', "[0:4:2] is not a slice"),
        ('"x.bias" = "conv.bias[0:4"', "neither a key nor a key with a slice"),
        ('"x.weight" = ["conv.weight", "conv.bias"]', "cannot be joined along axis 0"),
        ('"x.weight" = []', "must be a key of the checkpoint, or a list of keys"),
        ('"x.weight" = 3', "must be a key of the checkpoint, or a list of keys"),
        ('x.weight = "conv.weight"', "must stand in quotes"),
        ('drop = ["aux.*"]', "line 1, 'drop': drop 'aux.*': the checkpoint has no such key"),
        ('drop = "aux.*"', "line 1, 'drop': drop must be a list"),
        ("x = ", "is not TOML"),
    ],
)
def test_mistakes_are_one_line_that_names_the_map_s_line(text: str, said: str) -> None:
    with pytest.raises(KeyMapError) as refused:
        key_map.apply(key_map.parse(text, "map.toml"), STATE, WANTED)
    assert said in str(refused.value)
    assert str(refused.value).startswith("map.toml")
    assert "\n" not in str(refused.value)


def test_a_line_for_one_key_goes_before_wildcards_and_the_rest_keeps_its_name() -> None:
    state = {"old.a": torch.ones(2), "old.b": torch.full((2,), 2.0), "special": torch.full((2,), 3.0), "kept": torch.zeros(1)}
    text = '"new.*" = "old.*"\n"new.b" = "special"\ndrop = ["old.b"]'
    made = key_map.apply(key_map.parse(text), state, ["new.a", "new.b", "kept"])
    assert {name: value.tolist() for name, value in made.items()} == {"new.a": [1, 1], "new.b": [3, 3], "kept": [0]}


def test_negative_and_open_slices_are_numpy_s() -> None:
    value = torch.arange(24.0).reshape(6, 4)
    made = key_map.apply(key_map.parse('"a" = "v[-2:, :-1]"'), {"v": value}, ["a"])
    assert torch.equal(made["a"], value[-2:, :-1])


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(KeyMapError, match=r"cannot read key map none\.toml"):
        key_map.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyMapError, match="not UTF-8"):
        key_map.read(tmp_path / "bad.toml")
