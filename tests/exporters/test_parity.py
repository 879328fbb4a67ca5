"""Parity with teeth: a wrong graph fails, and so does a comparison that could not have shown it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.manifest import Tensor
from exporters import architecture, checkpoint, comparison, parity, shipped
from exporters.architecture import Exported
from exporters.onnx_graph import GraphBuilder
from exporters.parity import ParityFailed

X = Tensor(name="x", dtype="float32", shape=(4,))


def graph(slope: float) -> bytes:
    builder = GraphBuilder()
    builder.node("Mul", "x", builder.constant(slope), name="y")
    return bytes(builder.model("line", [X], [Tensor(name="y", dtype="float32", shape=(4,))]).SerializeToString())


def line(inputs: parity.Arrays) -> parity.Arrays:
    return {"y": np.asarray(inputs["x"], np.float64) * 2.0}


def test_error_and_spread_are_measured() -> None:
    rows = {"x": np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)}
    (right,) = parity.measure(graph(2.0), line, "by hand", rows, {"y": 1e-6})
    assert right.max_abs_error < 1e-6
    assert right.spread == pytest.approx(np.sqrt(np.var(rows["x"] * 2.0, axis=0).mean()))
    parity.require([right])
    (wrong,) = parity.measure(graph(2.001), line, "by hand", rows, {"y": 1e-6})
    assert wrong.max_abs_error == pytest.approx(1e-3, rel=1e-2)
    with pytest.raises(ParityFailed, match="above"):
        parity.require([wrong])


def test_a_reference_that_hardly_moves_proves_nothing() -> None:
    rows = {"x": np.full((6, 4), 0.5, np.float32) + np.arange(6, dtype=np.float32)[:, None] * 3e-5}
    (measured,) = parity.measure(graph(2.0), line, "by hand", rows, {"y": 1e-5})
    assert measured.max_abs_error <= measured.tolerance
    # 0 to 5 deviate by 1.708, doubled and times 3e-5: ten times the tolerance, of the hundred that it takes.
    assert measured.spread == pytest.approx(1.025e-4, rel=0.01)
    with pytest.raises(ParityFailed, match="moves by"):
        parity.require([measured])


def test_nan_fails() -> None:
    rows = {"x": np.ones((3, 4), np.float32)}
    with pytest.raises(ParityFailed, match="not finite"):
        parity.measure(graph(float("nan")), line, "by hand", rows, {"y": 1e-5})


@pytest.fixture(scope="module")
def network() -> architecture.Blueprint:
    blueprint = architecture.find("fer-small")
    checkpoint.fit(blueprint.network, checkpoint.read(shipped.committed_checkpoint()), blueprint.dropped)
    return blueprint


@pytest.mark.parametrize("mutation", ["swapped excitation", "no prior", "no excitation", "floor", "last block"])
def test_a_mutated_network_fails_against_the_shipped_graph(network: architecture.Blueprint, mutation: str) -> None:
    files = {"frame": (shipped.shipped_folders() / "fer-small" / "frame.onnx").read_bytes()}
    assert comparison.compare(network, files)  # type: ignore[arg-type]
    kept = {name: value.clone() for name, value in network.network.state_dict().items()}
    prior = network.network.prior.clone()  # type: ignore[operator, union-attr]
    try:
        with torch.no_grad():
            state = network.network.state_dict()
            if mutation == "swapped excitation":
                for leaf in ("a.weight", "a.bias", "b.weight", "b.bias"):
                    state[f"l3.0.se.{leaf}"].copy_(kept[f"l3.1.se.{leaf}"])
            elif mutation == "no excitation":
                state["l2.0.se.b.weight"].zero_()
            elif mutation == "no prior":
                network.network.prior.zero_()  # type: ignore[operator, union-attr]
            elif mutation == "floor":
                state["stem.1.running_mean"].add_(0.01)
            else:
                state["l4.b.1.bias"].zero_()
        with pytest.raises(ParityFailed):
            comparison.compare(network, files)  # type: ignore[arg-type]
    finally:
        network.network.load_state_dict(kept)
        with torch.no_grad():
            network.network.prior.copy_(prior)  # type: ignore[operator, union-attr]


def test_torch_reference_runs_in_float64() -> None:
    part = Exported(torch.nn.Linear(4, 2), (X,), ("y",))
    assert parity.torch_reference(part)({"x": np.ones((3, 4), np.float32)})["y"].dtype == np.float64
