"""Models are found by id, never by path; loaded whole or not at all; batched as measured."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.engine import EngineError, EngineOptions
from engines.folder import FolderError, open_folder
from engines.manifest import Graph, Tensor
from engines.synthetic import SyntheticEngine
from service.batch_size import BATCHES, PATIENCE_S, measure_batch
from service.models import Models, UnknownModel
from service.windows.keyframes import Itq
from tests.engines.graphs import (
    averaging,
    common,
    expression_manifest,
    expressive,
    feature_manifest,
    read_json,
    scaled,
    write_folder,
    write_manifest,
)

OPTIONS = EngineOptions(threads=1)
HOSTILE = [
    "../../etc/passwd",
    "%2e%2e",
    "%2e%2e%2f",
    "..",
    ".",
    "",
    "moods\0",
    "\0",
    "/",
    "moods/",
    "./moods",
    "MOODS",
    "mood",
    "a" * 10_000,
    "moods\n",
]


def moods(path: Path, id: str = "moods", **changes: Any) -> Path:
    return write_folder(path, expression_manifest(id, **changes), {"frame.onnx": expressive()})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of two models, `moods` and `tiny`, whose folders are named otherwise."""
    moods(tmp_path / "models" / "first")
    write_folder(tmp_path / "models" / "second", feature_manifest(), {"full.onnx": scaled()})
    return tmp_path / "models"


@pytest.fixture
def models(place: Path) -> Iterator[Models]:
    with closing(Models([place], OPTIONS)) as found:
        yield found


def test_models_are_listed_by_id_and_kind_without_being_opened(models: Models) -> None:
    assert {"moods", "tiny", "fer-small", "blazeface-front"} <= set(models.ids())
    assert "moods" in models.ids("expression")
    assert "tiny" not in models.ids("expression")
    assert models.ids("features") == ("tiny",)
    assert list(models.ids()) == sorted(models.ids())
    assert (dict(models.engines), dict(models.broken)) == ({}, {})


def test_a_loaded_model_runs(models: Models, place: Path) -> None:
    model = models.load("moods")
    assert model.name.id == "moods"
    assert model.name.sha256 == open_folder(place / "first").sha256[:12]
    assert model.backend.startswith("onnx:")
    assert (model.itq, model.notes) == (None, ())
    assert set(models.engines) == {("moods", "frame")} == set(models.max_batch)
    assert models.engines["moods", "frame"].run({"face": np.zeros((1, 3, 4, 4), np.uint8)})["probabilities"].shape == (1, 3)
    assert models.load("moods") is model


def test_a_detector_is_loaded_whole(models: Models) -> None:
    models.load("blazeface-front")
    assert ("blazeface-front", "full") in models.engines


def test_a_folder_may_be_given_itself(place: Path) -> None:
    assert "moods" in Models([place / "first"], OPTIONS).ids()


