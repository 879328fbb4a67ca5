"""Three graphs held against one network: the frames', the window's, the whole, and the first two one after the other.

The network is h = 2 · x for every frame and y = the mean of h over five frames; the graphs are written by hand, right and wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import nn

from engines.manifest import CropSpec, Keyframes, Tensor, Window
from engines.proof import Parity
from engines.terms import Part
from exporters import comparison
from exporters.architecture import Blueprint, Exported, Role, View
from exporters.onnx_graph import GraphBuilder
from exporters.parity import ParityFailed

T, SIZE = 5, 4
X, CLIP = Tensor(name="x", dtype="float32", shape=(SIZE,)), Tensor(name="x", dtype="float32", shape=(T, SIZE))
H, HS, Y = (
    Tensor(name=name, dtype="float32", shape=shape) for name, shape in (("h", (SIZE,)), ("h", (T, SIZE)), ("y", (SIZE,)))
)  # fmt: skip
ROLES: Mapping[Role, str] = {"probabilities": "y", "features": "h"}


class Network(nn.Module):
    def __init__(self, slope: float = 2.0) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def frame(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x * self.slope,)

    def window(self, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (h.mean(dim=1),)

    def full(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.window(*self.frame(x))


def blueprint(slope: float = 2.0, roles: Mapping[Role, str] = ROLES, parts: tuple[Part, ...] = ("full", "frame", "window")) -> Blueprint:
    network = Network(slope)
    every: dict[Part, Exported] = {
        "full": Exported(View(network, "full"), (CLIP,), ("y",)),
        "frame": Exported(View(network, "frame"), (X,), ("h",)),
        "window": Exported(View(network, "window"), (HS,), ("y",)),
    }
    return Blueprint(
        title="By hand", network=network, parts={part: every[part] for part in parts}, labels=("a", "b", "c", "d"),
        crops={"x": CropSpec(size=(8, 8))}, outputs=roles, window=Window(frames=T, buffer=T, hop=1), keyframes=Keyframes(selector="none"),
    )  # fmt: skip


Nodes = Callable[[GraphBuilder], object]


def graph(inputs: Tensor, output: Tensor, nodes: Nodes) -> bytes:
    builder = GraphBuilder()
    nodes(builder)
    return bytes(builder.model("made", [inputs], [output]).SerializeToString())


def frame(slope: float = 2.0, more: float = 0.0) -> bytes:
    return graph(X, H, lambda b: b.node("Add", b.node("Mul", "x", b.constant(slope)), b.constant(more), name="h"))


def _mean(builder: GraphBuilder, of: str, more: float) -> None:
    mean = builder.node("ReduceMean", of, builder.constant([1], np.int64), keepdims=0)
    builder.node("Add", mean, builder.constant(more), name="y")


def window(more: float = 0.0) -> bytes:
    return graph(HS, Y, lambda b: _mean(b, "h", more))


def whole(more: float = 0.0) -> bytes:
    return graph(CLIP, Y, lambda b: _mean(b, b.node("Mul", "x", b.constant(2.0)), more))


def files(**others: bytes) -> dict[Part, bytes]:
    made: dict[Part, bytes] = {"full": whole(), "frame": frame(), "window": window()}
    return made | others  # type: ignore[return-value,operator]


def faults(graphs: Mapping[Part, bytes]) -> set[str]:
    """The tensors that a comparison complains of."""
    with pytest.raises(ParityFailed) as refused:
        comparison.compare(blueprint(), graphs)
    listed = str(refused.value).removeprefix("parity fails: ").split("; ")
    return {fault.partition(": ")[0] for fault in listed if ": " in fault}


def test_right_graphs_are_measured_one_by_one_and_together() -> None:
    measured = comparison.compare(blueprint(), files())
    assert [(one.tensor, one.tolerance, one.batch, one.reference) for one in measured] == [
        ("full/y", 1e-5, (1, 3), "torch float64"),
        ("frame/h", 5e-5, (1, 3), "torch float64"),
        ("window/y", 1e-5, (1, 3), "torch float64"),
        ("frame+window/y", 1e-5, (1,), "torch float64 of the whole"),
    ]
    assert all(one.max_abs_error < 1e-6 for one in measured)
    spreads = {one.tensor: one.spread for one in measured}
    # Seeded normal noise, doubled: 2 for a frame, and 2 / √5 for a mean of five, within what 12 rows can say.
    assert 1.4 < spreads["frame/h"] < 2.6
    assert 0.6 < spreads["full/y"] < 1.2
    assert spreads["full/y"] == spreads["window/y"] == spreads["frame+window/y"]


@pytest.mark.parametrize("more", [0.25, -0.25])
def test_each_wrong_graph_is_named(more: float) -> None:
    assert faults(files(full=whole(more))) == {"full/y"}
    assert faults(files(window=window(more))) == {"window/y", "frame+window/y"}
    assert faults(files(frame=frame(more=more))) == {"frame/h", "frame+window/y"}
    assert faults(files(frame=frame(2.125))) == {"frame/h", "frame+window/y"}


def test_two_errors_that_cancel_are_found_in_each_graph() -> None:
    assert faults(files(frame=frame(more=0.25), window=window(-0.25))) == {"frame/h", "window/y"}


def _in_five(builder: GraphBuilder, clip_alone: bool) -> None:
    """2 · x, but where there are five rows (a clip's frames): (n − 1) · (n − 3) is 0 in batches of 1 and 3, and 8 in one of 5."""
    count = builder.node("Gather", builder.node("Shape", "x"), builder.constant(0, np.int64))
    n = builder.node("Cast", count, to=1)
    product = builder.node("Mul", builder.node("Sub", n, builder.constant(1.0)), builder.node("Sub", n, builder.constant(3.0)))
    more = builder.node("Mul", product, builder.constant(0.25))
    if clip_alone:  # only the clip whose mean is the least is wrong by much: 0 elsewhere
        least = builder.node("ReduceMean", "x", builder.constant([0, 1], np.int64), keepdims=0)
        more = builder.node("Mul", more, builder.node("Relu", builder.node("Sub", builder.constant(-0.3), least)))
    builder.node("Add", builder.node("Mul", "x", builder.constant(2.0)), more, name="h")


@pytest.mark.parametrize("clip_alone", [False, True])
def test_graphs_that_are_right_alone_and_wrong_one_after_the_other(clip_alone: bool) -> None:
    """The frame graph is run on all frames of a window at once, which is neither of the batches it is measured in."""
    assert faults(files(frame=graph(X, H, lambda b: _in_five(b, clip_alone)))) == {"frame+window/y"}


def test_a_network_that_does_not_move_proves_nothing() -> None:
    """Every graph says 0, as the network does."""
    nothing = {"full": graph(CLIP, Y, lambda b: _mean(b, b.node("Mul", "x", b.constant(0.0)), 0.0)), "frame": frame(0.0)}
    with pytest.raises(ParityFailed) as refused:
        comparison.compare(blueprint(slope=0.0), files(**nothing))
    text = str(refused.value)
    assert all(f"{tensor}: the reference moves by 0 only" in text for tensor in ("full/y", "frame/h", "window/y", "frame+window/y"))


@pytest.mark.parametrize(
    ("roles", "tolerance"),
    [
        ({"probabilities": "h"}, 1e-5), ({"valence": "h"}, 1e-5), ({"arousal": "h"}, 1e-5), ({"features": "h"}, 5e-5), ({}, 1e-4),
        ({"attention": "h"}, 1e-4 / 64),
    ],
)  # fmt: skip
def test_tolerances_go_by_role(roles: Mapping[Role, str], tolerance: float) -> None:
    """Of attention in units of an even one: the crop has 8 × 8 pixels. A model of one graph has names without a part."""
    (found,) = comparison.compare(blueprint(roles=roles, parts=("frame",)), {"frame": frame()})
    assert (found.tensor, found.tolerance) == ("h", pytest.approx(tolerance))


@pytest.mark.parametrize(("more", "passes"), [(0.8e-4, True), (1.4e-4, False)])
def test_an_output_without_a_role_may_be_off_by_a_ten_thousandth(more: float, passes: bool) -> None:
    def compared() -> tuple[Parity, ...]:
        return comparison.compare(blueprint(roles={}, parts=("frame",)), {"frame": frame(more=more)})

    if passes:
        assert compared()[0].max_abs_error == pytest.approx(more, rel=0.05)
        return
    with pytest.raises(ParityFailed, match=r"h: error 0\.0001\d* is above 0\.0001"):
        compared()
