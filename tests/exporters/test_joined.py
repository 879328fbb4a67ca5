"""A full graph joined of a frame and a window graph: the same numbers as both, one after the other, and nothing that is not needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from torch import nn

from engines.manifest import Tensor
from engines.terms import Part
from exporters.architecture import Exported
from exporters.invariance import open_session, run
from exporters.onnx_graph import GraphBuilder, GraphRefused
from exporters.targets.joined import joinable, joined

LENGTH = 5
PICTURE, MAPS = Tensor(name="face", dtype="float32", shape=(3, 4, 4)), Tensor(name="maps", dtype="float32", shape=(2, 4, 4))
CLIP, STACK = (one.model_copy(update={"shape": (LENGTH, *one.shape)}) for one in (PICTURE, MAPS))
OTHER, SUM = Tensor(name="features", dtype="float32", shape=(3, 4, 4)), Tensor(name="sum", dtype="float32", shape=(2, 4, 4))


def parts(taps: tuple[str, ...] = ()) -> dict[Part, Exported]:
    return {
        "full": Exported(nn.Identity(), (CLIP,), ("sum",), taps),
        "frame": Exported(nn.Identity(), (PICTURE,), ("features", "maps")),
        "window": Exported(nn.Identity(), (STACK,), ("sum",), taps),
    }


def frame(other: str = "features") -> onnx.ModelProto:
    builder = GraphBuilder()
    builder.node("Exp", "face", name=other)
    weight = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    builder.node("Tanh", builder.conv("face", weight, pads=(1, 1, 1, 1)), name="maps")
    return builder.model("frame", [PICTURE], [OTHER.model_copy(update={"name": other}), MAPS])


def window() -> onnx.ModelProto:
    builder = GraphBuilder()
    squared = builder.node("Mul", "maps", "maps", name="squared")
    builder.node("ReduceSum", squared, builder.constant([1], np.int64), name="sum", keepdims=0)
    builder.node("Exp", squared, name="seen")
    return builder.model("window", [STACK], [SUM])


def test_joined_is_one_after_the_other() -> None:
    clips = np.random.default_rng(1).standard_normal((3, LENGTH, 3, 4, 4)).astype(np.float32)
    whole = joined(frame(), window(), parts())
    got = run(open_session(whole.SerializeToString()), {"face": clips})["sum"]
    kept = run(open_session(frame().SerializeToString()), {"face": clips.reshape(-1, 3, 4, 4)})["maps"]
    wanted = run(open_session(window().SerializeToString()), {"maps": kept.reshape(3, LENGTH, 2, 4, 4)})["sum"]
    assert np.array_equal(got, wanted)


def test_what_nothing_needs_is_left_out_and_taps_stay() -> None:
    operators = [node.op_type for node in joined(frame(), window(), parts()).graph.node]
    tapped = joined(frame(), window(), parts(("seen",))).graph
    assert "Exp" not in operators
    assert [node.output[0] for node in tapped.node if node.op_type == "Exp"] == ["seen"]
    assert all(name in {c.name for c in tapped.initializer} | {o for n in tapped.node for o in n.output} | {"face"}
               for node in tapped.node for name in node.input)  # fmt: skip


def test_the_same_parts_give_the_same_bytes() -> None:
    first, second = (joined(frame(), window(), parts()).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_only_what_the_window_graph_names_can_be_joined() -> None:
    there = parts()
    assert joinable(there)
    assert not joinable({"full": there["full"]})
    assert not joinable({**there, "full": replace(there["full"], taps=("maps",))})


def test_a_window_of_something_else_is_refused() -> None:
    there = parts()
    wrong = {**there, "window": replace(there["window"], inputs=(STACK.model_copy(update={"name": "flow"}),))}
    with pytest.raises(GraphRefused, match="flow"):
        joined(frame(), window(), wrong)


def test_a_name_of_both_is_refused() -> None:
    clash = window()
    clash.graph.node[0].output[0] = "frame/face"
    for node in clash.graph.node[1:]:
        node.input[0] = "frame/face"
    with pytest.raises(GraphRefused, match="'frame/face' is a name in"):
        joined(frame(), clash, parts())