@pytest.mark.parametrize("id", HOSTILE)
@pytest.mark.parametrize("ask", ["load", "folder", "manifest"])
def test_a_name_that_is_no_model_is_unknown_and_lists_what_there_is(models: Models, id: str, ask: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        getattr(models, ask)(id)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 600
    assert "there are: " in said
    assert "moods" in said.partition("there are: ")[2]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(id=st.text(max_size=20))
def test_any_text_is_a_model_or_unknown(models: Models, id: str) -> None:
    if id not in models.ids():
        with pytest.raises(UnknownModel):
            models.load(id)


def test_two_folders_of_one_id_are_refused_with_both(place: Path) -> None:
    moods(place / "third")
    with pytest.raises(FolderError) as caught:
        Models([place], OPTIONS)
    assert str(place / "first") in str(caught.value)
    assert str(place / "third") in str(caught.value)


def test_a_given_model_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    moods(tmp_path / "mine", id="fer-small")
    for directory in (tmp_path, tmp_path / "mine"):
        models = Models([directory], OPTIONS)
        assert models.folder("fer-small").path == tmp_path / "mine"
        assert models.ids().count("fer-small") == 1


def test_the_same_folder_given_twice_is_one(place: Path) -> None:
    (place.parent / "link").symlink_to(place)
    assert Models([place, place, place / "first", place.parent / "link"], OPTIONS).ids("features") == ("tiny",)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is no folder of models"):
        Models([tmp_path / "nowhere"], OPTIONS)


def test_a_folder_without_models_adds_none(place: Path) -> None:
    (place / "notes").mkdir()
    (place / "notes" / "read.me").write_text("?")
    assert "notes" not in Models([place], OPTIONS).ids()


def test_a_broken_manifest_is_listed_and_refused_when_asked_for(place: Path) -> None:
    moods(place / "bad", id="third")
    write_manifest(place / "bad", read_json(place / "bad") | {"colour": "red"})
    models = Models([place], OPTIONS)
    assert "bad" in models.ids()
    assert "bad" not in models.ids("expression")
    assert "colour: Extra inputs are not permitted" in models.broken["bad"]
    for ask in (models.load, models.folder):
        with pytest.raises(FolderError, match="colour: Extra inputs"):
            ask("bad")
    with pytest.raises(UnknownModel, match="breaks a rule") as caught:
        models.manifest("bad")
    assert str(place) not in str(caught.value), "paths are not for clients"
    models.load("moods")


@pytest.mark.parametrize("how", ["gone", "link"])
def test_a_manifest_that_is_gone_or_a_link_is_listed_as_broken(place: Path, how: str) -> None:
    file = place / "first" / "manifest.json"
    file.rename(place.parent / "elsewhere.json")
    if how == "link":
        file.symlink_to(place.parent / "elsewhere.json")
    models = Models([place], OPTIONS)
    assert ("missing" if how == "gone" else "is a link") in models.broken["first"]


def test_a_changed_file_is_refused_at_load(models: Models, place: Path) -> None:
    (place / "first" / "frame.onnx").write_bytes(scaled().SerializeToString())
    with pytest.raises(FolderError, match=r"frame\.onnx: sha256 is .* it was changed"):
        models.load("moods")
    assert (dict(models.engines), dict(models.max_batch)) == ({}, {})


def test_an_id_that_changes_after_the_search_is_refused(models: Models, place: Path) -> None:
    write_manifest(place / "first", read_json(place / "first") | {"id": "other"})
    with pytest.raises(FolderError, match="its id was 'moods' and is 'other' now"):
        models.load("moods")


def test_random_weights_are_refused_unless_allowed(tmp_path: Path) -> None:
    moods(tmp_path / "random", weights={"kind": "random", "source": "seed 1", "seed": 1})
    with pytest.raises(FolderError, match=r"manifest\.json: weights.kind is 'random'.*--allow-random-weights"):
        Models([tmp_path], OPTIONS).load("moods")
    with closing(Models([tmp_path], OPTIONS, allow_random_weights=True)) as models:
        assert models.load("moods").manifest.weights.kind == "random"


def fitted(graph: str, wide: int = 48) -> bytes:
    rng = np.random.default_rng(1)
    file = io.BytesIO()
    arrays = {
        "mean": rng.normal(size=wide),
        "components": rng.normal(size=(wide, 16)),
        "rotation": np.linalg.qr(rng.normal(size=(16, 16)))[0],
    }
    np.savez(file, feature_model=np.array(graph), allow_pickle=False, **arrays)
    return file.getvalue()


def with_itq(path: Path, data: bytes | None, features: str = "features") -> Models:
    """A model that wants itq keyframes, with a fitted file or without."""
    keyframes = {"selector": "itq", "features": features} | ({} if data is None else {"file": "itq.npz"})
    files = {} if data is None else {"itq__npz": data}
    write_folder(path / "moods", expression_manifest(keyframes=keyframes), {"frame.onnx": expressive()}, **files)
    return Models([path], OPTIONS)


def graph_sha256(path: Path) -> str:
    return open_folder(moods(path / "scratch")).manifest.files["frame.onnx"]


def test_a_fitted_quantisation_is_loaded(tmp_path: Path) -> None:
    with closing(with_itq(tmp_path / "dir", fitted(graph_sha256(tmp_path)))) as models:
        model = models.load("moods")
        assert isinstance(model.itq, Itq)
        assert 0 <= model.itq.code(np.zeros(48)) < 2**16
        assert model.notes == ()


def test_without_a_fitted_file_the_model_says_that_keyframes_are_uniform(tmp_path: Path) -> None:
    with closing(with_itq(tmp_path, None)) as models:
        model = models.load("moods")
        assert model.itq is None
        assert "uniform" in model.notes[0]


@pytest.mark.parametrize(
    ("data", "features", "rule"),
    [
        (fitted("0" * 64), "features", "features of another frame.onnx"),
        (b"", "features", "no fitted quantisation"),
        (b"PK\x03\x04 cut", "features", "no fitted quantisation"),
        (fitted("0" * 64)[:-40], "features", "no fitted quantisation"),
        (fitted("0" * 64), "embedding", "keyframes.features: there is no graph output 'embedding'; there are: features, probabilities"),
    ],
    ids=["other graph", "empty", "cut", "cut at the end", "other output"],
)
def test_a_fitted_file_that_does_not_fit_is_refused(tmp_path: Path, data: bytes, features: str, rule: str) -> None:
    with pytest.raises(FolderError, match=rule):
        with_itq(tmp_path, data, features).load("moods")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FolderError, match="no fitted quantisation"):
        with_itq(tmp_path, file.getvalue()).load("moods")


