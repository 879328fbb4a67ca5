"""Ly et al. 2019: the gesture network, the grayscale overlap network and their ensemble, exported small; the whole sizes under `proof`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.terms import Part
from exporters import architecture, checkpoint, comparison, export
from exporters.architecture import Blueprint, OptionRefused
from exporters.architectures import ensemble, gesture_3dcnn_convlstm, grayscale_overlap_cnn
from exporters.architectures.grayscale_overlap_cnn import overlapped
from exporters.invariance import is_invariant, open_session, run
from exporters.parity import ParityFailed
from exporters.probes import drawn_clips

SMALL: Mapping[str, Mapping[str, object]] = {
    "gesture_3dcnn_convlstm": {"width": 2, "hidden": 4},
    "grayscale_overlap_cnn": {"width": 2, "hidden": 8},
    "ensemble": {"gesture_width": 2, "gesture_hidden": 4, "overlap_width": 4, "overlap_hidden": 16},
}
NAMES = tuple(SMALL)
Files = dict[Part, bytes]


@pytest.fixture(scope="module")
def exported() -> dict[str, tuple[Blueprint, Files]]:
    """Every network, small, as graphs; made once, changed by no test."""
    made = {}
    for name in NAMES:
        blueprint = architecture.find(name, 0, SMALL[name])
        made[name] = blueprint, export.graphs(blueprint)
    return made


def clips(rows: int) -> Tensor:
    """uint8 (rows, 16, 3, 128, 128)."""
    return torch.from_numpy(np.ascontiguousarray(drawn_clips(rows, 16, 128, 128).transpose(0, 1, 4, 2, 3)))


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def gesture_parameters(w: int, hidden: int, labels: int) -> int:
    convolutions = (3 * 27 + 1) * w + (w * 27 + 1) * 2 * w + (2 * w * 27 + 1) * 4 * w + (4 * w * 27 + 1) * 4 * w
    first = (4 * w * 9 + 1) * 4 * hidden + hidden * 9 * 4 * hidden
    second = (hidden * 9 + 1) * 4 * hidden + hidden * 9 * 4 * hidden
    return convolutions + first + second + (hidden * 8 * 8 + 1) * labels


def overlap_parameters(w: int, hidden: int, labels: int) -> int:
    convolutions = (9 + 1) * w + (w * 9 + 1) * 2 * w + (2 * w * 9 + 1) * 4 * w + (4 * w * 9 + 1) * 4 * w
    return convolutions + (4 * w * 8 * 8 + 1) * hidden + (hidden + 1) * labels


def test_parameter_counts_are_the_formulas() -> None:
    gesture, overlap = gesture_parameters(32, 64, 10), overlap_parameters(32, 128, 10)
    assert (gesture, overlap) == (1_500_554, 1_290_250)
    assert parameters(architecture.find("gesture_3dcnn_convlstm").network) == gesture
    assert parameters(architecture.find("grayscale_overlap_cnn").network) == overlap
    assert parameters(architecture.find("ensemble").network) == gesture + overlap
    assert parameters(architecture.find("gesture_3dcnn_convlstm", 0, {"labels": "a,b,c", "width": 3, "hidden": 5}).network) == (
        gesture_parameters(3, 5, 3)
    )


def test_gesture_shapes_are_those_of_the_paper() -> None:
    network = architecture.find("gesture_3dcnn_convlstm", 0, {"width": 2}).network
    with torch.no_grad():
        probabilities, *taps = network.full(clips(1))  # type: ignore[operator]
    assert [tuple(maps.shape[1:]) for maps in taps] == [(4, 8, 16, 16), (4, 64, 16, 16), (4, 64, 16, 16)]
    assert network.fc.in_features == 4096  # type: ignore[union-attr]
    assert probabilities.shape == (1, 10)
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-6)


def test_gesture_is_a_plain_3d_network_before_the_cells() -> None:
    """Two-dimensional sums and pooling by halves are Conv3d and MaxPool3d."""
    network = architecture.find("gesture_3dcnn_convlstm", 0, SMALL["gesture_3dcnn_convlstm"]).network.double()
    given = clips(1)
    layers = {name: getattr(network, name) for name in ("c1", "c2", "c3a", "c3b")}
    with torch.no_grad():
        maps = (given.double() / 127.5 - 1).transpose(1, 2)
        maps = torch.max_pool3d(layers["c1"](maps).relu(), (1, 2, 2))
        maps = torch.max_pool3d(layers["c2"](maps).relu(), 2)
        maps = torch.max_pool3d(layers["c3b"](layers["c3a"](maps).relu()).relu(), 2)
        state = network.lstm2(network.lstm1(maps.transpose(1, 2)))[:, -1]  # type: ignore[operator]
        wanted = network.fc(torch.max_pool2d(state, 2).flatten(1)).softmax(1)  # type: ignore[operator]
        got = network.full(given)[0]  # type: ignore[operator]
    assert torch.allclose(got, wanted, atol=1e-5)


def overlap_by_hand(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """M of gray frames (N, H, W), a pixel's sum at a time, in float64."""
    t = len(frames) - 1
    total = np.zeros(frames.shape[1:])
    for i in range(1, len(frames)):
        total += np.abs(frames[i - 1] - frames[i]) * (i / t)
    largest = total.max()
    return total if largest == 0 else total / largest


