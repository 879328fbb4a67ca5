"""Miyoshi et al. 2020: the streams, their sum, and every row of Table 2, exported small; the whole size under `proof`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from engines.terms import Part
from exporters import architecture, comparison, export, papers
from exporters.architecture import Blueprint, OptionRefused
from exporters.architectures.enhanced_convlstm import STREAMS, CellStack, Streams, dynamic_image
from exporters.cells import EnhancedConvLstm
from exporters.invariance import is_invariant
from exporters.parity import ParityFailed
from exporters.probes import probe
from exporters.small_resnet import SmallResNet

SMALL: Mapping[str, object] = {
    "widths": (2, 4, 8, 16), "kernels": (3, 3, 3, 3), "groups": 2, "resnet": 2, "fully_connected": (16,),
}  # fmt: skip
QUICK: Mapping[str, object] = {**SMALL, "streams": ("rgb-resnet", "flow-resnet")}
ROWS = {row.row: row.options for row in papers.ROWS if row.architecture == "enhanced_convlstm"}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def cell_parameters(inputs: int, hidden: int, kernel: int, size: int, enhanced: bool) -> int:
    """Eq. 1: W_x and b, W_h, W_c (three gates); Eq. 2 adds W_xs and the normalisation's scale and shift."""
    area = kernel * kernel
    plain = (inputs * area + 1) * 4 * hidden + hidden * area * 4 * hidden + 3 * hidden * size * size
    return plain + (inputs * area * hidden + 2 * hidden if enhanced else 0)


def stack_parameters(inputs: int, enhanced: bool) -> int:
    total, layers = 0, ((16, 5, 64), (32, 5, 32), (64, 3, 16), (128, 3, 8))
    for hidden, kernel, size in layers:
        total += cell_parameters(inputs, hidden, kernel, size, enhanced)
        inputs = hidden
    return total


def resnet_parameters(inputs: int) -> int:
    """Table 1 as printed; a convolution without bias and two numbers of its batch normalisation per channel."""
    total, before = (inputs * 9 + 2) * 16, 16
    for (a, b, c), blocks in (((16, 16, 32), 3), ((32, 32, 64), 4), ((64, 32, 128), 6), ((128, 64, 128), 3)):
        for k in range(blocks):
            total += (before + 2) * a + (a * 9 + 2) * b + (b + 2) * c
            # conv5_x ends as conv4_x does, but its first block has stride 2.
            total += (before + 2) * c if k == 0 else 0
            before = c
    return total


HEAD = (8192 + 1) * 512 + (512 + 1) * 128 + (128 + 1) * 6


@pytest.mark.parametrize("row", ROWS)
def test_parameter_counts_are_the_formulas(row: str) -> None:
    blueprint = architecture.find("enhanced_convlstm", 0, ROWS[row])
    enhanced, streams = bool(ROWS[row].get("enhanced", True)), ROWS[row].get("streams", STREAMS)
    assert isinstance(streams, tuple)
    wanted = HEAD
    for stream in streams:
        inputs = 3 if stream.startswith("rgb") else 2
        wanted += stack_parameters(inputs, enhanced) if stream.endswith("convlstm") else resnet_parameters(inputs)
    assert parameters(blueprint.network) == wanted


def test_the_default_has_every_stream_in_one_shape() -> None:
    network = architecture.find("enhanced_convlstm").network
    assert isinstance(network, Streams)
    assert list(network.streams) == ["rgb_convlstm", "flow_convlstm", "rgb_resnet", "flow_resnet"]
    assert network.fc[0].in_features == 8192
    stack = network.streams["rgb_convlstm"]
    assert isinstance(stack, CellStack)
    said = []
    for cell in stack.cells:
        assert isinstance(cell, EnhancedConvLstm)
        said.append((cell.hidden, cell.x.kernel_size[0], tuple(cell.peephole.shape[1:]), cell.norm.num_groups))
    assert said == [(16, 5, (16, 64, 64), 8), (32, 5, (32, 32, 32), 8), (64, 3, (64, 16, 16), 8), (128, 3, (128, 8, 8), 8)]
    with torch.no_grad():
        assert network.streams["flow_resnet"](torch.zeros(1, 2, 64, 64)).shape == (1, 128, 8, 8)