def test_a_fit_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="features of another"):
        with_itq(tmp_path / "dir", fitted(graph_sha256(tmp_path), wide=20)).load("moods")


@pytest.mark.parametrize(
    ("id", "sha256", "output", "rule"),
    [
        ("tiny", None, "y", None),
        ("tiny", "0" * 64, "y", "requires model tiny of sha256 000000000000…, there is"),
        ("tiny", None, "z", "for its output 'z', it has y"),
        ("absent", "0" * 64, "y", "requires model absent, but no model 'absent'"),
    ],
    ids=["there", "other", "other output", "absent"],
)
def test_a_model_that_another_leans_on_must_be_there(place: Path, id: str, sha256: str | None, output: str, rule: str | None) -> None:
    needed = {"id": id, "sha256": sha256 or open_folder(place / "second").sha256, "output": output}
    moods(place / "leaning", id="leaning", requires=[needed])
    with closing(Models([place], OPTIONS)) as models:
        if rule is None:
            models.load("leaning")
        else:
            with pytest.raises(FolderError, match=rule):
                models.load("leaning")


def test_a_model_of_two_parts_loads_both_or_none(tmp_path: Path) -> None:
    """The window graph does not open: the frame graph's engine must not stay behind."""
    manifest = expression_manifest(aggregate=None, outputs={"probabilities": "mean"})
    manifest["graphs"]["window"] = {
        "file": "window.onnx",
        "inputs": [{"name": "probabilities", "dtype": "float32", "shape": [4, 3]}],
        "outputs": [{"name": "mean", "dtype": "float32", "shape": [3]}],
    }
    del manifest["aggregate"]
    broken = averaging(4, 3, operator="NoSuchOperator")
    write_folder(tmp_path / "bad", manifest | {"id": "bad"}, {"frame.onnx": expressive(), "window.onnx": broken})
    write_folder(tmp_path / "good", manifest | {"id": "good"}, {"frame.onnx": expressive(), "window.onnx": averaging(4, 3)})
    with closing(Models([tmp_path], OPTIONS)) as models:
        with pytest.raises(EngineError, match="bad/window"):
            models.load("bad")
        assert (dict(models.engines), dict(models.max_batch)) == ({}, {})
        models.load("good")
        assert set(models.engines) == {("good", "frame"), ("good", "window")}


def test_a_model_without_a_graph_to_start_with_is_refused(tmp_path: Path) -> None:
    manifest = common("tiny") | feature_manifest()
    manifest["graphs"] = {"window": manifest["graphs"]["full"]}
    write_folder(tmp_path / "tiny", manifest, {"full.onnx": scaled()})
    with pytest.raises(FolderError, match="a model of kind features has one graph, 'full'; this one has window"):
        Models([tmp_path], OPTIONS).load("tiny")


@pytest.mark.parametrize(
    ("batch", "allowed"), [({"max": 16}, {1}), ({"max": 2, "invariant": True}, {1, 2}), ({"max": 1, "invariant": True}, {1})]
)
def test_rows_are_batched_only_where_that_changes_nothing(tmp_path: Path, batch: dict[str, Any], allowed: set[int]) -> None:
    moods(tmp_path / "moods", batch=batch)
    with closing(Models([tmp_path], EngineOptions(providers=("CPUExecutionProvider",), threads=1))) as models:
        models.load("moods")
        assert models.max_batch["moods", "frame"] in allowed


