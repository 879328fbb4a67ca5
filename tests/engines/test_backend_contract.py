"""Every backend there is a file for keeps the contract of an engine, on every shipped graph and on small ones of each kind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.engine import Engine, EngineError, EngineOptions
from engines.folder import Folder
from engines.open import names, open_engine
from engines.tolerance import TOLERANCES, difference, tolerance
from tests.engines import contract
from tests.engines.contract import MODELS, PARAMETERS, RUNTIMES, Runtime, batch, copied, graphs, write_models

OWN = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Folder]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=PARAMETERS)
def runtime(request: pytest.FixtureRequest, folders: dict[str, Folder]) -> Iterator[Runtime]:
    """Each runtime that can be had here."""
    with RUNTIMES[request.param](folders) as found:
        yield found
        for opened in found.opened:
            opened.close()


@pytest.fixture(scope="module")
def engine(runtime: Runtime, folders: dict[str, Folder]) -> Engine:
    """One uint8 input and two outputs on it."""
    return runtime.open(folders["moods"], "frame")


def faces(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 4), np.uint8)


def test_every_backend_there_is_a_file_for_is_tried() -> None:
    assert {name.partition(" ")[0] for name in RUNTIMES} >= set(names())


@pytest.mark.parametrize("id", MODELS)
def test_outputs_are_those_of_onnx_runtime_on_the_cpu(runtime: Runtime, folders: dict[str, Folder], id: str) -> None:
    for part, graph in graphs(folders[id]):
        reference = open_engine(folders[id], part, EngineOptions(providers=("CPUExecutionProvider",), threads=1))
        opened = runtime.open(folders[id], part)
        allowed = tolerance(opened.info.backend)
        for rows in (1, 2, 5):
            inputs = batch(graph, rows, seed=rows)
            expected, outputs = reference.run(inputs), opened.run(inputs)
            assert list(outputs) == [tensor.name for tensor in graph.outputs]
            for tensor in graph.outputs:
                found = outputs[tensor.name]
                assert (found.dtype, found.shape) == (np.dtype(tensor.dtype), (rows, *tensor.shape)), tensor.name
                assert difference(found, expected[tensor.name]) <= allowed, (tensor.name, rows)
        opened.close()


@OWN
@given(count=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_batch_is_its_rows(engine: Engine, count: int, seed: int) -> None:
    rows = faces(count, seed)
    together = engine.run({"face": rows})
    for i in range(count):
        alone = engine.run({"face": rows[i : i + 1]})
        for name, array in together.items():
            assert difference(array[i], alone[name][0]) <= tolerance(engine.info.backend)


def test_the_same_inputs_give_the_same_bytes(engine: Engine) -> None:
    first, second = (engine.run({"face": faces(3)}) for _ in range(2))
    assert {name: array.tobytes() for name, array in first.items()} == {name: array.tobytes() for name, array in second.items()}


def test_results_are_the_callers_own(engine: Engine) -> None:
    """No later run writes into them, and nothing that the caller does to them is seen by a later run."""
    for rows in (1, 3):
        first = engine.run({"face": faces(rows)})
        kept = copied(first)
        engine.run({"face": faces(rows, seed=7)})
        for name, array in first.items():
            np.testing.assert_array_equal(array, kept[name])
            array.fill(-1)
        again = engine.run({"face": faces(rows)})
        for name, array in again.items():
            np.testing.assert_array_equal(array, kept[name])


def test_results_stay_when_the_engine_is_closed(runtime: Runtime, folders: dict[str, Folder]) -> None:
    opened = runtime.open(folders["tiny"], "full")
    found = opened.run({"x": np.ones((2, 3), np.float32)})["y"]
    opened.close()
    np.testing.assert_allclose(found, [[1, 2, 3]] * 2, rtol=1e-2)


def test_inputs_are_left_as_they_are_whatever_their_layout(engine: Engine) -> None:
    rows = faces(4)
    rows.flags.writeable = False
    kept, turned = rows.copy(), np.asfortranarray(faces(4))
    strided = engine.run({"face": rows[::2]})["features"]
    np.testing.assert_array_equal(strided, rows[::2].reshape(2, -1))
    np.testing.assert_array_equal(engine.run({"face": turned})["features"], kept.reshape(4, -1))
    np.testing.assert_array_equal(rows, kept)


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
    assert engine.run({"face": faces(1)}), "it serves on"


def test_info_says_what_runs(runtime: Runtime, engine: Engine) -> None:
    name, _, where = engine.info.backend.partition(":")
    assert (name, bool(where)) == (runtime.name, True)
    assert engine.info.version
    assert engine.info.threads == (0 if runtime.elsewhere else 1)
    assert tolerance(engine.info.backend) in TOLERANCES.values()
    if runtime.name == "openvino":
        assert where == f"CPU({runtime.options.precision})"


def test_one_thread_is_one_thread(runtime: Runtime, folders: dict[str, Folder]) -> None:
    if runtime.elsewhere or not runtime.open(folders["fer-small"], "frame").info.backend.partition(":")[2].startswith("CPU"):
        pytest.skip("the work is not done by this process's threads")
    opened = runtime.open(folders["fer-small"], "frame", threads=1)
    inputs = batch(folders["fer-small"].manifest.graphs["frame"], 8)
    opened.run(inputs)
    used, passed = time.process_time(), time.perf_counter()
    while time.perf_counter() < passed + 0.4:
        opened.run(inputs)
    assert time.process_time() - used <= 1.25 * (time.perf_counter() - passed)


def test_a_closed_engine_runs_no_more(runtime: Runtime, folders: dict[str, Folder]) -> None:
    opened = runtime.open(folders["moods"], "frame")
    opened.close()
    opened.close()
    with pytest.raises(EngineError, match="closed"):
        opened.run({"face": faces(1)})


def test_engines_of_one_graph_are_apart(runtime: Runtime, folders: dict[str, Folder]) -> None:
    """Each by a thread of its own, as the rounds and a model that is loading use them."""
    engines = [runtime.open(folders["moods"], "frame") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda i: [engines[i].run({"face": faces(2, seed=i)})["features"] for _ in range(30)], (0, 1)))
    for i, mine in enumerate(found):
        assert all((array == faces(2, seed=i).reshape(2, -1)).all() for array in mine)
    engines[0].close()
    assert engines[1].run({"face": faces(1)})


def test_not_a_number_passes_through(runtime: Runtime, folders: dict[str, Folder]) -> None:
    """An engine reports what a network says; judging it is the session's business."""
    opened = runtime.open(folders["tiny"], "full")
    assert np.isnan(opened.run({"x": np.full((1, 3), np.nan, np.float32)})["y"]).all()


def test_a_graph_that_cannot_run_is_refused_in_one_line(runtime: Runtime, tmp_path: Path) -> None:
    proto = contract.scaled()
    proto.graph.node[0].op_type = "NoSuchOperator"
    broken = contract.open_folder(contract.write_folder(tmp_path / "odd", contract.feature_manifest("odd"), {"full.onnx": proto}))
    with pytest.raises(EngineError) as caught:
        runtime.open(broken, "full")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("odd/full: ")
    assert runtime.elsewhere or "NoSuchOperator" in str(caught.value)