@pytest.mark.parametrize("stride_at", ["3x3", "1x1"])
def test_resnet_has_50_layers_and_the_papers_kernels(stride_at: str) -> None:
    network = architecture.find("enhanced_convlstm", 0, {"streams": ("rgb-resnet",), "resnet_stride": stride_at}).network
    resnet = network.streams["rgb_resnet"]  # type: ignore[index]
    assert isinstance(resnet, SmallResNet)
    convolutions = {name: m for name, m in resnet.named_modules() if isinstance(m, nn.Conv2d) and "shortcut" not in name}
    assert len(convolutions) + 1 == 50  # the fully connected layer is the 50th in He et al. 2016
    kernels = [(m.kernel_size[0], m.out_channels) for name, m in convolutions.items() if name.startswith(("conv4.0", "conv5.2"))]
    assert kernels == [(1, 64), (3, 32), (1, 128), (1, 128), (3, 64), (1, 128)]
    strided = {name.split(".")[2] for name, m in convolutions.items() if m.stride == (2, 2)}
    assert strided == {"b" if stride_at == "3x3" else "a"}
    sizes = []
    maps = resnet.conv1(torch.zeros(1, 3, 64, 64))
    for stage in (resnet.conv2, resnet.conv3, resnet.conv4, resnet.conv5):
        sizes.append(maps.shape[-1])
        maps = stage(maps)
    assert [*sizes, maps.shape[-1]] == [64, 64, 32, 16, 8]


def test_a_dynamic_image_is_the_mean_frame() -> None:
    frames = np.random.default_rng(0).uniform(0, 255, (2, 16, 3, 5, 4))
    wanted = sum(frames[:, t] for t in range(16)) / 16
    np.testing.assert_allclose(dynamic_image(torch.from_numpy(frames)).numpy(), wanted, rtol=0, atol=1e-12)
    backwards = dynamic_image(torch.from_numpy(frames[:, ::-1].copy())).numpy()
    np.testing.assert_allclose(backwards, wanted, rtol=0, atol=1e-12)  # "the order is lost"


def test_streams_are_summed_then_decided() -> None:
    network = architecture.find("enhanced_convlstm", 0, SMALL).network.double()
    face = torch.from_numpy(np.asarray(probe(architecture.find("enhanced_convlstm", 0, SMALL).parts["full"].inputs[0], 1)))
    flow = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 16, 2, 64, 64)))
    assert isinstance(network, Streams)
    rgb = face.double() / 127.5 - 1
    with torch.no_grad():
        probabilities, *features = network.full(face, flow)
        streams = network.streams
        wanted = [
            streams["rgb_convlstm"](rgb), streams["flow_convlstm"](flow),
            streams["rgb_resnet"](rgb.mean(1)).tanh(), streams["flow_resnet"](flow.mean(1)).tanh(),
        ]  # fmt: skip
        hidden = network.fc[0](sum(wanted).flatten(1)).relu()
        logits = network.fc[1](hidden)
    for got, feature in zip(features, wanted, strict=True):
        assert torch.allclose(got, feature, atol=1e-5)
    assert torch.allclose(probabilities, logits.softmax(1), atol=1e-5)


@pytest.mark.parametrize("row", ROWS)
def test_rows_take_the_inputs_that_their_streams_look_at(row: str) -> None:
    blueprint = architecture.find("enhanced_convlstm", 0, {**SMALL, **ROWS[row]})
    assert set(blueprint.parts) == {"full"}
    assert {t.name: (t.dtype, t.shape) for t in blueprint.parts["full"].inputs} == {
        "face": ("uint8", (16, 3, 64, 64)), "flow": ("float32", (16, 2, 64, 64)),
    }  # fmt: skip
    assert blueprint.crops["flow"].content == "flow"
    assert (blueprint.window.frames, blueprint.window.hop, blueprint.window.buffer, blueprint.window.scope) == (16, 8, 16, "rolling")
    has_groups = any(isinstance(module, nn.GroupNorm) for module in blueprint.network.modules())
    assert has_groups == ("Enhanced" in row or "proposed" in row)


@pytest.mark.parametrize("kind", ["rgb", "flow"])
def test_one_kind_of_stream_asks_for_one_input(kind: str) -> None:
    blueprint = architecture.find("enhanced_convlstm", 0, {**SMALL, "streams": f"{kind}-resnet,{kind}-convlstm"})
    name = "face" if kind == "rgb" else "flow"
    assert [t.name for t in blueprint.parts["full"].inputs] == [name] == list(blueprint.crops)
    assert blueprint.options["streams"] == (f"{kind}-convlstm", f"{kind}-resnet")