GRAPH = Graph(
    file="a.onnx", inputs=(Tensor(name="x", dtype="float32", shape=(2,)),), outputs=(Tensor(name="y", dtype="float32", shape=(2,)),)
)


class Timed:
    """An engine and the clock it moves: `cost_s` seconds per batch size."""

    def __init__(self, cost_s: dict[int, float]) -> None:
        self.now_s, self.sizes, self._cost_s = 0.0, [], cost_s
        self._inner = SyntheticEngine(lambda row: {"y": row["x"]})
        self.info = self._inner.info

    def run(self, inputs: Any) -> Any:
        self.sizes.append(len(inputs["x"]))
        self.now_s += self._cost_s[len(inputs["x"])]
        return self._inner.run(inputs)

    def close(self) -> None:
        self._inner.close()

    def chosen(self, largest: int = 16) -> int:
        return measure_batch(self, GRAPH, largest, lambda: self.now_s)


MS = 1e-3


@pytest.mark.parametrize(
    ("per_row_ms", "chosen"),
    [
        ((1, 1, 1, 1, 1), 1),
        ((1, 0.9, 0.5, 0.4, 0.3), 16),
        ((1, 0.6, 0.5, 0.49, 0.48), 4),
        ((1, 0.97, 0.96, 0.96, 0.96), 1),
        ((1, 0.5, 1, 2, 3), 2),
    ],
    ids=["batching gains nothing", "all it can", "nearly as good", "within 5 %", "a best in the middle"],
)
def test_the_smallest_batch_near_the_best_is_chosen(per_row_ms: tuple[float, ...], chosen: int) -> None:
    engine = Timed({size: size * row * MS for size, row in zip(BATCHES, per_row_ms, strict=True)})
    assert engine.chosen() == chosen
    assert set(engine.sizes) == set(BATCHES)


def test_no_batch_beyond_what_the_manifest_allows_is_tried() -> None:
    engine = Timed(dict.fromkeys(BATCHES, MS))
    assert engine.chosen(largest=5) == 4
    assert set(engine.sizes) == {1, 2, 4}


def test_a_slow_network_does_not_hold_the_start_up() -> None:
    engine = Timed({size: size * PATIENCE_S for size in BATCHES})
    assert engine.chosen() == 1
    assert engine.sizes == [1, 1]


def test_loaded_models_are_there_for_others_while_one_loads(place: Path) -> None:
    """Two threads ask for models at once: each gets the one and only, and a loaded one is handed out without waiting."""
    for n in range(4):
        moods(place / f"more-{n}", id=f"more-{n}")
    with closing(Models([place], OPTIONS)) as models:
        first = models.load("moods")
        got: dict[tuple[int, str], object] = {}

        def ask(who: int) -> None:
            for n in range(4):
                got[who, f"more-{n}"] = models.load(f"more-{n}")
                assert models.load("moods") is first
                assert all(engine.info for engine in list(models.engines.values()))

        threads = [threading.Thread(target=ask, args=(who,)) for who in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert all(got[who, f"more-{n}"] is got[0, f"more-{n}"] for who in range(3) for n in range(4))


def test_a_loaded_model_is_handed_out_while_another_is_being_loaded(models: Models) -> None:
    loaded = models.load("moods")
    models.folder("tiny")
    answers: list[object] = []
    with models._loading:
        asking = threading.Thread(target=lambda: answers.extend([models.load("moods"), models.folder("tiny"), models.folder("moods")]))
        asking.start()
        asking.join(60)
    assert answers[0] is loaded
    assert len(answers) == 3


def test_closing_releases_every_engine_and_loading_again_works(models: Models) -> None:
    models.load("moods")
    engine = models.engines["moods", "frame"]
    models.close()
    assert (dict(models.engines), dict(models.max_batch)) == ({}, {})
    with pytest.raises(EngineError, match="closed"):
        engine.run({"face": np.zeros((1, 3, 4, 4), np.uint8)})
    models.load("moods")
    assert ("moods", "frame") in models.engines
