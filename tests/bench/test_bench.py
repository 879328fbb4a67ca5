"""`mien bench`: turns, ratios, what is compared with what, and the words for what does not run."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from engines.engine import EngineOptions
from engines.folder import open_folder
from engines.manifest import Expression
from engines.samples import SamplesRefused, windows
from service.bench.variants import WARM_UPS, Variant, bench
from service.bench.windows import noise
from service.cli import app

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]
FER = ROOT / "engines/models/fer-small"


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def samples(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "w.npz"
    result = mien("windows", media / "single_face.mp4", "-m", "fer-small", "--inputs", "-o", path)
    assert (result.exit_code, result.output) == (0, "")
    return path


def variants(*batches: int, backend: str = "onnx") -> list[Variant]:
    folder = open_folder(FER)
    assert isinstance(folder.manifest, Expression)
    rows = noise(folder.manifest, 2)
    return [Variant(folder, EngineOptions(backend, threads=1), batch, rows, False) for batch in batches]


def test_all_ways_take_turns_and_times_are_per_result() -> None:
    said: list[str] = []
    ticks = itertools.count()
    first, second, lost = bench([*variants(1, 4), *variants(1, backend="nothing")], 3, said.append, lambda: float(next(ticks)))
    turns = [text for text in said if text.startswith("turn ")]
    assert [text.rpartition(" ")[2] for text in turns] == ["1", "4"] * (3 + WARM_UPS)
    # Each turn lasts one tick, whatever the batch.
    assert first.turns_ms == (1000.0, 1000.0, 1000.0)
    assert second.turns_ms == (250.0, 250.0, 250.0)
    assert (first.ratio, second.ratio) == (1.0, 4.0)
    assert first.quartiles_ms == (1000.0, 1000.0)
    assert lost.why is not None
    assert "no engine backend 'nothing'" in lost.why
    assert not lost.turns_ms


def test_on_noise_nothing_is_compared() -> None:
    assert all(one.difference is None for one in bench(variants(1, 2), 2, lambda text: None))


def test_a_table_with_what_was_lost(samples: Path, tmp_path: Path) -> None:
    # The same weights but a last layer that says each label's neighbour: no label agrees, and the figures say so.
    other = tmp_path / "other"
    shutil.copytree(FER, other)
    turned = _turned(other)
    result = mien(
        "bench", "fer-small", turned, "--samples", samples, "--turns", 2, "--threads", 1, "--batch", 1, "--batch", 2, "--format", "json"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert [(one["model"], one["batch"]) for one in found] == [("fer-small", 1), ("fer-small", 2), ("turned", 1), ("turned", 2)]
    assert found[0]["difference"] is None
    assert found[1]["difference"] == {"windows": 15, "agreement": 1.0, "largest": 0.0}
    for one in found[2:]:
        assert one["difference"]["agreement"] == 0.0
        assert one["difference"]["largest"] > 0.5
    for one in found:
        assert one["median_ms"] == median(one["turns_ms"])
        assert one["runtime"] == "onnx:CPUExecutionProvider"


def _turned(folder: Path) -> Path:
    """Give a copy of the model an id of its own and probabilities one place further."""
    import hashlib

    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(folder / "frame.onnx")
    count = model.graph.output[[o.name for o in model.graph.output].index("probabilities")].type.tensor_type.shape.dim[1].dim_value
    for node in model.graph.node:
        node.output[:] = ["straight" if name == "probabilities" else name for name in node.output]
        node.input[:] = ["straight" if name == "probabilities" else name for name in node.input]
    order = [count - 1, *range(count - 1)]
    model.graph.initializer.append(helper.make_tensor("order", TensorProto.INT64, [count], order))
    model.graph.node.append(helper.make_node("Gather", ["straight", "order"], ["probabilities"], axis=1))
    data = model.SerializeToString()
    (folder / "frame.onnx").write_bytes(data)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    manifest |= {"id": "turned", "files": manifest["files"] | {"frame.onnx": hashlib.sha256(data).hexdigest()}}
    manifest["keyframes"] = {"selector": "uniform"}
    manifest["files"] = {name: value for name, value in manifest["files"].items() if name != "itq.npz"}
    (folder / "itq.npz").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_picture_of_it(tmp_path: Path) -> None:
    result = mien("bench", "fer-small", "--turns", 2, "--plot", tmp_path / "b.png")
    assert (result.exit_code, result.stderr) == (0, "")
    picture = cv2.imread(str(tmp_path / "b.png"))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    wrong = mien("bench", "fer-small", "--turns", 2, "--plot", tmp_path / "b.xyz")
    assert (wrong.exit_code, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)
    assert "no format '.xyz'; there are: " in wrong.stderr
    nowhere = mien("bench", "fer-small", "--turns", 2, "--plot", tmp_path / "no" / "b.png")
    assert (nowhere.exit_code, nowhere.stdout) == (2, "")


def test_a_file_is_in_the_form_its_name_says(tmp_path: Path) -> None:
    result = mien("bench", "fer-small", "--turns", 2, "-o", tmp_path / "b.json")
    assert (result.exit_code, result.output) == (0, "")
    assert [one["model"] for one in json.loads((tmp_path / "b.json").read_text())] == ["fer-small"]
    told = mien("bench", "fer-small", "--turns", 2, "-o", tmp_path / "no" / "b.json")
    assert (told.exit_code, len(told.stderr.splitlines())) == (1, 1)


def test_notes_say_what_auto_took_and_what_a_session_would_not_run() -> None:
    auto, bf16 = variants(1, backend="auto")[0], variants(1, backend="auto")[0]
    bf16 = replace(bf16, options=replace(bf16.options, precision="bf16"))
    found, rounded = bench([auto, bf16], 2, lambda text: None)
    assert found.note.startswith(f"backend auto took {found.runtime}")
    if rounded.why is None:
        assert rounded.note.startswith("a session runs the frame graph in fp32: its features choose keyframes; backend auto took ")


def test_a_batch_that_the_model_does_not_take_is_refused() -> None:
    result = mien("bench", "fer-small", "--batch", 1, "--batch", 100_000)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--batch 100000: fer-small takes up to 16 at once" in result.stderr


def test_models_that_cannot_be_timed_are_refused() -> None:
    detector = mien("bench", "blazeface-front")
    assert (detector.exit_code, detector.stdout) == (2, "")
    assert "is of kind detector; bench times those of kind expression" in detector.stderr
    nobody = mien("bench", "nobody")
    assert nobody.exit_code == 2
    assert "no model 'nobody'" in nobody.stderr
    nowhere = mien("bench", "fer-small", "--backend", "nothing")
    assert nowhere.exit_code == 1
    assert "no engine backend 'nothing'" in nowhere.stdout


def manifest_of(path: Path) -> Expression:
    manifest = open_folder(path).manifest
    assert isinstance(manifest, Expression)
    return manifest


def test_samples_that_do_not_fit_are_refused_by_array(samples: Path, tmp_path: Path) -> None:
    manifest = manifest_of(FER)
    with np.load(samples) as file:
        arrays = dict(file)

    def refused(changed: dict[str, np.ndarray]) -> str:
        path = tmp_path / "x.npz"
        np.savez(path, **changed)
        with pytest.raises(SamplesRefused) as caught:
            windows(path, manifest)
        return str(caught.value)

    assert "has no inputs" in refused({name: array for name, array in arrays.items() if name != "inputs"})
    assert "the model takes uint8" in refused(arrays | {"inputs": arrays["inputs"].astype(np.float32)})
    assert "no track has 16 samples on end" in refused({name: array[:15] if array.ndim else array for name, array in arrays.items()})
    (tmp_path / "x.npz").write_bytes(b"?")
    with pytest.raises(SamplesRefused, match="is no archive of arrays"):
        windows(tmp_path / "x.npz", manifest)
    with pytest.raises(SamplesRefused, match=r"nobody\.npz: cannot be read: No such file"):
        windows(tmp_path / "nobody.npz", manifest)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=60), st.integers(1, 6), st.integers(1, 4))
def test_a_window_is_of_one_track_and_in_order(owners: list[tuple[int, int]], frames: int, hop: int) -> None:
    from engines.samples import _starts

    clip, track = (np.array([owner[k] for owner in owners], np.int64) for k in (0, 1))
    found = _starts(clip, track, frames, hop)
    for rows in found:
        assert len(rows) == frames
        assert rows == sorted(rows)
        assert len({owners[row] for row in rows}) == 1
    lengths = [owners.count(owner) for owner in set(owners)]
    assert len(found) == sum(max(0, (length - frames) // hop + 1) for length in lengths)
