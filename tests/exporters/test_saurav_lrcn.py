"""Saurav et al.'s network with and without its branch, and Ly et al.'s LRCN: sizes, parity, two parts against one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from exporters import architecture, checkpoint, comparison, export, shipped
from exporters.architecture import Blueprint, OptionRefused
from exporters.invariance import open_session, run
from exporters.layers import LUMA, folded, over_time, unfolded
from exporters.probes import probe

FACIAL, LRCN = "facial-3dcnn-convlstm", "lrcn"
FOLDED = "ignore:# The axis name:UserWarning"
"""torch's exporter says so of every graph with two inputs that share the batch."""
SMALL = {"branch_widths": "8,12,16", "widths": "4,6,8"}


def parameters(blueprint: Blueprint) -> int:
    return sum(value.numel() for value in blueprint.network.parameters())


def conv(inputs: int, outputs: int, kernel: int) -> int:
    """Weights and biases of a convolution with `kernel` taps."""
    return outputs * (inputs * kernel + 1)


def cell(inputs: int, hidden: int, kernel: int) -> int:
    return conv(inputs, 4 * hidden, kernel) + 4 * hidden * hidden * kernel


def test_facial_sizes_are_those_counted_by_hand() -> None:
    trunk = conv(1, 16, 27) + conv(16, 32, 27) + conv(32, 32, 27) + cell(32, 16, 9)
    plain = architecture.find(FACIAL)
    assert parameters(plain) == trunk + (16 * 16 * 16 + 1) * 7 == 98_375
    assert set(plain.parts) == {"full"}
    vgg = conv(1, 32, 9) + conv(32, 32, 9) + conv(32, 64, 9) + conv(64, 64, 9) + conv(64, 128, 9) + conv(128, 128, 9)
    assert parameters(architecture.find(FACIAL, 0, {"fer_branch": True})) == 98_375 + vgg + cell(128, 16, 9)
    deeper = architecture.find(FACIAL, 0, {"fully_connected": "50,20", "labels": "a,b,c", "widths": "8,12,24", "hidden": "8"})
    wanted = conv(1, 8, 27) + conv(8, 12, 27) + conv(12, 24, 27) + cell(24, 8, 9) + (2048 + 1) * 50 + 51 * 20 + 21 * 3
    assert parameters(deeper) == wanted
    assert deeper.labels == ("a", "b", "c")


def test_lrcn_sizes_are_those_counted_by_hand() -> None:
    for width, features, hidden in ((32, 256, 256), (4, 10, 6)):
        found = architecture.find(LRCN, 0, {"width": width, "features": features, "hidden": hidden})
        layers = conv(3, width, 9) + conv(width, 2 * width, 9) + conv(2 * width, 4 * width, 9) + conv(4 * width, 4 * width, 9)
        dense = (4 * width * 64 + 1) * features + (hidden + 1) * 10
        assert parameters(found) == layers + dense + cell(features, hidden, 1)


@pytest.mark.parametrize(
    ("arch", "options", "frames", "size", "maps"),
    [
        (FACIAL, {}, 8, 64, [(8, 16, 64, 64), (8, 32, 32, 32), (8, 32, 32, 32), (16, 16, 16)]),
        (FACIAL, {"fer_branch": True}, 8, 64, [(8, 16, 64, 64), (8, 32, 32, 32), (8, 32, 32, 32), (16, 16, 16), (16, 16, 16)]),
        (FACIAL, {"fer_branch": True, "branch": "fer-small"}, 8, 64, None),
        (LRCN, {}, 16, 128, [(16, 256)]),
        (LRCN, {"frames": 40, "selector": "random", "width": 4}, 40, 128, [(40, 256)]),
    ],
)
def test_tensors_have_the_shapes_of_the_description(
    arch: str, options: dict[str, object], frames: int, size: int, maps: list[tuple[int, ...]] | None
) -> None:
    blueprint = architecture.find(arch, 0, options)
    full = blueprint.parts["full"]
    assert full.inputs[0].shape == (frames, 3, size, size)
    assert blueprint.window.frames == frames
    clips = torch.from_numpy(np.asarray(probe(full.inputs[0], 2)))
    with torch.no_grad():
        probabilities, *taps = full.module(clips)
        assert probabilities.shape == (2, len(blueprint.labels))
        assert torch.allclose(probabilities.sum(1), torch.ones(2))
        if maps is not None:
            assert [tuple(tap.shape[1:]) for tap in taps] == maps
        if "frame" not in blueprint.parts:
            return
        given = dict(zip(blueprint.parts["frame"].outputs, blueprint.parts["frame"].module(clips.flatten(0, 1)), strict=False))
        kept = [given[tensor.name].unflatten(0, (2, frames)) for tensor in blueprint.parts["window"].inputs]
        assert [tuple(value.shape[1:]) for value in kept] == [tensor.shape for tensor in blueprint.parts["window"].inputs]
        assert torch.allclose(blueprint.parts["window"].module(*kept)[0], probabilities, atol=1e-6)


