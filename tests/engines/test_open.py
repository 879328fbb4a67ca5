"""Any backend there is a file for keeps the contract of an engine; any other name is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.engine import BackendMissing, Engine, EngineError, EngineOptions
from engines.folder import Folder, FolderError, open_folder
from engines.open import EXTRAS, names, open_engine
from tests.engines.graphs import expression_manifest, expressive, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A model with one uint8 input and two outputs."""
    path = tmp_path_factory.mktemp("models") / "moods"
    return open_folder(write_folder(path, expression_manifest(), {"frame.onnx": expressive()}))


@pytest.fixture(scope="module", params=names())
def engine(request: pytest.FixtureRequest, folder: Folder) -> Engine:
    """The model on each runtime that is installed here."""
    try:
        return open_engine(folder, "frame", EngineOptions(request.param, threads=1))
    except BackendMissing as error:
        pytest.skip(f"not installed here: {error}")


def faces(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 4), np.uint8)


def test_there_is_a_backend_and_each_has_its_extra() -> None:
    assert "onnx" in names()
    assert set(names()) <= set(EXTRAS)


@pytest.mark.parametrize("name", ["cuda", "", "onnx.x", "../onnx", "os", "__init__"])
def test_another_name_is_refused_with_the_names_there_are(folder: Folder, name: str) -> None:
    with pytest.raises(BackendMissing) as caught:
        open_engine(folder, "frame", EngineOptions(name))
    assert str(caught.value) == f"no engine backend {name!r}; there are: {', '.join(names())}"


def test_a_part_the_model_lacks_is_refused(folder: Folder) -> None:
    with pytest.raises(FolderError, match="no graph 'window'; there are: frame"):
        open_engine(folder, "window", EngineOptions())


def test_outputs_come_by_name_and_are_right(engine: Engine, folder: Folder) -> None:
    given_faces = faces(2)
    outputs = engine.run({"face": given_faces})
    assert sorted(outputs) == ["features", "probabilities"]
    flat = given_faces.reshape(2, -1).astype(np.float32)
    np.testing.assert_array_equal(outputs["features"], flat)
    assert outputs["probabilities"].dtype == np.float32
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, rtol=1e-5)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_batch_is_its_rows(engine: Engine, count: int, seed: int) -> None:
    rows = faces(count, seed)
    together = engine.run({"face": rows})
    for i in range(count):
        alone = engine.run({"face": rows[i : i + 1]})
        for name, array in together.items():
            np.testing.assert_allclose(array[i], alone[name][0], rtol=1e-5, atol=1e-6)


def test_the_same_inputs_give_the_same_bytes(engine: Engine) -> None:
    first, second = (engine.run({"face": faces(3)}) for _ in range(2))
    assert {name: array.tobytes() for name, array in first.items()} == {name: array.tobytes() for name, array in second.items()}


def test_results_stay_as_they_are_when_the_engine_runs_on(engine: Engine) -> None:
    kept = engine.run({"face": faces(1)})["features"]
    copy = kept.copy()
    engine.run({"face": faces(1, seed=7)})
    np.testing.assert_array_equal(kept, copy)


def test_read_only_and_strided_inputs_are_taken(engine: Engine) -> None:
    rows = faces(4)
    rows.flags.writeable = False
    np.testing.assert_array_equal(engine.run({"face": rows[::2]})["features"], rows[::2].reshape(2, -1))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "face"),
        ({"picture": faces(1)}, "picture"),
        ({"face": faces(1), "more": faces(1)}, "more"),
        ({"face": faces(1).astype(np.float32)}, "float32"),
        ({"face": faces(1)[:, :, :3]}, r"\(1, 3, 3, 4\)"),
        ({"face": faces(1)[0]}, r"\(3, 4, 4\)"),
        ({"face": faces(0)}, r"\(0, 3, 4, 4\)"),
        ({"face": np.uint8(1) * np.ones((), np.uint8)}, r"\(\)"),
    ],
    ids=["none", "other name", "one more", "other dtype", "other shape", "no batch", "empty batch", "no axes"],
)
def test_inputs_that_do_not_fit_are_refused_by_name_and_shape(engine: Engine, inputs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        engine.run(inputs)
    assert "\n" not in str(caught.value)
    assert "moods/frame" in str(caught.value)


def test_info_says_what_runs(engine: Engine) -> None:
    assert engine.info.backend.partition(":")[0] in names()
    assert engine.info.version
    assert engine.info.threads == 1


@pytest.mark.parametrize("name", names())
def test_a_closed_engine_runs_no_more(folder: Folder, name: str) -> None:
    try:
        engine = open_engine(folder, "frame", EngineOptions(name))
    except BackendMissing as error:
        pytest.skip(f"not installed here: {error}")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"face": faces(1)})


def test_a_shipped_graph_runs(checkout: Path) -> None:
    shipped = open_folder(checkout / "engines" / "models" / "fer-small")
    engine = open_engine(shipped, "frame", EngineOptions(threads=1))
    probabilities = engine.run({"face": np.full((1, 3, 64, 64), 127, np.uint8)})["probabilities"]
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
