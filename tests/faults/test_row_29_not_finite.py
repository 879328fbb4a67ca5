"""FAULTS row 29: a network that gives NaN or infinity is not called, never a number."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.backends.onnx import open_graph
from engines.engine import EngineOptions
from service.events import Event, line
from service.perception.synthetic import EXPRESSION_ID, SyntheticPerception
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from tests.engines.graphs import model as onnx_model
from tests.session.world import D, bundle, engines, face, model


def _dividing() -> onnx.ModelProto:
    """probabilities = the identity's first four numbers over its fifth: by 0 that is infinity, and 0/0 NaN."""
    bounds = [numpy_helper.from_array(np.array([i], np.int64), f"at{i}") for i in (0, 1, 4, 5)]
    nodes = [
        helper.make_node("Slice", ["face", "at0", "at4", "at1"], ["mood"]),
        helper.make_node("Slice", ["face", "at4", "at5", "at1"], ["who"]),
        helper.make_node("Div", ["mood", "who"], ["probabilities"]),
        helper.make_node("Identity", ["face"], ["features"]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n])
        for name, n in (("face", D), ("probabilities", 4), ("features", D))
    }
    return onnx_model(helper.make_graph(nodes, "dividing", [values["face"]], [values["probabilities"], values["features"]], bounds))


@pytest.mark.parametrize("mood", [(0.4, 0.3, 0.2, 0.1), (0.0, 0.0, 0.0, 0.0)], ids=["infinity", "NaN"])
def test_row_29_a_network_that_gives_no_number_is_not_called(mood: tuple[float, ...]) -> None:
    chosen = model(2, 2, 1)
    graph = open_graph(_dividing().SerializeToString(), "dividing", chosen.manifest.graphs["frame"], EngineOptions(threads=1))
    batcher = Batcher({**engines(), (EXPRESSION_ID, "frame"): graph}, {})
    pipe = Pipeline(Session(chosen, SyntheticPerception(D, confirm_frames=1), SessionOptions()), batcher)
    told = []
    for number in range(1, 10):
        broken = number in (4, 5)
        (event,) = pipe.push(bundle(number, [face(0 if broken else 1, mood=mood if broken else (0.4, 0.3, 0.2, 0.1))]))
        assert isinstance(event, Event)
        json.loads(line(event), parse_constant=lambda name: pytest.fail(f"{name} on the wire"))
        (said,) = event.faces
        told.append(said.no_call.code if said.no_call else said.prediction.label if said.prediction else None)
    assert told == ["window-filling", *["neutral"] * 2, *["not-finite"] * 2, *["neutral"] * 4]