def test_what_a_window_is_follows_the_papers() -> None:
    facial = architecture.find(FACIAL)
    assert (facial.window.frames, facial.window.buffer, facial.window.hop, facial.window.scope) == (8, 16, 4, "clip")
    assert facial.keyframes.selector == "uniform"
    assert facial.labels == ("neutral", "surprise", "happy", "disgust", "sad", "fear", "anger")
    keyed = architecture.find(LRCN)
    assert (keyed.window.frames, keyed.window.buffer, keyed.window.hop, keyed.window.scope) == (16, 64, 8, "clip")
    assert (keyed.keyframes.selector, keyed.keyframes.features) == ("itq", "features")
    assert keyed.crops["body"].kind == "upper-body"
    drawn = architecture.find(LRCN, 0, {"frames": "40", "selector": "random", "seed": "3", "crop": "full"})
    assert (drawn.window.frames, drawn.keyframes.selector, drawn.keyframes.seed) == (40, "random", 3)
    assert (drawn.crops["body"].kind, drawn.keyframes.features) == ("full", None)


@pytest.mark.parametrize(
    ("arch", "options", "says"),
    [
        (FACIAL, {"labels": "joy"}, "at least 2"),
        (FACIAL, {"gamma": "0.5"}, "gamma"),
        (FACIAL, {"branch": "resnet"}, "'vgg' or 'fer-small'"),
        (FACIAL, {"widths": "16,32"}, "widths"),
        (FACIAL, {"fully_connected": "0"}, "fully_connected"),
        (FACIAL, {"frames": "9"}, "no option 'frames'"),
        (LRCN, {"frames": "65"}, "frames"),
        (LRCN, {"selector": "none"}, "selector"),
        (LRCN, {"seed": "3"}, "no effect on selector 'itq'"),
        (LRCN, {"crop": "face"}, "crop"),
        (LRCN, {"labels": "joy"}, "at least 2"),
    ],
)
def test_options_that_cannot_be_are_refused(arch: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionRefused, match=says):
        architecture.find(arch, 0, options)


@pytest.mark.filterwarnings(FOLDED)
@pytest.mark.parametrize(
    ("arch", "options"),
    [
        pytest.param(FACIAL, {}, id="facial"),
        pytest.param(FACIAL, {"fer_branch": True, "gamma": 1.5}, id="facial, AFEW", marks=pytest.mark.proof),
        pytest.param(FACIAL, {"fer_branch": True, "gamma": 1.5, **SMALL}, id="facial, AFEW, small", marks=pytest.mark.proof),
        pytest.param(
            FACIAL, {"fer_branch": True, "branch": "fer-small", "widths": "4,6,8"}, id="facial, fer-small", marks=pytest.mark.proof
        ),
        pytest.param(LRCN, {"width": 8, "frames": 40, "selector": "random"}, id="40 random frames", marks=pytest.mark.proof),
        pytest.param(LRCN, {"width": 4, "frames": 6, "readout": "last"}, id="lrcn, small", marks=pytest.mark.proof),
    ],
)
def test_the_graphs_are_the_network_and_two_parts_are_the_whole(arch: str, options: dict[str, object]) -> None:
    blueprint = architecture.find(arch, 0, options)
    files = export.graphs(blueprint)
    found = {one.tensor for one in comparison.compare(blueprint, files)}
    if "frame" not in files:
        assert found == {"probabilities", "c1", "c2", "c3", "hidden"}
        return
    assert "frame+window/probabilities" in found
    clips = np.asarray(probe(blueprint.parts["full"].inputs[0], 2, seed=7))
    name = blueprint.parts["full"].inputs[0].name
    sessions = {part: open_session(data) for part, data in files.items()}
    whole = run(sessions["full"], {name: clips})["probabilities"]
    for row, clip in enumerate(clips):
        each = [run(sessions["frame"], {name: frame[None]}) for frame in clip]
        kept = {tensor.name: np.stack([one[tensor.name][0] for one in each])[None] for tensor in blueprint.parts["window"].inputs}
        assert np.abs(run(sessions["window"], kept)["probabilities"][0] - whole[row]).max() < 1e-6


