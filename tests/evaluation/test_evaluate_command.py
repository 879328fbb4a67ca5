"""`mien evaluate` over real clips and the shipped model, through the real command line."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from typer.testing import CliRunner, Result

from engines.folder import open_folder
from exporters import __main__ as exporting
from exporters import model_folder
from service.cli import app

pytestmark = pytest.mark.usefixtures("no_variables")

# Pleasure by Russell & Mehrabian 1977; contempt lies midway between angry and disgusted.
PLEASURE = {
    "neutral": 0.0, "happy": 0.81, "sad": -0.63, "angry": -0.51, "fearful": -0.64, "disgusted": -0.60, "surprised": 0.40,
    "contempt": -0.555,
}  # fmt: skip
CLIPS = ("single_face.mp4", "single_face.jpg", "face_noface.mov", "no_face.mp4")


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def labelled(media: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in CLIPS:
        shutil.copy(media / name, folder / name)
    (folder / "broken.mp4").write_bytes((media / "single_face.mp4").read_bytes()[:20_000])
    rows = [
        "single_face.mp4,joy,ann",
        "single_face.jpg,joy,ben",
        "face_noface.mov,neutral,cleo",
        "no_face.mp4,neutral,ann",
    ]
    (folder / "clips.csv").write_text("\n".join(["clip,label,subject", *rows, "broken.mp4,joy,ben", ""]), encoding="utf-8")
    return folder


@pytest.fixture
def traced(media: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    for name, seconds in (("single_face.mp4", 2.4), ("face_noface.mov", 6.0)):
        shutil.copy(media / name, folder / name)
        t_s = np.arange(0, seconds, 0.1)
        rows = [f"{t:.2f},{0.5 * np.tanh(t - 1):.4f}" for t in t_s]
        (folder / f"{Path(name).stem}.csv").write_text("\n".join(["time_s,valence", *rows, ""]), encoding="utf-8")
    rows = ["single_face.mp4,single_face.csv,ann,", "face_noface.mov,face_noface.csv,ben,dev"]
    (folder / "clips.csv").write_text("\n".join(["clip,trace,subject,split", *rows, ""]), encoding="utf-8")
    return folder


def said_by_analyze(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    result = mien("analyze", *(folder / name for name in names), "--format", "json")
    return {Path(one["input"]).name: one for one in json.loads(result.stdout)}


def test_labels_are_scored_as_analyze_says_them(labelled: Path, tmp_path: Path) -> None:
    report, out = tmp_path / "report", tmp_path / "scores.json"
    result = mien("evaluate", "fer-small", labelled, "--map", "joy=happy", "--report", report, "-o", out)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "broken.mp4" in result.stderr
    assert "1 of 5 clips could not be read and are in no score" in result.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["clips"] | {"unreadable": None} == {
        "listed": 5,
        "scored": 4,
        "development": 0,
        "unreadable": None,
        "left_out": [],
    }
    assert [one["clip"] for one in found["clips"]["unreadable"]] == ["broken.mp4"]

    analysed = said_by_analyze(labelled, CLIPS)
    truth = {
        "single_face.mp4": "happy",
        "single_face.jpg": "happy",
        "face_noface.mov": "neutral",
        "no_face.mp4": "neutral",
    }
    said = {name: (one["clip_prediction"] or [{"label": "(none)"}])[0]["label"] for name, one in analysed.items()}
    assert {one["clip"]: one.get("label", "(none)") for one in found["predictions"]} == said
    # What these two show is known: a smile, and nobody.
    assert (said["single_face.jpg"], said["no_face.mp4"]) == ("happy", "(none)")
    by_clip = found["scores"]["clip_labels"]
    assert by_clip["accuracy"] == pytest.approx(np.mean([said[name] == truth[name] for name in CLIPS]))
    order = [truth[name] for name in CLIPS], [said[name] for name in CLIPS]
    np.testing.assert_array_equal(
        by_clip["confusion"]["counts"],
        sklearn.metrics.confusion_matrix(*order, labels=by_clip["confusion"]["columns"])[:-1],
    )
    assert by_clip["labels"]["contempt"] == {"f1": None, "recall": None, "count": 0}

    frames = [(truth[n], v["label"]) for n, one in analysed.items() for v in one["trace"]]
    frames += [("neutral", "(none)")] * analysed["no_face.mp4"]["frames"]["decoded"]
    # face_noface's frames without a face are interpolated from its last: all of its frames count.
    tail = analysed["face_noface.mov"]["frames"]["decoded"] - len(analysed["face_noface.mov"]["trace"])
    frames += [("neutral", analysed["face_noface.mov"]["trace"][-1]["label"])] * tail
    by_frame = found["scores"]["frame_labels"]
    assert sum(map(sum, by_frame["confusion"]["counts"])) == len(frames)
    assert by_frame["accuracy"] == pytest.approx(np.mean([a == b for a, b in frames]), abs=1e-6)

    assert list(found["folds"]) == ["ann", "ben", "cleo"]
    accuracies = [one["clip_labels"]["accuracy"] for one in found["folds"].values()]
    over = found["over_folds"]["clip accuracy"]
    assert over == {
        "mean": pytest.approx(np.mean(accuracies), abs=1e-6),
        "std": pytest.approx(np.std(accuracies, ddof=1), abs=1e-6),
        "folds": 3,
    }

    assert sorted(entry.name for entry in report.iterdir()) == [
        "confusion.png",
        "folds.png",
        "report.md",
        "result.json",
    ]
    assert json.loads((report / "result.json").read_text(encoding="utf-8")) == found
    page = (report / "report.md").read_text(encoding="utf-8")
    assert "| accuracy | 0." in page
    assert "![Confusion" in page
    assert "broken.mp4" in page
    assert all((report / name).read_bytes().startswith(b"\x89PNG") for name in ("confusion.png", "folds.png"))


def test_a_table_for_people_and_the_same_bytes_twice(labelled: Path, tmp_path: Path) -> None:
    (labelled / "clips.csv").write_text("clip,label\nsingle_face.mp4,happy\nno_face.mp4,sad\n", encoding="utf-8")
    first = mien("evaluate", "fer-small", labelled, "--report", tmp_path / "r")
    assert (first.exit_code, first.stderr) == (0, "")
    assert "2 clips listed, 2 scored" in first.stdout
    assert "no prediction (wrong as a label, missing as a trace) of 1 of 2 clips: no_face.mp4" in first.stdout
    assert "no folds" in first.stdout
    before = {entry.name: entry.read_bytes() for entry in (tmp_path / "r").iterdir()}
    again = mien("evaluate", "fer-small", labelled, "--report", tmp_path / "r")
    assert again.stdout == first.stdout
    assert {entry.name: entry.read_bytes() for entry in (tmp_path / "r").iterdir()} == before


def test_traces_a_chain_and_the_manifest(traced: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(str(files("engines") / "models" / "fer-small"), tmp_path / "models" / "fer-small"))
    out = tmp_path / "scores.json"
    result = mien("evaluate", model, traced, "-o", out, "--report", tmp_path / "report")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(out.read_text(encoding="utf-8"))
    raw, finished = (found["scores"][kind]["valence"] for kind in ("traces", "traces_post_processed"))

    analysed = said_by_analyze(traced, ("single_face.mp4", "face_noface.mov"))["single_face.mp4"]["trace"]
    rows = np.genfromtxt(traced / "single_face.csv", delimiter=",", names=True)
    # Valence anew: from the probabilities of the labels and the published point of each.
    valence = [sum(score["probability"] * PLEASURE[score["name"]] for score in v["scores"]) for v in analysed]
    said = np.interp(rows["time_s"], [v["t_ns"] / 1e9 for v in analysed], valence)
    assert raw["n"] == len(rows)
    truth = rows["valence"]
    apart = truth.var() + said.var() + (truth.mean() - said.mean()) ** 2
    assert raw["rmse"] == pytest.approx(np.sqrt(np.mean((truth - said) ** 2)), abs=1e-4)
    assert raw["cc"] == pytest.approx(np.corrcoef(truth, said)[0, 1], abs=1e-4)
    assert raw["ccc"] == pytest.approx(2 * np.cov(truth, said, ddof=0)[0, 1] / apart, abs=1e-4)
    assert found["clips"]["development"] == 1
    assert {"valence.png", "report.md"} <= {entry.name for entry in (tmp_path / "report").iterdir()}
    assert "derived from its label probabilities" in found["notes"][0]

    put = CliRunner().invoke(exporting.app, ["post-processing", str(out), "--model", str(model)])
    assert put.exit_code == 0, put.output
    held = open_folder(model).manifest.post_processing["valence"]
    assert held.model_dump() == found["post_processing"]["valence"]
    # Without a development part, the manifest's chain is used.
    (traced / "clips.csv").write_text("clip,trace\nsingle_face.mp4,single_face.csv\n", encoding="utf-8")
    again = json.loads(mien("evaluate", model, traced, "--format", "json").stdout)
    assert again["scores"]["traces_post_processed"]["valence"] == finished
    refused = CliRunner().invoke(exporting.app, ["post-processing", str(out), "--model", str(model)])
    assert "evaluate this one" in str(refused.exception)
    assert f"is of 'fer-small' {found['model']['sha256']}, the folder holds 'fer-small' " in str(refused.exception)
    for name, why in (
        ("none.json", "cannot be read: No such file or directory"),
        ("clips.csv", "holds no fitted post-processing"),
    ):
        nothing = CliRunner().invoke(exporting.app, ["post-processing", str(traced / name), "--model", str(model)])
        assert str(nothing.exception).startswith(f"{traced / name} {why}; make it with mien evaluate")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "line 2, column label: 'joy' is no label of fer-small; nearest:"),
        (("--map", "joy=hapy"), "'hapy' is no label of fer-small; nearest: 'happy'"),
        (("--map", "joy=happy", "--folds", "9"), "--folds 9: there are 3 subjects"),
        (("--map", "joy=happy", "--dev", "zoe"), "--dev names 'zoe'"),
        (("--map", "joy=happy", "--dev", "ann,ben,cleo"), "all clips of"),
        (("--post", "smoth"), "--post 'smoth': each step must be one of smooth, centre, scale, shift"),
        (("--report", "faces"), "--report faces holds"),
        (("--report", "faces/clips.csv"), "is a file; name a folder"),
    ],
)
def test_what_cannot_be_done_is_told_before_the_work(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(labelled.parent)
    result = mien("evaluate", "fer-small", "faces", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_values_after_the_end_are_told(traced: Path) -> None:
    (traced / "clips.csv").write_text("clip,trace\nsingle_face.mp4,single_face.csv\n", encoding="utf-8")
    (traced / "single_face.csv").write_text("time_s,valence\n0,0\n1,0.1\n40,0.2\n80,0.3\n", encoding="utf-8")
    found = json.loads(mien("evaluate", "fer-small", traced, "--format", "json").stdout)
    assert found["scores"]["traces"]["valence"]["outside"] == 2
    assert [note for note in found["notes"] if "after the end of the clip are left out (time_s is in seconds), in 1 of 1" in note]


def test_traces_want_a_model_that_gives_them(traced: Path, tmp_path: Path) -> None:
    shipped = open_folder(Path(str(files("engines") / "models" / "fer-small")))
    fields = {name: value for name, value in model_folder.fields_of(shipped.manifest).items() if name != "affect"}
    model_folder.write(tmp_path / "mute", {**fields, "id": "mute"}, dict(shipped.files))
    refused = mien("evaluate", tmp_path / "mute", traced)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "has traces of valence, and model 'mute' gives neither valence nor arousal" in refused.stderr
    (traced / "clips.csv").write_text("clip,label,trace\nsingle_face.mp4,happy,single_face.csv\n", encoding="utf-8")
    labelled = json.loads(mien("evaluate", tmp_path / "mute", traced, "--format", "json").stdout)
    assert "model 'mute' does not give valence: traces of it are not scored" in labelled["notes"]


def test_a_file_that_cannot_be_written_is_told_before_the_work(labelled: Path, tmp_path: Path) -> None:
    result = mien("evaluate", "fer-small", labelled, "--map", "joy=happy", "-o", tmp_path / "no" / "scores.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"mien: error: cannot-write: {tmp_path / 'no'}: No such file or directory\n"


def test_without_the_plotting_library_only_the_report_is_refused(labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = mien("evaluate", "fer-small", labelled, "--map", "joy=happy", "--report", tmp_path / "report")
    assert result.exit_code == 2
    assert "pip install 'mien[plots]'" in result.stderr
    assert not (tmp_path / "report").exists()
    (labelled / "clips.csv").write_text("clip,label\nsingle_face.jpg,happy\n", encoding="utf-8")
    assert mien("evaluate", "fer-small", labelled).exit_code == 0
