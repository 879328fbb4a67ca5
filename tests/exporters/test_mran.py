"""mran and uran: counts, options, the two parts against the whole, and what a comparison must notice.

Table and equation numbers are those of Lee et al. 2020.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines.wiring import run_parts
from exporters import comparison, description, parity
from exporters.architecture import Blueprint, OptionRefused, find
from exporters.export import graphs
from exporters.invariance import is_invariant
from exporters.onnx_graph import graph_entry, parsed
from exporters.probes import probe
from exporters.recurrent_attention import RecurrentAttention

Given = Mapping[str, object]
SMALL = {"size": 32, "frames": 8}
TABLE_4 = ("color", "depth", "thermal", "color,depth", "color,thermal", "color,depth,thermal")
ABLATIONS: tuple[tuple[str, Given], ...] = (
    ("uran", {"attention": "none", "emotion_net": "2d"}),
    ("uran", {"attention": "none"}),
    ("uran", {"attention": "encoder"}),
    ("uran", {}),
    ("mran", {"attention": "none", "emotion_net": "2d", "modalities": "color"}),
    ("mran", {"attention": "none", "modalities": "color"}),
    ("mran", {"attention": "encoder"}),
)
"""Rows of Tables V and VI, top to bottom; the last row of VI is the last of Table IV."""
OTHERS: tuple[tuple[str, Given], ...] = (
    ("mran", {"emotion_net": "2d"}),
    ("mran", {"emotion_net": "2d", "attention": "encoder"}),
    ("mran", {"peepholes": "hadamard", "outputs": "valence,arousal"}),
    ("uran", {"head": "labels", "frames": 16}),
)
SAME_GRAPHS: tuple[tuple[str, Given], ...] = (
    ("mran", {"modalities": "thermal"}),
    ("mran", {"modalities": "color,thermal"}),
    ("uran", {}),
    ("mran", {"attention": "none", "emotion_net": "2d", "modalities": "color"}),
    ("mran", {"attention": "none", "modalities": "color"}),
)
"""Rows whose graphs another row has too, under other names: depth and thermal have one channel, uran is mran of colour alone."""
EVERY = (*(("mran", {"modalities": row}) for row in TABLE_4), *ABLATIONS, *OTHERS)


def small(name: str = "mran", options: Given | None = None) -> Blueprint:
    return find(name, 0, {**SMALL, **(options or {})})


def network_of(blueprint: Blueprint) -> RecurrentAttention:
    assert isinstance(blueprint.network, RecurrentAttention)
    return blueprint.network


def clips(blueprint: Blueprint, rows: int = 3) -> comparison.Rows:
    return {tensor.name: probe(tensor, rows) for tensor in blueprint.parts["full"].inputs}


def parameters(blueprint: Blueprint) -> int:
    return sum(parameter.numel() for parameter in blueprint.network.parameters())


def test_parameters_and_fc1_are_those_of_the_paper() -> None:
    printed, hadamard = find("mran"), find("mran", 0, {"peepholes": "hadamard"})
    assert parameters(printed) == 13_370_246
    assert parameters(hadamard) == 13_273_424
    assert network_of(printed).emotion.fc1.in_features == 9216
    assert network_of(find("mran", 0, {"size": 192})).emotion.fc1.in_features == 9216
    assert network_of(find("mran", 0, {"emotion_net": "2d"})).emotion.fc1.in_features == 9216


def test_layers_are_those_of_table_1() -> None:
    shapes = {name: tuple(value.shape) for name, value in find("mran").network.state_dict().items()}
    assert shapes["encoders.thermal.conv1.weight"] == (32, 1, 3, 3)
    assert shapes["encoders.color.conv3.weight"] == (128, 64, 3, 3)
    assert shapes["decoders.color.lstm1.x.weight"] == (4 * 64, 128, 3, 3)
    assert shapes["decoders.color.lstm2.guides.depth.weight"] == (4 * 32, 32, 3, 3)
    assert shapes["decoders.color.lstm3.peephole_o"] == (1, 48, 48)
    assert shapes["decoders.depth.up3.weight"] == (1, 1, 2, 2)
    assert shapes["emotion.x_prime.weight"] == (32, 3, 3, 3, 3)
    assert shapes["emotion.conv4.weight"] == (256, 128, 3, 3, 3)
    assert shapes["emotion.fc2.weight"] == (1, 1024)
    assert not [name for name in shapes if name.startswith(("decoders.depth.lstm1.guides", "readings"))]


def test_uran_is_mran_of_colour_alone() -> None:
    alone, uran = small(options={"modalities": "color"}), small("uran")
    assert set(alone.network.state_dict()) == set(uran.network.state_dict())
    given = clips(uran)
    one, other = parity.torch_reference(alone.parts["full"])(given), parity.torch_reference(uran.parts["full"])(given)
    assert all(np.array_equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mran", {"modalities": "depth,thermal"}, "add color"),
        ("mran", {"modalities": "color,color"}, "named twice"),
        ("mran", {"modalities": ""}, "at least 1"),
        ("mran", {"attention": "none"}, "modalities=color"),
        ("mran", {"frames": 12}, "multiple of 16"),
        ("mran", {"frames": 24}, "multiple of 16"),
        ("mran", {"size": 100}, "multiple of 16"),
        ("mran", {"outputs": "valence,valence"}, "named twice"),
        ("mran", {"outputs": "liking"}, "valence"),
        ("mran", {"head": "labels"}, "no option 'head'"),
        ("uran", {"modalities": "depth"}, "no option 'modalities'"),
        ("uran", {"head": "labels", "labels": "happy"}, "two or more"),
        ("uran", {"head": "labels", "outputs": "arousal"}, "leave outputs out"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(name: str, options: Given, said: str) -> None:
    with pytest.raises(OptionRefused, match=said):
        find(name, 0, options)


@pytest.mark.proof
@pytest.mark.parametrize(("name", "options"), EVERY)
def test_the_two_parts_are_the_whole(name: str, options: Given) -> None:
    blueprint = small(name, options)
    given = clips(blueprint)
    whole = parity.torch_reference(blueprint.parts["full"])(given)
    for output in blueprint.outputs.values():
        assert whole[output].std(0).max() > 0
    if "window" not in blueprint.parts:
        assert options.get("attention") == "none"
        assert options.get("emotion_net", "3d") == "3d"
        return
    length = blueprint.window.frames
    frames = {key: values.reshape(-1, *values.shape[2:]) for key, values in given.items()}
    kept = parity.torch_reference(blueprint.parts["frame"])(frames)
    wanted = {tensor.name: tensor.shape for tensor in blueprint.parts["window"].inputs}
    stacked = {key: kept[key].reshape(3, length, *kept[key].shape[1:]) for key in wanted}
    assert wanted == {key: values.shape[1:] for key, values in stacked.items()}
    parts = parity.torch_reference(blueprint.parts["window"])(stacked)
    for output in blueprint.outputs.values():
        assert apart(parts, whole, output) < 1e-9


@pytest.mark.proof
@pytest.mark.parametrize(("name", "options"), [("mran", {}), ("uran", {"attention": "encoder"}), ("uran", {"size": 192})])
def test_attention_sums_to_one_over_space(name: str, options: Given) -> None:
    blueprint = small(name, options)
    size = int(str(options.get("size", 32)))
    found = parity.torch_reference(blueprint.parts["full"])(clips(blueprint, 1))["attention"]
    assert found.shape == (1, 8, size, size)
    assert np.abs(found.sum((2, 3)) - 1.0).max() < 1e-9
    assert blueprint.outputs["attention"] == "attention"


def test_without_attention_there_is_no_such_output() -> None:
    assert "attention" not in small("uran", {"attention": "none"}).outputs


@pytest.mark.parametrize("frames", [8, 32])
def test_the_emotion_net_is_table_1_in_plain_3d_layers(frames: int) -> None:
    """X″ = A ∘ X′ as Eq. 4 has it, against the form that scales A, and against that form once folded."""
    emotion = network_of(find("uran", 0, {"size": 32, "frames": frames})).double().emotion
    torch.manual_seed(0)
    clip, attention = torch.rand(1, frames, 3, 32, 32).double(), torch.rand(1, frames, 1, 32, 32).double().div(1024)
    features = torch.relu(emotion.x_prime(clip.transpose(1, 2)))
    maps = attention.transpose(1, 2) * features
    for number in range(1, 5):
        pool = (1, 2, 2) if number == 4 and frames == 8 else 2
        maps = torch.nn.functional.max_pool3d(torch.relu(emotion.level(number)(maps)), pool)
    wanted = emotion.fc2(torch.relu(emotion.fc1(maps.flatten(1))))
    folded = copy.deepcopy(emotion)
    folded.fold()
    assert torch.allclose(emotion.features(clip), features.transpose(1, 2), atol=1e-12)
    for net in (emotion, folded):
        levels = net.convolved(attention * 1024 * net.features(clip))
        assert torch.allclose(levels[-1], maps.transpose(1, 2), atol=1e-12)
        assert torch.allclose(net.connected(levels[-1])[1], wanted, atol=1e-12)
    assert torch.equal(folded.level(1).weight, emotion.level(1).weight / 1024)


def test_labels_size_the_last_layer() -> None:
    blueprint = small("uran", {"head": "labels", "labels": "a,b,c"})
    found = parity.torch_reference(blueprint.parts["full"])(clips(blueprint))["probabilities"]
    assert blueprint.labels == ("a", "b", "c")
    assert found.shape == (3, 3)
    assert np.abs(found.sum(1) - 1).max() < 1e-12
    assert small("uran").labels == ()


def peephole_dropped(network: RecurrentAttention) -> None:
    lstm = network.get_submodule("decoders.color.lstm2")
    lstm.peephole_o.data.zero_()  # type: ignore[operator]


def peephole_convolution_dropped(network: RecurrentAttention) -> None:
    network.get_parameter("decoders.depth.lstm1.c.weight").data.zero_()


def gates_swapped(network: RecurrentAttention) -> None:
    weight = network.get_parameter("decoders.color.lstm2.x.weight").data
    weight.copy_(torch.cat([weight.chunk(4)[k] for k in (1, 0, 2, 3)]))


def guide_left_out(network: RecurrentAttention) -> None:
    network.get_parameter("decoders.color.lstm1.guides.thermal.weight").data.zero_()


def attention_not_normalised(network: RecurrentAttention) -> None:
    network.normalised = Exponential()  # type: ignore[assignment]


class Exponential(nn.Module):
    """Eq. 3 without its denominator."""

    def forward(self, energy: Tensor) -> Tensor:
        return energy.exp()


def frames_reversed(network: RecurrentAttention) -> None:
    network.emotion = Reversed(network.emotion)  # type: ignore[assignment]


class Reversed(nn.Module):
    """An emotion net whose clip runs backwards."""

    def __init__(self, emotion: nn.Module) -> None:
        super().__init__()
        self.emotion = emotion

    def features(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.emotion.features(pictures.flip(1))  # type: ignore[operator]
        return found

    def convolved(self, features: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.emotion.convolved(features)  # type: ignore[operator]
        return found

    def connected(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.emotion.connected(maps)  # type: ignore[operator]
        return found


MUTATIONS = (
    peephole_dropped,
    peephole_convolution_dropped,
    gates_swapped,
    guide_left_out,
    attention_not_normalised,
    frames_reversed,
)


def apart(one: parity.Arrays, other: parity.Arrays, name: str) -> float:
    return float(np.abs(np.asarray(one[name], np.float64) - np.asarray(other[name], np.float64)).max())


def mutated(blueprint: Blueprint, mutation: Callable[[RecurrentAttention], None]) -> parity.Reference:
    """The full part's reference of a copy that `mutation` was done to."""
    exported = blueprint.parts["full"]
    module = copy.deepcopy(exported.module)
    mutation(module.network)  # type: ignore[arg-type]
    return parity.torch_reference(type(exported)(module, exported.inputs, exported.outputs, exported.taps))


