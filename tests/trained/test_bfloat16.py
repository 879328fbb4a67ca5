"""Trained networks on OpenVINO in bfloat16, where the CPU has it: the labels are those of onnx in float32."""

from __future__ import annotations

import numpy as np
import pytest

from engines.backends import onnx as onnx_backend
from engines.engine import Engine, EngineOptions, SilentFallback
from exporters import checkpoint, export
from exporters.export import graph_entry
from tests.trained.train import RECIPES, TEST_CLIPS, TEST_SEED, blueprint_of, classes, clips_for, inputs_for, weights

pytestmark = pytest.mark.proof
AGREE = 0.99


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_bfloat16_says_the_same_labels(name: str) -> None:
    openvino_backend = pytest.importorskip("engines.backends.openvino", reason="OpenVINO is not installed")
    blueprint = blueprint_of(RECIPES[name])
    checkpoint.fit(blueprint.network, checkpoint.read(weights(name)))
    data = export.graphs(blueprint)["full"]
    entry = graph_entry("full", data)
    exact: Engine = onnx_backend.open_graph(data, name, entry, EngineOptions(threads=1))
    try:
        fast: Engine = openvino_backend.open_graph(data, name, entry, EngineOptions("openvino", threads=1, precision="bf16"))
    except SilentFallback as error:
        pytest.skip(str(error))
    assert fast.info.backend == "openvino:CPU(bf16)"
    clips = clips_for(blueprint, TEST_CLIPS, TEST_SEED)
    rows = inputs_for(blueprint, clips)
    said = []
    for engine in (exact, fast):
        found = [engine.run({key: values[k : k + 1] for key, values in rows.items()}) for k in range(TEST_CLIPS)]
        said.append(classes({key: np.concatenate([row[key] for row in found]) for key in found[0]}))
        engine.close()
    assert (said[0] == clips.label).mean() >= 0.9
    assert (said[0] == said[1]).mean() >= AGREE