def test_the_order_of_frames_matters() -> None:
    for arch, options in ((FACIAL, {"fer_branch": True, **SMALL}), (LRCN, {"width": 4}), (LRCN, {"width": 4, "readout": "last"})):
        full = architecture.find(arch, 0, options).parts["full"]
        clips = torch.from_numpy(np.asarray(probe(full.inputs[0], 2)))
        with torch.no_grad():
            assert (full.module(clips)[0] - full.module(clips.flip(1))[0]).abs().max() > 1e-4


def test_the_last_states_are_added() -> None:
    network = architecture.find(FACIAL, 0, {"fer_branch": True, **SMALL}).network.double()
    clips = torch.from_numpy(np.asarray(probe(architecture.find(FACIAL).parts["full"].inputs[0], 2)))
    with torch.no_grad():
        probabilities, *_, hidden, beside = network.full(clips)  # type: ignore[operator]
        wanted = network.fc((hidden + beside).flatten(1)).softmax(1)  # type: ignore[operator]
    assert torch.allclose(probabilities, wanted, rtol=0, atol=1e-12)


def test_only_dark_frames_are_lightened() -> None:
    network = architecture.find(FACIAL, 0, {"gamma": 1.5}).network
    face = torch.full((1, 8, 3, 64, 64), 100, dtype=torch.uint8)
    face[:, 3] = 40
    gray = network.read(face)  # type: ignore[operator]
    assert torch.allclose(gray[:, :3], torch.tensor(100 / 255))
    assert torch.allclose(gray[:, 3], torch.tensor((40 / 255) ** (1 / 1.5)))
    assert torch.allclose(architecture.find(FACIAL).network.read(face)[:, 3], torch.tensor(40 / 255))  # type: ignore[operator]


def test_fer_smalls_weights_load_into_the_branch() -> None:
    given = checkpoint.read(shipped.committed_checkpoint()).state
    trunk = {f"branch.{key}": value for key, value in given.items() if key.startswith(("stem.", "l1.", "l2."))}
    network = architecture.find(FACIAL, 0, {"fer_branch": True, "branch": "fer-small"}).network.eval()
    wanted = {key for key in network.state_dict() if key.startswith("branch.") and not key.endswith("num_batches_tracked")}
    assert wanted <= set(trunk)
    network.load_state_dict(trunk, strict=False)
    whole = architecture.find("fer-small")
    checkpoint.fit(whole.network, checkpoint.read(shipped.committed_checkpoint()), whole.dropped)
    whole.network.eval()
    face = torch.from_numpy(np.asarray(probe(whole.parts["frame"].inputs[0], 3)))
    small = whole.network
    with torch.no_grad():
        maps = small.l2(small.l1(functional.relu(small.stem(small.standardised(face)))))  # type: ignore[operator]
        assert torch.allclose(network.frame(face)[3], maps, atol=1e-5)  # type: ignore[operator]
    gray = network.read(face)  # type: ignore[operator]
    assert torch.allclose(gray[:, 0], (face.float() * torch.tensor(LUMA)[:, None, None]).sum(1) / 255, atol=1e-6)


@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 5, 3), (5, 1, 1)])
def test_a_convolution_over_time_is_the_3d_one(kernel: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(3, 4, kernel, padding=tuple(k // 2 for k in kernel)).double()  # type: ignore[arg-type]
    clips = torch.randn(2, 6, 3, 7, 5, dtype=torch.float64)
    expected = layer(clips.transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(unfolded(over_time(layer, folded(clips), 6), 6), expected, rtol=0, atol=1e-12)
    clips[1] = torch.inf
    assert torch.equal(over_time(layer, folded(clips), 6)[:6], over_time(layer, clips[0], 6)), "nothing of one clip comes into another"
