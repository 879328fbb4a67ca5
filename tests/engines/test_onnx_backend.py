"""ONNX Runtime: what really runs is said, a silent fallback is an error, and its refusals come in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from engines.backends.onnx import CPU
from engines.engine import EngineError, EngineOptions, SilentFallback
from engines.folder import Folder, open_folder
from engines.open import open_engine
from tests.engines.graphs import feature_manifest, model, scaled, write_folder

ABSENT = next(
    p for p in ("CUDAExecutionProvider", "CoreMLExecutionProvider", "QNNExecutionProvider") if p not in ort.get_available_providers()
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """y = x · (1, 2, 3)."""
    return open_folder(write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": scaled()}))


def test_the_provider_in_use_is_said(folder: Folder) -> None:
    info = open_engine(folder, "full", EngineOptions(providers=(CPU,), threads=2)).info
    assert (info.backend, info.version, info.threads) == (f"onnx:{CPU}", ort.__version__, 2)


def test_without_a_wish_the_best_that_works_is_taken(folder: Folder) -> None:
    assert open_engine(folder, "full", EngineOptions()).info.backend in ("onnx:CUDAExecutionProvider", f"onnx:{CPU}")


@pytest.mark.parametrize("providers", [(ABSENT,), (ABSENT, CPU), (CPU, ABSENT), ("NoSuchProvider",)])
def test_a_provider_that_is_not_there_is_an_error(folder: Folder, providers: tuple[str, ...]) -> None:
    with pytest.raises(SilentFallback) as caught:
        open_engine(folder, "full", EngineOptions(providers=providers))
    said = str(caught.value)
    assert said.startswith("tiny/full: asked for ")
    assert CPU in said
    assert "allow the fallback" in said


def test_a_fallback_that_is_allowed_is_taken_and_said(folder: Folder) -> None:
    engine = open_engine(folder, "full", EngineOptions(providers=(ABSENT,), allow_fallback=True))
    assert engine.info.backend == f"onnx:{CPU}"
    np.testing.assert_array_equal(engine.run({"x": np.ones((2, 3), np.float32)})["y"], [[1, 2, 3], [1, 2, 3]])


def test_a_provider_that_is_there_but_does_not_load_is_an_error(folder: Folder) -> None:
    """A GPU build on a machine without its libraries: ORT lists the provider, then drops it without an error."""
    opened, refused = {}, {}
    for provider in ort.get_available_providers():
        try:
            opened[provider] = open_engine(folder, "full", EngineOptions(providers=(provider,))).info.backend
        except EngineError as error:
            refused[provider] = str(error)
    assert opened == {provider: f"onnx:{provider}" for provider in opened}
    assert CPU in opened
    assert all(text.startswith("tiny/full: ") and provider in text for provider, text in refused.items())


def test_a_graph_that_onnx_runtime_refuses_is_refused_in_one_line(tmp_path: Path) -> None:
    proto = scaled()
    proto.graph.node[0].op_type = "NoSuchOperator"
    folder = open_folder(write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": proto}))
    with pytest.raises(EngineError, match="refuses the graph") as caught:
        open_engine(folder, "full", EngineOptions())
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("tiny/full: ")


def _of(nodes: list[object], weights: list[object]) -> object:
    value = helper.make_tensor_value_info
    floats = TensorProto.FLOAT
    return model(helper.make_graph(nodes, "odd", [value("x", floats, ["n", 3])], [value("y", floats, ["m", 3])], weights))


def test_a_run_that_fails_inside_is_an_engine_error(tmp_path: Path) -> None:
    to = helper.make_tensor("to", TensorProto.INT64, [2], [2, 3])
    proto = _of([helper.make_node("Reshape", ["x", "to"], ["y"])], [to])
    engine = open_engine(open_folder(write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": proto})), "full", EngineOptions())
    assert engine.run({"x": np.ones((2, 3), np.float32)})["y"].shape == (2, 3)
    with pytest.raises(EngineError, match="the run failed") as caught:
        engine.run({"x": np.ones((4, 3), np.float32)})
    assert "\n" not in str(caught.value)


def test_an_output_that_is_no_batch_is_an_engine_error(tmp_path: Path) -> None:
    proto = _of([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=1, noop_with_empty_axes=0)], [])
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", "k"]))
    engine = open_engine(open_folder(write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": proto})), "full", EngineOptions())
    with pytest.raises(EngineError, match="for a batch of 2"):
        engine.run({"x": np.ones((2, 3), np.float32)})


def test_not_a_number_passes_through(folder: Folder) -> None:
    """An engine reports what a network says; judging it is the session's business."""
    engine = open_engine(folder, "full", EngineOptions())
    assert np.isnan(engine.run({"x": np.full((1, 3), np.nan, np.float32)})["y"]).all()
