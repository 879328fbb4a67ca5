"""Trained networks through the exporter: they still know their classes, they need the order of frames, and parity sees what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engines.terms import Part
from exporters import checkpoint, export
from exporters.architecture import Blueprint
from exporters.cells import ConvLstm
from exporters.comparison import compare
from exporters.invariance import open_session, run
from exporters.parity import ParityFailed
from tests.trained.clips import BACKWARDS, Clips
from tests.trained.train import RECIPES, TEST_CLIPS, TEST_SEED, blueprint_of, classes, clips_for, inputs_for, weights

pytestmark = pytest.mark.proof
GOOD = 0.9
Exported = tuple[Blueprint, dict[Part, bytes]]


@pytest.fixture(scope="module", params=sorted(RECIPES))
def exported(request: pytest.FixtureRequest) -> Exported:
    recipe = RECIPES[request.param]
    blueprint = blueprint_of(recipe)
    checkpoint.fit(blueprint.network, checkpoint.read(weights(request.param)))
    return blueprint, export.graphs(blueprint)


def answers(exported: Exported, clips: Clips) -> np.ndarray:
    session = open_session(exported[1]["full"])
    rows = inputs_for(exported[0], clips)
    found = [run(session, {name: values[k : k + 1] for name, values in rows.items()}) for k in range(len(clips.label))]
    return classes({name: np.concatenate([row[name] for row in found]) for name in found[0]})


def test_the_graph_knows_its_classes_and_needs_the_order(exported: Exported) -> None:
    clips = clips_for(exported[0], TEST_CLIPS, TEST_SEED)
    assert (answers(exported, clips) == clips.label).mean() >= GOOD
    turned = Clips(clips.color[:, ::-1], clips.depth[:, ::-1], clips.thermal[:, ::-1], np.array(BACKWARDS)[clips.label])
    turned = Clips(*(np.ascontiguousarray(v) for v in (turned.color, turned.depth, turned.thermal)), turned.label)
    # The same frames in the other order are the other class: a network that averaged would have to fail one of the two.
    assert (answers(exported, turned) == turned.label).mean() >= GOOD - 0.05


def test_the_trained_graph_is_the_network(exported: Exported) -> None:
    compare(*exported)


@contextmanager
def kept(network: nn.Module) -> Iterator[nn.Module]:
    """Give the network to be spoilt; put its weights back afterwards."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        with torch.no_grad():
            yield network
    finally:
        network.load_state_dict(before)


# A dropped peephole and a missing normalisation are held against random weights that spread (tests/exporters/test_enhanced.py,
# test_mran.py): networks that have them take longer to train than all of these together.


def fails(exported: Exported) -> None:
    with pytest.raises(ParityFailed):
        compare(*exported)


def cells(blueprint: Blueprint, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in blueprint.network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("exported", [name for name in RECIPES if name != "overlap"], indirect=True)
def test_swapped_gates_fail(exported: Exported) -> None:
    with kept(exported[0].network):
        for cell in cells(exported[0], ConvLstm):
            i, f, g, o = cell.x.weight.chunk(4)  # type: ignore[union-attr, operator]
            cell.x.weight.copy_(torch.cat([f, i, g, o]))  # type: ignore[union-attr, operator]
        fails(exported)


class Reversed(nn.Module):
    """A part that is given its frames backwards."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = self.part(*(values.flip(1) for values in inputs))
        return found


def test_reversed_frames_fail(exported: Exported) -> None:
    blueprint, files = exported
    full = blueprint.parts["full"]
    fails((replace(blueprint, parts={"full": replace(full, module=Reversed(full.module))}), {"full": files["full"]}))


def test_the_cache_is_named_after_what_the_weights_follow_from() -> None:
    paths: list[Path] = [weights(name) for name in RECIPES]
    assert len(set(paths)) == len(paths)
