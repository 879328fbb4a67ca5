"""A backend is looked up among the files there are; any other name is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.engine import BackendMissing, EngineOptions
from engines.folder import Folder, FolderError, open_folder
from engines.open import EXTRAS, names, open_engine
from tests.engines.graphs import expression_manifest, expressive, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A model with one uint8 input and two outputs."""
    path = tmp_path_factory.mktemp("models") / "moods"
    return open_folder(write_folder(path, expression_manifest(), {"frame.onnx": expressive()}))


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


def test_a_shipped_graph_runs(checkout: Path) -> None:
    shipped = open_folder(checkout / "engines" / "models" / "fer-small")
    engine = open_engine(shipped, "frame", EngineOptions(threads=1))
    probabilities = engine.run({"face": np.full((1, 3, 64, 64), 127, np.uint8)})["probabilities"]
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