@pytest.mark.parametrize(
    "given",
    [
        {"streams": ()}, {"streams": ("rgb-resnet", "rgb-resnet")}, {"streams": ("rgb",)}, {"kernels": (5, 4, 3, 3)}, {"groups": 7},
        {"resnet": 8}, {"widths": (16, 32, 64)}, {"labels": ("one",)}, {"flow_scale": 0},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(given: Mapping[str, object]) -> None:
    with pytest.raises(OptionRefused):
        architecture.find("enhanced_convlstm", 0, given)


def test_only_what_is_used_must_fit() -> None:
    architecture.find("enhanced_convlstm", 0, {**QUICK, "groups": 7})
    architecture.find("enhanced_convlstm", 0, {**SMALL, "streams": ("rgb-convlstm",), "resnet": 5})
    architecture.find("enhanced_convlstm", 0, {**SMALL, "enhanced": False, "groups": 7})


@pytest.fixture(scope="module")
def resnets() -> tuple[Blueprint, dict[Part, bytes]]:
    """Two ResNet streams alone: what the graph of a quick test can be."""
    blueprint = architecture.find("enhanced_convlstm", 0, QUICK)
    return blueprint, export.graphs(blueprint)


@pytest.mark.proof
def test_the_graph_is_the_network(resnets: tuple[Blueprint, dict[Part, bytes]]) -> None:
    found = {p.tensor: p.spread for p in comparison.compare(*resnets)}
    assert set(found) == {"probabilities", "rgb_resnet", "flow_resnet"}
    assert min(found.values()) >= 1e-3
    data = resnets[1]["full"]
    assert is_invariant(data, export.graph_entry("full", data), 3)


@pytest.mark.proof
@pytest.mark.parametrize("mutation", ["stream dropped", "tanh of another", "batch statistics", "stride", "flow scale"])
def test_a_mutated_network_fails(resnets: tuple[Blueprint, dict[Part, bytes]], mutation: str) -> None:
    more: dict[str, object] = {"stride": {"resnet_stride": "1x1"}, "flow scale": {"flow_scale": 1.1}}.get(mutation, {})  # type: ignore[assignment]
    blueprint = architecture.find("enhanced_convlstm", 0, {**QUICK, **more})
    network = blueprint.network
    assert isinstance(network, Streams)
    with torch.no_grad():
        if mutation == "stream dropped":
            mutated(network, "flow_resnet")
        elif mutation == "tanh of another":
            network.streams["rgb_resnet"].conv1[0].weight.mul_(1.01)  # type: ignore[union-attr, index]
        elif mutation == "batch statistics":
            network.streams["rgb_resnet"].conv4[2].b[1].running_var.fill_(1.0)  # type: ignore[union-attr, index]
    with pytest.raises(ParityFailed, match=r"error .* is above"):
        comparison.compare(blueprint, resnets[1])


class Silent(nn.Module):
    """A stream that says nothing."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pictures), 16, 8, 8, dtype=pictures.dtype if pictures.is_floating_point() else torch.float32)


def mutated(network: Streams, name: str) -> None:
    """Put a silent stream in the place of another."""
    network.streams[name] = Silent()


def test_what_the_normalisation_does_is_seen() -> None:
    """Without GroupNorm, or without h of two frames ago, a cell's stack gives something else by far more than parity allows."""
    network = architecture.find("enhanced_convlstm", 0, {**SMALL, "streams": ("flow-convlstm",)}).network.double()
    flow = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 16, 2, 64, 64)))
    stack = network.streams["flow_convlstm"]  # type: ignore[index]
    assert isinstance(stack, CellStack)
    with torch.no_grad():
        before = stack(flow)
        cell = stack.cells[2]
        assert isinstance(cell, EnhancedConvLstm)
        cell.norm = nn.Identity()  # type: ignore[assignment]
        assert (stack(flow) - before).abs().max() > 100 * comparison.INSIDE


@pytest.mark.proof
@pytest.mark.parametrize("enhanced", [True, False])
def test_all_four_streams_small(enhanced: bool) -> None:
    blueprint = architecture.find("enhanced_convlstm", 0, {**SMALL, "enhanced": enhanced})
    files = export.graphs(blueprint)
    assert {p.tensor for p in comparison.compare(blueprint, files)} >= {"probabilities", "rgb_convlstm", "flow_convlstm"}
    network = blueprint.network
    assert isinstance(network, Streams)
    stack = network.streams["rgb_convlstm"]
    assert isinstance(stack, CellStack)
    with torch.no_grad():
        if enhanced:
            stack.cells[1].norm = nn.Identity()
        else:
            stack.cells[1].peephole.zero_()  # type: ignore[operator]
    with pytest.raises(ParityFailed, match="rgb_convlstm: error"):
        comparison.compare(blueprint, files)