@pytest.mark.proof
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_moves_an_output_beyond_its_tolerance(mutation: Callable[[RecurrentAttention], None]) -> None:
    blueprint = small()
    given = clips(blueprint)
    good, bad = parity.torch_reference(blueprint.parts["full"])(given), mutated(blueprint, mutation)(given)
    tolerances = comparison.tolerances(blueprint, blueprint.parts["full"])
    beyond = [name for name in blueprint.outputs.values() if apart(good, bad, name) > 10 * tolerances[name]]
    assert beyond


@pytest.mark.proof
def test_a_mutation_fails_the_graphs_parity() -> None:
    blueprint = small()
    graph, tolerances = graphs(blueprint)["full"], comparison.tolerances(blueprint, blueprint.parts["full"])
    given = clips(blueprint)
    parity.require(parity.measure(graph, parity.torch_reference(blueprint.parts["full"]), "torch float64", given, tolerances))
    for mutation in MUTATIONS:
        with pytest.raises(parity.ParityFailed, match="error"):
            parity.require(parity.measure(graph, mutated(blueprint, mutation), "mutated", given, tolerances))


def checked(blueprint: Blueprint) -> dict[str, bytes]:
    """Export a model's parts, hold them against the network, and the rows of those that are run against each other."""
    files = graphs(blueprint)
    comparison.compare(blueprint, files)
    for part in run_parts(files):
        assert is_invariant(files[part], graph_entry(parsed(files[part]), f"{part}.onnx"), blueprint.max_batch)
    return {str(part): data for part, data in files.items()}


@pytest.mark.proof
@pytest.mark.parametrize(("name", "options"), [row for row in EVERY if row not in SAME_GRAPHS])
def test_every_row_exports(name: str, options: Given) -> None:
    checked(small(name, options))


def test_default_uran_costs_a_fifth_less_with_cached_frames() -> None:
    cost = {part: facts.gmac for part, facts in description.parts(find("uran")).items()}
    assert cost["full"] == pytest.approx(16 * cost["frame"] + cost["window"])
    assert (cost["frame"] + cost["window"]) / cost["full"] == pytest.approx(0.80, abs=0.01)