def test_overlap_is_the_equation() -> None:
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 1, (3, 16, 9, 7))
    frames[1] = frames[1, :1]  # nothing moves: no division by 0
    got = overlapped(torch.from_numpy(frames)[:, :, None]).numpy()[:, 0]
    for row, wanted in zip(got, (overlap_by_hand(clip) for clip in frames), strict=True):
        np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-12)
    assert got[0].max() == 1.0
    assert not got[1].any()


def test_later_motion_is_brighter() -> None:
    frames = torch.zeros(1, 16, 1, 2, 2, dtype=torch.float64)
    frames[0, 2:, 0, 0, 0] = 1.0
    frames[0, 14:, 0, 1, 1] = 1.0
    assert overlapped(frames)[0, 0].tolist() == [[pytest.approx(2 / 14), 0.0], [0.0, 1.0]]


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
def test_graphs_are_the_network_whole_and_in_two_parts(exported: dict[str, tuple[Blueprint, Files]], name: str) -> None:
    blueprint, files = exported[name]
    assert set(files) == {"full", "frame", "window"}
    found = {p.tensor: p for p in comparison.compare(blueprint, files)}
    assert {"full/probabilities", "frame/features", "window/probabilities", "frame+window/probabilities"} <= set(found)
    assert found["full/probabilities"].spread >= 1e-3


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_rows_beside_it(exported: dict[str, tuple[Blueprint, Files]], name: str) -> None:
    for part in ("frame", "window"):
        data = exported[name][1][part]
        assert is_invariant(data, export.graph_entry(part, data), 3, threads=(1,))


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
def test_frame_and_window_are_the_whole_on_the_runtime(exported: dict[str, tuple[Blueprint, Files]], name: str) -> None:
    files = exported[name][1]
    given = clips(2).numpy()
    whole = run(open_session(files["full"]), {"body": given})["probabilities"]
    frame = run(open_session(files["frame"]), {"body": given.reshape(-1, 3, 128, 128)})
    kept = "gray" if name == "grayscale_overlap_cnn" else "frames"
    stacked = frame[kept].reshape(2, 16, *frame[kept].shape[1:])
    got = run(open_session(files["window"]), {kept: stacked})["probabilities"]
    np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(whole, np.float64), rtol=0, atol=1e-6)
    if kept == "frames":
        assert stacked.dtype == np.uint8
        assert stacked.tobytes() == given.tobytes()


@pytest.mark.proof
def test_features_are_cell_means_of_gray(exported: dict[str, tuple[Blueprint, Files]]) -> None:
    picture = clips(1)[0, :2].numpy()
    gray = np.tensordot(picture.astype(np.float64) / 255, np.array([0.299, 0.587, 0.114]), (1, 0))
    wanted = gray.reshape(2, 16, 8, 16, 8).mean((2, 4)).reshape(2, 256)
    for name in NAMES:
        got = run(open_session(exported[name][1]["frame"]), {"body": picture})["features"]
        np.testing.assert_allclose(np.asarray(got, np.float64), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("selector", "parts"), [("none", 1), ("uniform", 1), ("stride", 1), ("random", 1), ("kmeans", 3), ("itq", 3)])
def test_every_selector_makes_a_manifest(selector: str, parts: int) -> None:
    for name in NAMES:
        blueprint = architecture.find(name, 0, {**SMALL[name], "selector": selector})
        assert len(blueprint.parts) == (3 if name == "grayscale_overlap_cnn" else parts)
        assert blueprint.keyframes.selector == selector
        assert blueprint.keyframes.features == ("features" if selector in ("kmeans", "itq") else None)
        assert (blueprint.keyframes.seed is None) == (selector not in ("random", "kmeans"))
        assert (blueprint.window.frames, blueprint.window.buffer) == (16, 16 if selector == "none" else 64)
        assert blueprint.window.scope == "clip"
        assert blueprint.crops["body"].kind == "upper-body"


