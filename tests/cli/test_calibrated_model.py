"""`mien windows --labels`, `mien-export fit-temperature`, and what the service then says."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from engines.folder import open_folder
from exporters import __main__ as exporting
from service.cli import app

pytestmark = pytest.mark.usefixtures("no_variables")


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def export(*arguments: object) -> Result:
    return CliRunner().invoke(exporting.app, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(files("engines") / "models" / "fer-small"), tmp_path / "models" / "fer-small"))


def predictions(media: Path, model: Path) -> list[dict[str, Any]]:
    result = mien("analyze", media / "single_face.mp4", "--model", f"{model}", "--format", "ndjson")
    assert (result.exit_code, result.stderr) == (0, "")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return [face["prediction"] for event in events for face in event.get("faces", []) if face["prediction"]]


def by_name(prediction: dict[str, Any]) -> dict[str, float]:
    return {score["name"]: score["probability"] for score in prediction["scores"]}


def written(model: Path, file: Path, clips: int, seed: int = 0, **changed: Any) -> Path:
    """Arrays as `mien windows --labels` writes them, of a model that is far too sure."""
    manifest = open_folder(model).manifest
    labels = manifest.labels
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (clips, len(labels)))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(len(labels), p=row) for row in honest])
    sure = honest**3 / (honest**3).sum(axis=1, keepdims=True)
    arrays = {
        "probabilities": sure, "window_clip": np.arange(clips), "label": label, "subject": np.array([""] * clips),
        "labels": np.array(labels),
        "graphs": np.array(sorted(manifest.files[graph.file] for graph in manifest.graphs.values())), "model": np.array(manifest.id),
    }  # fmt: skip
    np.savez(file, **(arrays | changed))
    return file


def test_windows_keeps_what_was_said_and_the_labels(media: Path, tmp_path: Path, model: Path) -> None:
    for name in ("single_face.mp4", "single_face.jpg"):
        shutil.copy(media / name, tmp_path / name)
    table = tmp_path / "clips.csv"
    table.write_text("clip,label,subject\nsingle_face.mp4,happiness,ann\nsingle_face.jpg,happiness,bob\n", encoding="utf-8")
    clips = (tmp_path / "single_face.mp4", tmp_path / "single_face.jpg")
    result = mien("windows", *clips, "--labels", table, "--map", "happiness=happy", "-m", f"{model}", "-o", tmp_path / "w.npz")
    assert (result.exit_code, result.stderr) == (0, "")
    with np.load(tmp_path / "w.npz") as arrays:
        labels = list(arrays["labels"])
        assert [labels[k] for k in arrays["label"]] == ["happy", "happy"]
        assert list(arrays["subject"]) == ["ann", "bob"]
        said = predictions(media, model)
        of_clip = arrays["probabilities"][arrays["window_clip"] == 0]
        np.testing.assert_allclose(of_clip, [[by_name(p)[name] for name in labels] for p in said], atol=1e-6)
        assert list(arrays["window_frame"][arrays["window_clip"] == 0]) == [p["window"]["frames"][-1] for p in said]
        assert arrays["window_filled"][arrays["window_clip"] == 1] == pytest.approx([1 / 16])
        assert list(arrays["graphs"]) == [open_folder(model).manifest.files["frame.onnx"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("single_face.jpg", "--labels", "clips.csv"), "line 2, column label: 'joy' is no label of fer-small; nearest:"),
        (("single_face.jpg", "--labels", "clips.csv", "--map", "joy=happy"), "single_face.jpg has no row in"),
        (("single_face.mp4", "--map", "joy=happy"), "--map goes with --labels"),
        (("single_face.mp4", "--labels", "none.csv"), "none.csv does not exist"),
    ],
)
def test_labels_that_do_not_fit_are_told(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    for name in ("single_face.mp4", "single_face.jpg"):
        shutil.copy(media / name, tmp_path / name)
    (tmp_path / "clips.csv").write_text("clip,label\nsingle_face.mp4,joy\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = mien("windows", *arguments, "-o", "w.npz")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "w.npz").exists()


def test_the_fitted_temperature_and_sets_are_what_the_service_says(media: Path, tmp_path: Path, model: Path) -> None:
    before, old = predictions(media, model), (model / "manifest.json").read_bytes()
    result = export("fit-temperature", written(model, tmp_path / "w.npz", 800), "--model", model)
    assert result.exit_code == 0, result.output
    calibration = open_folder(model).manifest.calibration
    assert calibration.temperature == pytest.approx(3.0, rel=0.2)
    assert f"temperature {calibration.temperature:.4f}, fitted on 400 windows of 400 clips" in result.stdout
    assert "on top of 0.655 in the graph" in calibration.source
    assert (model / "manifest.json").read_bytes() != old

    after = predictions(media, model)
    mine, floor = calibration.temperature, calibration.sets.floor
    assert len(after) == len(before)
    for raw, said in zip(before, after, strict=True):
        powers = {name: p ** (1 / mine) for name, p in by_name(raw).items()}
        for name, probability in by_name(said).items():
            # Six decimals are written: of a small probability the root magnifies what was cut off.
            assert probability == pytest.approx(powers[name] / sum(powers.values()), abs=0.01)
        names = [score["name"] for score in said["scores"]]
        assert said["uncertainty"]["calibrated"] is True
        assert said["uncertainty"]["set"] == [n for n in names if n == names[0] or by_name(said)[n] >= floor[n]]
        assert said["uncertainty"]["entropy"] > raw["uncertainty"]["entropy"]
    assert {p["label"] for p in after} == {p["label"] for p in before}

    # Fitting again on windows of the calibrated folder changes nothing: windows are kept from before the temperature.
    shutil.copy(media / "single_face.mp4", tmp_path / "clip.mp4")
    assert mien("windows", tmp_path / "clip.mp4", "-m", f"{model}", "-o", tmp_path / "again.npz").exit_code == 0
    with np.load(tmp_path / "again.npz") as arrays:
        rows = [[by_name(p)[name] for name in arrays["labels"]] for p in before]
        np.testing.assert_allclose(arrays["probabilities"], rows, atol=1e-6)


def test_the_folder_stays_whole_when_windows_do_not_fit(tmp_path: Path, model: Path) -> None:
    def state() -> str:
        return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(model.iterdir()))).hexdigest()

    before = state()
    cases = {
        "made by other graphs": written(model, tmp_path / "a.npz", 30, graphs=np.array(["0" * 64])),
        "has labels neutral, happy": written(model, tmp_path / "b.npz", 30, labels=np.array(list("abcdefgh"))),
        "do not belong together": written(model, tmp_path / "c.npz", 30, label=np.full(30, 9)),
        "no array label, subject": tmp_path / "d.npz",
        "cannot read e.npz": tmp_path / "e.npz",
    }
    with np.load(cases["made by other graphs"]) as arrays:
        np.savez(tmp_path / "d.npz", **{name: arrays[name] for name in arrays.files if name not in ("label", "subject")})
    (tmp_path / "e.npz").write_bytes(b"no archive")
    for said, file in cases.items():
        result = export("fit-temperature", file, "--model", model)
        assert result.exit_code != 0
        assert said in str(result.exception)
    assert export("fit-temperature", tmp_path / "a.npz", "--model", model, "--coverage", "1").exit_code == 2
    assert state() == before
