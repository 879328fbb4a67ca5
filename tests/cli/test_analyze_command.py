"""`mien analyze` and `mien windows` over real clips and the shipped models, through the real command line."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from service.cli import app

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def single(media: Path) -> str:
    result = mien("analyze", media / "single_face.mp4", "--format", "ndjson")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_a_face_that_begins_to_smile(single: str) -> None:
    events = lines(single)
    results = [event for event in events if event["type"] == "result"]
    assert [event["frame"] for event in results] == list(range(1, len(results) + 1))
    labels = [(e["frame"], f["prediction"]["label"]) for e in results for f in e["faces"] if f["prediction"]]
    assert labels[0][1] == "neutral"
    assert {label for frame, label in labels if frame >= 52} == {"happy"}
    assert sum(a[1] != b[1] for a, b in pairwise(labels)) == 1
    assert [event["type"] for event in events if event["type"] != "result"] == ["clip_prediction"]


def test_again_the_same_bytes(media: Path, single: str) -> None:
    assert mien("analyze", media / "single_face.mp4", "--format", "ndjson").stdout == single


def test_json_holds_the_same_events_and_their_trace(media: Path, single: str, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    result = mien("analyze", media / "single_face.mp4", "--format", "json", "-o", file)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["events"] + document["clip_prediction"] == lines(single)
    assert document["frames"] == {"expected": 72, "decoded": 72, "errors": 0, "with_face": 72}
    assert document["model"] == document["events"][0]["model"]
    assert document["input"] == str(media / "single_face.mp4")
    assert [value["frame"] for value in document["trace"]] == list(range(1, 73))
    assert document["trace"][-1]["label"] == "happy"
    assert all(abs(sum(s["probability"] for s in value["scores"]) - 1) < 1e-5 for value in document["trace"])


def test_csv_has_a_row_per_frame_and_track_and_one_for_the_clip(media: Path, single: str) -> None:
    rows = list(csv.DictReader(io.StringIO(mien("analyze", media / "single_face.mp4", "--format", "csv").stdout)))
    assert [row["kind"] for row in rows] == ["frame"] * 72 + ["clip"]
    clip = lines(single)[-1]
    assert rows[-1]["label"] == clip["label"]
    assert {s["name"]: s["probability"] for s in clip["scores"]} == {k[2:]: float(v) for k, v in rows[-1].items() if k.startswith("p_")}
    assert (rows[-1]["frame"], rows[-1]["last_frame"]) == tuple(map(str, clip["frames"]))
    assert [row["t_s"] for row in rows] == [f"{n / 30:.6f}" for n in range(72)] + [""]


def test_the_table_is_plain_in_a_pipe(media: Path, single: str) -> None:
    result = mien("analyze", media / "single_face.mp4")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert result.stdout.isascii()
    due = [event for event in lines(single) if event.get("due")]
    times = [line.split()[0] for line in result.stdout.splitlines() if line.strip() and line.split()[0].count(".") == 1]
    assert times[: len(due)] == [f"{event['t_ns'] / 1e9:.3f}" for event in due]
    assert "window-filling" in result.stdout
    assert "the whole" in result.stdout


def test_no_face_no_label(media: Path) -> None:
    result = mien("analyze", media / "no_face.mp4", "--format", "ndjson")
    assert result.exit_code == 0
    events = lines(result.stdout)
    assert {event["type"] for event in events} == {"result"}
    assert {event["no_call"] for event in events if event["due"]} == {"no-face"}
    assert "label" not in result.stdout


def test_five_faces_on_a_photograph(media: Path) -> None:
    result = mien("analyze", media / "multi_face.jpg", "--detector", "blazeface-back", "--faces", 5, "--format", "ndjson")
    assert (result.exit_code, result.stderr) == (0, "")
    event, *clips = lines(result.stdout)
    assert [face["no_call"]["code"] for face in event["faces"]] == ["window-filling"] * 5
    assert [(clip["type"], clip["filled"]) for clip in clips] == [("clip_prediction", 0.0625)] * 5
    rows = list(csv.DictReader(io.StringIO(mien("analyze", media / "multi_face.jpg", "--detector", "blazeface-back", "--faces", 5,
                                                "--format", "csv").stdout)))  # fmt: skip
    assert [(row["kind"], row["filled"]) for row in rows] == [("clip", "0.062500")] * 5


def test_timing_is_added_and_nothing_else(media: Path) -> None:
    bare = lines(mien("analyze", media / "single_face.jpg", "--format", "ndjson").stdout)
    timed = lines(mien("analyze", media / "single_face.jpg", "--format", "ndjson", "--timing").stdout)
    for event in timed:
        delivery = event.pop("delivery")
        assert set(delivery["timing"]) == {"decode", "wait", "infer"}
        assert delivery["t_utc"].endswith("Z")
    assert timed == bare


def test_hop_and_a_changed_picture_of_many_inputs(media: Path, tmp_path: Path) -> None:
    shutil.copy(media / "single_face.jpg", tmp_path / "a.jpg")
    shutil.copy(media / "single_face.mp4", tmp_path / "b.mp4")
    result = mien("analyze", tmp_path, "--format", "ndjson", "--hop", 9)
    assert result.exit_code == 0
    events = lines(result.stdout)
    assert list(dict.fromkeys(event["input"] for event in events)) == [str(tmp_path / "a.jpg"), str(tmp_path / "b.mp4")]
    assert next(iter(events[0])) == "input"
    assert [e["frame"] for e in events if e.get("due")] == [1, 9, 18, 27, 36, 45, 54, 63, 72]


def _bad(folder: Path, media: Path) -> list[Path]:
    (folder / "empty.mp4").write_bytes(b"")
    whole = (media / "single_face.mp4").read_bytes()
    (folder / "headless.mp4").write_bytes(whole.replace(b"moov", b"gone"))
    (folder / "playlist.mp4").write_bytes(b"ffconcat version 1.0\nfile '/etc/hostname'\n")
    (folder / "broken.jpg").write_bytes((media / "single_face.jpg").read_bytes()[:3000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.mp4").write_bytes(b"hello\n" * 100)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
def test_a_bad_input_is_one_line_and_not_zero(media: Path, tmp_path: Path, form: str) -> None:
    codes = {}
    for path in _bad(tmp_path, media):
        result = mien("analyze", path, "--format", form, "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert path.name in result.stderr
        assert result.stdout == ""
        codes[path.name] = result.stderr.split(": ")[2]
    assert not (tmp_path / "out").exists()
    assert (codes["empty.mp4"], codes["headless.mp4"], codes["empty.png"], codes["broken.jpg"]) == (
        "empty-clip", "clip-unreadable", "empty-image", "image-broken",
    )  # fmt: skip


def test_the_good_inputs_of_a_folder_are_still_analysed(media: Path, tmp_path: Path) -> None:
    bad = _bad(tmp_path, media)
    shutil.copy(media / "single_face.jpg", tmp_path / "m.jpg")
    result = mien("analyze", tmp_path, "--format", "json")
    assert result.exit_code == 1
    documents = json.loads(result.stdout)
    assert len(documents) == len(bad) + 1
    assert [Path(document["input"]).name for document in documents if "error" not in document] == ["m.jpg"]
    errors = result.stderr.splitlines()
    assert len(errors) == len(bad) + 1
    assert errors[-1] == f"mien: error: {len(bad)} of {len(bad) + 1} inputs could not be analysed"
    tail = lines(mien("analyze", tmp_path, "--format", "ndjson").stdout)
    assert sum(event["type"] == "error" for event in tail) == len(bad)


def test_a_truncated_clip_is_refused_unless_partial_is_allowed(media: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    source = cv2.VideoCapture(str(media / "single_face.mp4"))
    whole = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
    for _ in range(72):
        whole.write(cv2.resize(source.read()[1], (320, 240)))
    whole.release()
    data = path.read_bytes()
    at, moov = data.index(b"mdat"), data.index(b"moov")
    # moov lies last here: what is lost is the middle of the pictures, blanked, so that no decoder can make them.
    cut = at + (moov - at) // 3
    path.write_bytes(data[:cut] + bytes(moov - 4 - cut) + data[moov - 4 :])
    result = mien("analyze", path, "--format", "ndjson")
    assert result.exit_code == 1
    assert "mien: error: clip-truncated: " in result.stderr
    partial = mien("analyze", path, "--format", "json", "--allow-partial")
    assert partial.exit_code == 0
    assert json.loads(partial.stdout)["frames"]["decoded"] < 72


@pytest.mark.parametrize("flag", ["--model", "--detector"])
@pytest.mark.parametrize("name", ["../../etc/passwd", "%2e%2e/%2e%2e", "fer-small\0", "nobody"])
def test_a_model_name_never_becomes_a_path(media: Path, flag: str, name: str) -> None:
    result = mien("analyze", media / "single_face.jpg", flag, name)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("mien: error: ")
    assert "fer-small" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("flag", "name"), [("--model", "blazeface-front"), ("--detector", "fer-small")])
def test_a_model_of_another_kind_is_refused(media: Path, flag: str, name: str) -> None:
    result = mien("analyze", media / "single_face.jpg", flag, name)
    assert result.exit_code == 2
    assert f"model '{name}' is of kind" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "csv", "--timing"), "--timing goes with"),
        (("--faces", "0"), "session.faces"),
        (("--backend", "warp"), "warp"),
        (("--config", "none.toml"), "none.toml"),
    ],
)
def test_a_wrong_command_is_one_line(media: Path, arguments: tuple[str, ...], words: str) -> None:
    result = mien("analyze", media / "single_face.jpg", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert words in result.stderr


def test_a_reader_that_leaves_is_no_traceback(media: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from service.cli import main; main()",
        "analyze",
        str(media / "single_face.mp4"),
        "--format",
        "ndjson",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_windows_writes_every_sample_and_the_same_bytes_twice(media: Path, tmp_path: Path) -> None:
    clips = [media / "single_face.mp4", media / "single_face.jpg"]
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in (first, second):
        result = mien("windows", *clips, "-m", "fer-small", "-o", path, "--inputs")
        assert (result.exit_code, result.output) == (0, "")
    assert first.read_bytes() == second.read_bytes()
    with np.load(first, allow_pickle=False) as file:
        arrays = dict(file)
    n = len(arrays["features"])
    m, words = len(arrays["probabilities"]), {"clips", "labels", "graphs"}
    assert {name: (array.dtype.name, array.shape[:1]) for name, array in arrays.items() if array.ndim and name not in words} == {
        "features": ("float32", (n,)), "track": ("int64", (n,)), "frame": ("int64", (n,)), "t_ns": ("int64", (n,)),
        "clip": ("int32", (n,)), "inputs": (arrays["inputs"].dtype.name, (n,)),
        "probabilities": ("float64", (m,)), "window_clip": ("int32", (m,)), "window_track": ("int64", (m,)),
        "window_frame": ("int64", (m,)), "window_filled": ("float64", (m,)),
    }  # fmt: skip
    assert arrays["clip"].tolist() == [0] * 72 + [1]
    assert arrays["frame"].tolist() == [*range(1, 73), 1]
    assert arrays["clips"].tolist() == [str(clip) for clip in clips]
    manifest = json.loads((ROOT / "engines" / "models" / "fer-small" / "manifest.json").read_bytes())
    assert str(arrays["model"]) == "fer-small"
    assert str(arrays["feature_model"]) == manifest["files"][manifest["graphs"]["frame"]["file"]]


def test_windows_of_an_unreadable_clip_leaves_no_file(media: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    result = mien("windows", media / "single_face.jpg", tmp_path / "empty.mp4", "-m", "fer-small", "-o", tmp_path / "w.npz")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.mp4"]


def test_a_model_folder_may_be_named_itself(media: Path, single: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "engines/models/fer-small", tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    clip = media / "single_face.mp4"
    assert mien("analyze", clip, "--format", "ndjson", "--model", "./mine").stdout == single
    (tmp_path / "mien.toml").write_text(f"[model]\nid = '{tmp_path}/mine'\ndetector = './mine'\n", encoding="utf-8")
    other_kind = mien("analyze", clip, "--config", "mien.toml")
    assert (other_kind.exit_code, other_kind.stdout) == (2, "")
    assert "'fer-small' is of kind expression; one of kind detector is needed" in other_kind.stderr
    bare = mien("analyze", clip, "--model", "mine")
    assert (bare.exit_code, bare.stderr) == (2, "mien: error: no model 'mine'; if the folder of that name is meant, write ./mine\n")
    nothing = mien("analyze", clip, "--model", "./none")
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert "no model './none'; there are: " in nothing.stderr
