"""A model of depth or thermal pictures where sources give colour: refused at the door, in one line, by every door."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from engines.engine import EngineOptions
from engines.manifest import Tensor
from exporters.onnx_graph import GraphBuilder
from service.chosen import detector_of
from service.cli import app
from service.config import load
from service.events import Event, ModelName
from service.feed import Arrival, FeedOptions
from service.inputs import Change
from service.live import LiveLoop
from service.models import Model, Models, UnknownModel
from service.perception.synthetic import SyntheticPerception, synthetic_expression
from service.settings import Settings, unusable
from tests.engines.graphs import common, write_folder
from tests.live.test_live_loop import Heard, Shelf
from tests.session.world import D, bundle, face, model, pipeline, push_all, results
from tests.waiting import PATIENCE_S

CROPS = {"face": {"size": [1, 1]}, "deep": {"size": [1, 1], "modality": "depth"}, "warm": {"size": [1, 1], "modality": "thermal"}}
LINE = "model 'three' needs color, depth, thermal pictures and sources give color only; choose a model of color alone"


def three() -> Model:
    manifest = synthetic_expression(D, 4, 4, 2, id="three", crops=CROPS)
    return Model(manifest, ModelName("three", "0" * 12), "synthetic", None, ())


def write_three(directory: Path) -> Path:
    """A model of colour, depth and heat that could be run, were there such pictures."""
    channels = {"face": ("uint8", 3), "deep": ("float32", 1), "warm": ("float32", 1)}
    inputs = [Tensor(name=name, dtype=dtype, shape=(4, c, 8, 8)) for name, (dtype, c) in channels.items()]  # type: ignore[arg-type]
    graph, parts = GraphBuilder(), []
    for tensor in inputs:
        value = graph.node("Cast", tensor.name, to=onnx.TensorProto.FLOAT)
        parts.append(graph.node("ReduceMean", value, graph.constant([1, 2, 3, 4], np.int64), keepdims=0))
    valence = graph.node("Sum", *parts)
    graph.node("Unsqueeze", valence, graph.constant([1], np.int64), name="valence")
    output = Tensor(name="valence", dtype="float32", shape=(1,))
    entry = {"file": "full.onnx", "inputs": [t.model_dump(mode="json") for t in inputs], "outputs": [output.model_dump(mode="json")]}
    manifest = common(
        "three", kind="expression", graphs={"full": entry}, crops={name: crop | {"size": [8, 8]} for name, crop in CROPS.items()},
        outputs={"valence": "valence"}, window={"frames": 4, "buffer": 4, "hop": 2},
    )  # fmt: skip
    return write_folder(directory, manifest, {"full.onnx": graph.model("three", inputs, [output])})


def test_no_session_begins_with_it() -> None:
    assert unusable(three().manifest) == LINE
    assert unusable(model(4, 4, 2).manifest) is None
    with pytest.raises(ValueError, match="needs color, depth, thermal"):
        Settings.of(three(), None, None, 1)


def test_a_change_to_it_changes_nothing() -> None:
    pipe = pipeline(model(4, 4, 2), models={"three": three()})
    inputs = [bundle(n, [face()]) for n in range(1, 9)]
    before = push_all(pipe, inputs[:4])
    with pytest.raises(ValueError, match="sources give color only"):
        pipe.push(Change(model="three"))
    assert results([*before, *push_all(pipe, inputs[4:])])[-1].faces[0].prediction is not None


@pytest.mark.parametrize("loaded", [False, True])
def test_a_live_session_is_told_and_goes_on(loaded: bool) -> None:
    shelf = Shelf()
    shelf.models["three"] = three()
    loop, heard = LiveLoop(shelf, SyntheticPerception(D), max_sessions=2), Heard()
    loop.start()
    try:
        feed = loop.open("one", FeedOptions("synthetic-expression", "all"), heard)
        if loaded:
            with pytest.raises(ValueError, match="sources give color only"):
                loop.open("two", FeedOptions("three"), Heard())
        with pytest.raises(ValueError, match="sources give color only"):
            loop.change(feed, Change(model="three"))
        for given in (bundle(n, [face()], clock="client") for n in range(1, 5)):
            feed.put(Arrival(feed.receive(), time.monotonic_ns(), given.t_ns, "client", given.frames))
        feed.close("client", drain=True)
        heard.wait()
        assert loop.healthy
        assert len(heard.of(Event)) == 4
    finally:
        loop.stop(PATIENCE_S)


def test_the_command_line_says_so(tmp_path: Path, media: Path) -> None:
    write_three(tmp_path / "three")
    said = CliRunner().invoke(app, ["analyze", str(media / "single_face.mp4"), "--models", str(tmp_path), "--model", "three"])
    assert (said.exit_code, said.stdout, said.stderr) == (2, "", f"mien: error: {LINE}\n")


def test_a_server_does_not_start_with_it(tmp_path: Path) -> None:
    write_three(tmp_path / "three")
    config = load(flags={"model": {"id": "three", "dirs": [tmp_path]}})
    models = Models(config.model.dirs, EngineOptions())
    with pytest.raises(UnknownModel, match="sources give color only"):
        detector_of(models, config)
    models.close()
