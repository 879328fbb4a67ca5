"""Keyframes by the features of another model: loaded with it, checked in one line, run for `mien windows` and for the fit."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engines.engine import EngineOptions
from engines.folder import FolderError, open_folder
from engines.itq import FitRefused
from engines.manifest import Expression, Features, Tensor
from exporters import fitted
from exporters.onnx_graph import GraphBuilder
from service.analyze import Analyser
from service.collect import collect, write
from service.intake import find
from service.models import Models
from service.perception.pixels import create
from service.settings import Settings
from tests.engines.graphs import common, read_json, write_folder, write_manifest
from tests.session.two_parts import CODE, FACE, SIDE, D, per_frame, tensors
from tests.session.two_parts import write as write_two_parts


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """`main`, one graph alone with itq keyframes by `eye`, and `eye`."""
    return write_two_parts(tmp_path / "models", "itq", split=False)


@contextmanager
def models(place: Path) -> Iterator[Models]:
    with closing(Models([place], EngineOptions(threads=1))) as found:
        yield found


def refused(place: Path) -> str:
    with models(place) as there, pytest.raises(FolderError) as error:
        there.load("main")
    assert "\n" not in str(error.value)
    return str(error.value)


def change_main(place: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = read_json(place / "main")
    change(manifest)
    write_manifest(place / "main", manifest)


def unfit(place: Path) -> None:
    """Take the fitted quantisation out."""
    manifest = read_json(place / "main")
    del manifest["keyframes"]["file"], manifest["files"]["itq.npz"]
    write_manifest(place / "main", manifest)
    (place / "main" / "itq.npz").unlink()


def replace_eye(place: Path, manifest: dict[str, Any], graph: onnx.ModelProto, output: str = "code") -> None:
    """Put another model where `main` is pinned to it."""
    shutil.rmtree(place / "eye")
    write_folder(place / "eye", manifest, {"full.onnx": graph})
    sha256 = hashlib.sha256((place / "eye" / "manifest.json").read_bytes()).hexdigest()

    def pin(main: dict[str, Any]) -> None:
        main["requires"] = [{"id": "eye", "sha256": sha256, "output": output}]

    change_main(place, pin)


def eye(**changes: Any) -> dict[str, Any]:
    crops = {"face": {"size": [SIDE, SIDE]}}
    return common("eye", kind="features", graphs={"full": tensors("full", FACE, CODE)}, crops=crops, output="code") | changes


def test_the_feature_model_is_loaded_with_it(place: Path) -> None:
    with models(place) as there:
        model = there.load("main")
        assert isinstance(model.features, Features)
        assert model.features.id == "eye"
        assert {("main", "full"), ("eye", "full")} <= set(there.engines)
        assert {("main", "full"), ("eye", "full")} <= set(there.max_batch)
        assert model.itq is not None
        assert model.notes == ()
        assert there.load("eye").manifest is there.load("eye").manifest


def test_it_is_asked_only_where_its_features_count(place: Path) -> None:
    unfit(place)
    with models(place) as there:
        model = there.load("main")
        assert "no quantisation was fitted" in model.notes[0]
        settings = Settings.of(model, None, None, 1)
        assert settings.features(collecting=False) is None
        assert settings.features(collecting=True) is model.features


def test_it_must_be_there(place: Path) -> None:
    shutil.rmtree(place / "eye")
    assert "requires model eye" in refused(place)


def test_it_must_be_of_kind_features(place: Path) -> None:
    manifest = read_json(place / "other") | {"id": "eye"}
    graph = onnx.load(place / "other" / "frame.onnx")
    shutil.rmtree(place / "eye")
    manifest.pop("files")
    write_folder(place / "eye", manifest, {"frame.onnx": graph})
    sha256 = hashlib.sha256((place / "eye" / "manifest.json").read_bytes()).hexdigest()

    def lean(main: dict[str, Any]) -> None:
        main["requires"] = [{"id": "eye", "sha256": sha256, "output": "features"}]
        main["keyframes"]["features"] = "features"

    change_main(place, lean)
    told = refused(place)
    assert "keyframes.model 'eye' is of kind expression" in told
    assert "kind features" in told


def test_its_output_must_be_the_one_named(place: Path) -> None:
    def misname(main: dict[str, Any]) -> None:
        main["keyframes"]["features"] = "feature"

    change_main(place, misname)
    told = refused(place)
    assert "keyframes.features" in told
    assert "'feature'" in told


def test_its_crops_must_fit_itstensors(place: Path) -> None:
    replace_eye(place, eye(crops={"face": {"size": [SIDE, SIDE + 1]}}), per_frame())
    told = refused(place)
    assert "keyframes.model 'eye'" in told
    assert "uint8 (3, 8, 9)" in told


def test_it_looks_at_colour(place: Path) -> None:
    crops = {"face": {"size": [SIDE, SIDE], "modality": "thermal"}}
    heat = Tensor(name="face", dtype="float32", shape=(1, SIDE, SIDE))
    graph = GraphBuilder()
    graph.node("ReduceMean", "face", graph.constant([2, 3], np.int64), name="code", keepdims=0)
    warm = Tensor(name="code", dtype="float32", shape=(1,))
    replace_eye(place, eye(crops=crops, graphs={"full": tensors("full", heat, warm)}), graph.model("warmth", [heat], [warm]))
    assert "looks at thermal" in refused(place)


def test_a_fit_on_another_feature_graph_is_refused(place: Path) -> None:
    graph = per_frame()
    graph.doc_string = "another file, the same numbers"
    replace_eye(place, eye(), graph)
    told = refused(place)
    assert "itq.npz" in told
    assert "full.onnx of eye" in told


def test_windows_are_written_and_fitted(place: Path, tmp_path: Path, media: Path) -> None:
    unfit(place)
    with models(place) as there:
        detector = there.load("blazeface-front").manifest
        analyser = Analyser(there, there.load("main"), create(detector), 1, None)
        arrays = collect(analyser, find([media / "single_face.mp4"])[:1], True, lambda name: nullcontext(lambda done, total: None))
        graph = open_folder(place / "eye").manifest.files["full.onnx"]
    assert arrays["features"].shape[1] == D
    assert len(arrays["features"]) == len(arrays["frame"]) == len(arrays["inputs"]) > 50
    assert len(np.unique(arrays["features"], axis=0)) > 50
    assert str(arrays["feature_model"]) == graph
    assert str(arrays["feature_manifest"]) == open_folder(place / "eye").sha256
    with open(tmp_path / "w.npz", "wb") as file:
        write(file, arrays)
    fitted.put_itq(place / "main", fitted.read_samples(tmp_path / "w.npz"), bits=3)
    with models(place) as there:
        model = there.load("main")
        assert isinstance(model.manifest, Expression)
        assert model.itq is not None
        assert (model.itq.feature_model, model.itq.components.shape) == (graph, (D, 3))


def test_a_fit_takes_the_features_of_the_pinned_model_only(place: Path, tmp_path: Path) -> None:
    features = np.random.default_rng(1).normal(size=(50, D)).astype(np.float32)
    named = {"model": np.array("main"), "feature_model": np.array("a" * 64), "feature_manifest": np.array("b" * 64)}
    np.savez(tmp_path / "w.npz", features=features, **named)
    with pytest.raises(FitRefused, match="bbbbbbbbbbbb") as error:
        fitted.put_itq(place / "main", fitted.read_samples(tmp_path / "w.npz"), bits=3)
    assert open_folder(place / "eye").sha256[:12] in str(error.value)