def test_rows_of_table_2_differ_in_the_choice_of_frames_alone() -> None:
    networks = [
        architecture.find("gesture_3dcnn_convlstm", 3, {**SMALL["gesture_3dcnn_convlstm"], "selector": s}) for s in ("stride", "itq")
    ]
    states = [blueprint.network.state_dict() for blueprint in networks]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("given", [{"labels": ("one",)}, {"seed": 1}, {"std": (0.5, 0.0, 0.5)}, {"crop": "face"}, {"combine": "vote"}])
def test_wrong_options_are_refused(given: Mapping[str, object]) -> None:
    with pytest.raises(OptionRefused):
        architecture.find("ensemble", 0, given)


def test_two_checkpoints_load_behind_their_prefixes() -> None:
    left = architecture.find("gesture_3dcnn_convlstm", 1, SMALL["gesture_3dcnn_convlstm"]).network
    right = architecture.find("grayscale_overlap_cnn", 2, {"width": 4, "hidden": 16}).network
    both = {f"gesture.{key}": value for key, value in left.state_dict().items()}
    both |= {f"overlap.{key}": value for key, value in right.state_dict().items()}
    given = clips(2)
    with torch.no_grad():
        each = left.full(given)[0], right.full(given)[0]  # type: ignore[operator]
        for combine, wanted in (
            ("mean", (each[0] + each[1]) / 2),
            ("product", each[0] * each[1] / (each[0] * each[1]).sum(1, keepdim=True)),
        ):
            network = architecture.find("ensemble", 0, {**SMALL["ensemble"], "combine": combine}).network
            checkpoint.fit(network, checkpoint.Checkpoint(both, "0" * 64))
            assert torch.allclose(network.full(given)[0], wanted, atol=1e-6)  # type: ignore[operator]


def test_a_product_of_opposite_certainties_is_finite() -> None:
    network = ensemble.Ensemble(ensemble.Options.model_validate({**SMALL["ensemble"], "combine": "product"})).float()
    with torch.no_grad():
        for layer, sure in ((network.gesture.fc, 0), (network.overlap.fc2, 1)):
            layer.weight.zero_()
            layer.bias.zero_()[sure] = 500.0
        probabilities = network.full(clips(1))[0]
    assert probabilities[0, :2].tolist() == [pytest.approx(0.5), pytest.approx(0.5)]


class Reversed(nn.Module):
    """A network that is given its clip backwards."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.inner(frames.flip(1))
        return found


class First(nn.Module):
    """A network's first output alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, frames: Tensor) -> Tensor:
        found: Tensor = self.inner(frames)[0]
        return found


@pytest.mark.proof
@pytest.mark.parametrize("name", ["gesture_3dcnn_convlstm", "grayscale_overlap_cnn"])
def test_reversed_frames_fail(exported: dict[str, tuple[Blueprint, Files]], name: str) -> None:
    blueprint, files = exported[name]
    whole = blueprint.parts["full"]
    backwards = replace(blueprint, parts={"full": replace(whole, module=First(Reversed(whole.module)), taps=())}, max_batch=4)
    with pytest.raises(ParityFailed, match="probabilities: error"):
        comparison.compare(backwards, {"full": files["full"]})


MUTATIONS: Mapping[str, tuple[str, Part]] = {
    "one model only": ("ensemble", "full"),
    "another layer": ("grayscale_overlap_cnn", "full"),
    "red and blue swapped": ("gesture_3dcnn_convlstm", "frame"),
}


@pytest.mark.proof
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_other_mutations_fail(exported: dict[str, tuple[Blueprint, Files]], mutation: str) -> None:
    name, part = MUTATIONS[mutation]
    blueprint = architecture.find(name, 0, SMALL[name])
    network = blueprint.network
    with torch.no_grad():
        if isinstance(network, ensemble.Ensemble):
            network.overlap.fc2.weight.zero_()
        elif isinstance(network, grayscale_overlap_cnn.Overlap):
            network.c4.weight.copy_(network.c4.weight.flip(0))
        elif isinstance(network, gesture_3dcnn_convlstm.Gesture):
            network.passed.gray.luma.copy_(network.passed.gray.luma.flip(0).clone())
    only = replace(blueprint, parts={part: blueprint.parts[part]}, max_batch=4)
    with pytest.raises(ParityFailed, match=r"error .* is above"):
        comparison.compare(only, {part: exported[name][1][part]})
