"""Which runtime and precision each kind of model is opened with, and that a lost one comes back only as what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from engines.engine import Arrays, BackendLost, BackendMissing, EngineError, EngineInfo, EngineOptions
from engines.folder import open_folder
from engines.open import open_engine
from engines.reopening import ReopeningEngine
from service.chosen import open_models
from service.config import Config, EngineSection
from service.models import Models
from tests.engines.contract import SHIPPED, here
from tests.engines.graphs import expression_manifest, expressive, read_json, write_folder, write_manifest
from tests.waiting import until

CPU = EngineOptions(threads=1)
FACE = {"face": np.zeros((1, 3, 4, 4), np.uint8)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "moods", expression_manifest(), {"frame.onnx": expressive()})


def triton_is_installed() -> None:
    try:
        open_engine(open_folder(SHIPPED / "fer-small"), "frame", EngineOptions("triton", url="127.0.0.1:1"))
    except BackendMissing as error:
        pytest.skip(str(error))
    except EngineError:
        pass


def test_beside_a_server_faces_are_found_here() -> None:
    triton_is_installed()
    engine = EngineSection(backend="triton", url="127.0.0.1:1", threads=1)
    with closing(open_models(Config(engine=engine))) as models:
        assert models.load("blazeface-front").backend.startswith("onnx:")
        with pytest.raises(BackendLost, match=r"fer-small/frame: the server at 127\.0\.0\.1:1 does not answer"):
            models.load("fer-small")


def test_the_face_finder_may_have_a_runtime_of_its_own() -> None:
    here(open_folder(SHIPPED / "fer-small"), EngineOptions("openvino"))
    with closing(open_models(Config(engine=EngineSection(detector_backend="openvino", threads=1)))) as models:
        assert models.load("blazeface-front").backend == "openvino:CPU(fp32)"
        assert models.load("fer-small").backend.startswith("onnx:")


def test_bf16_is_for_networks_whose_numbers_choose_nothing(tmp_path: Path) -> None:
    bf16 = EngineOptions("openvino", threads=1, precision="bf16")
    here(open_folder(SHIPPED / "fer-small"), bf16)
    with closing(Models([write_folder(tmp_path / "moods", expression_manifest(), {"frame.onnx": expressive()})], bf16)) as models:
        assert models.load("moods").backend == "openvino:CPU(bf16)"
        assert models.load("blazeface-front").backend == "openvino:CPU(fp32)"
        fer = models.load("fer-small")
        assert fer.itq is not None
        assert fer.backend == "openvino:CPU(fp32)"
        assert "fer-small/frame runs in fp32, not bf16: its features choose keyframes" in fer.notes


class _Fragile:
    """An engine that is lost when told so."""

    def __init__(self) -> None:
        self.info = EngineInfo("onnx:CPUExecutionProvider", "1", 1)

    def run(self, inputs: Arrays) -> Arrays:
        raise BackendLost("the device has gone")

    def close(self) -> None:
        pass


@pytest.fixture
def lost(place: Path) -> Iterator[ReopeningEngine]:
    """The engine of a loaded model, its runtime gone."""
    with closing(Models([place], EngineOptions(providers=("CPUExecutionProvider",), threads=1))) as models:
        models.load("moods")
        engine = models.engines["moods", "frame"]
        assert isinstance(engine, ReopeningEngine)
        engine._engine = _Fragile()
        yield engine


def again(engine: ReopeningEngine) -> str:
    """Run until it works, or the reason has changed from what was lost; return the reason, or "works"."""

    def found() -> str:
        try:
            engine.run(FACE)
        except BackendLost as error:
            return "" if "device has gone" in str(error) else str(error)
        return "works"

    return until(found, "it works, or says another reason")


def test_a_lost_engine_is_opened_again_from_its_folder(lost: ReopeningEngine) -> None:
    assert again(lost) == "works"


def test_from_a_folder_that_was_changed_it_is_not(lost: ReopeningEngine, place: Path) -> None:
    manifest = read_json(place)
    manifest["title"] = "other moods"
    write_manifest(place, manifest)
    assert "was changed since it was loaded; start again to use it" in again(lost)
