"""`mien serve --rig`: three virtual sensors, a model that looks at all three, and what clients hear when one fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.served.server import served
from tests.session.test_modalities import write_three
from tests.waiting import PATIENCE_S

SOURCES = """
name = "desk"
model = "three"
tolerance_ms = 60

[sources.color]
modality = "color"
uri = "virtual:color?{scene}&fps=15&offset_ms=200&seed=1"

[sources.depth]
modality = "depth"
uri = "virtual:depth?{scene}&fps=15&offset_ms=-300&drift_ppm=90&seed=2"
aligned = {aligned}

[sources.thermal]
modality = "thermal"
uri = "virtual:thermal?{scene}&fps=9&offset_ms=500&drift_ppm=-150&seed=3&faults=unplug@{unplug}+2"
aligned = true
hold_ms = 150
"""


def rig(folder: Path, media: Path, checkout: Path, aligned: bool = True, unplug: float = 6.0) -> Path:
    """A rig that looks at a real clip, and beside it a model of colour, depth and heat."""
    write_three(folder / "models" / "three")
    path = folder / "desk.toml"
    scene = f"clip={media / 'single_face.mp4'}&faces={checkout / 'deploy' / 'rigs' / 'single_face.mp4.faces.json'}"
    path.write_text(SOURCES.format(scene=scene, aligned=str(aligned).lower(), unplug=unplug))
    return path


def test_bundles_of_three_modalities_reach_the_model_and_what_fails_is_said(tmp_path: Path, media: Path, checkout: Path) -> None:
    path, said = rig(tmp_path, media, checkout), []
    with served("--rig", str(path), "--models", str(tmp_path / "models")) as port:
        end = time.monotonic() + PATIENCE_S
        with connect(f"ws://127.0.0.1:{port}/v1/streams/desk/events", proxy=None) as events:
            while time.monotonic() < end and not _labelled_again(said):
                said.append(json.loads(events.recv(PATIENCE_S)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/streams", timeout=PATIENCE_S) as answer:
            (stream,) = json.loads(answer.read())["streams"]
    assert said[0]["type"] == "session.updated"
    assert [(m["name"], m["state"], m["modality"]) for m in said if m["type"] == "source"] == [
        ("thermal", "lost", "thermal"), ("thermal", "back", "thermal"),
    ]  # fmt: skip
    predictions = [face["prediction"] for m in said if m["type"] == "result" for face in m["faces"] if face["prediction"]]
    for prediction in predictions:
        assert prediction["sync"]["modalities"] == ["color", "depth", "thermal"]
        assert prediction["sync"]["clock"] == "host"
        for name, skew in prediction["sync"]["skew_ms"].items():
            # A held frame was there before: its time is the earlier one.
            assert -150 <= skew <= 0 if name in prediction["sync"]["held"] else -60 <= skew <= 60
        # The model says the mean of its three crops: of which heat, some 300 K, is the most. It is clamped to 1, the raw value beside it.
        assert prediction["valence"] == 1.0
    # There are nine thermal pictures a second for fifteen of colour: six are used again, when they are some 50 ms old.
    held = [p["sync"]["skew_ms"]["thermal"] for p in predictions if "thermal" in p["sync"]["held"]]
    assert min(held) < -10
    codes = {face["no_call"]["code"] for m in said if m["type"] == "result" for face in m["faces"] if face["no_call"]}
    assert "sensor-stale" in codes
    assert _labelled_again(said)
    assert (stream["name"], stream["state"], set(stream["sources"])) == (
        "desk",
        "running",
        {"color", "depth", "thermal"},
    )
    assert stream["sources"]["depth"]["clock"]["uncertainty_ms"] < 30
    for source in stream["sources"].values():
        assert sum(source["fates"].values()) == source["frames"]


def _labelled_again(said: list[dict[str, Any]]) -> bool:
    """Whether there was a prediction after the thermal camera came back."""
    back = next((i for i, m in enumerate(said) if m["type"] == "source" and m["state"] == "back"), None)
    if back is None:
        return False
    return any(face["prediction"] for m in said[back:] if m["type"] == "result" for face in m["faces"])


@pytest.mark.parametrize(("aligned", "model", "text"), [
    (False, "three", "rig desk: model 'three' needs color, depth, thermal pictures and sources give color and thermal only"),
    (True, "nobody", "no model 'nobody'"),
])  # fmt: skip
def test_a_rig_that_cannot_feed_its_model_does_not_start(
    tmp_path: Path, media: Path, checkout: Path, aligned: bool, model: str, text: str
) -> None:
    path = rig(tmp_path, media, checkout, aligned)
    path.write_text(path.read_text().replace('model = "three"', f'model = "{model}"'))
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "serve",
        "--port",
        "0",
        "--rig",
        str(path),
        "--models",
        str(tmp_path / "models"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.startswith("mien: error: ")
    assert done.stderr.count("\n") == 1


def test_two_cameras_of_one_name_are_refused(tmp_path: Path, media: Path, checkout: Path) -> None:
    path = rig(tmp_path, media, checkout)
    command = [sys.executable, "-m", "service.cli", "serve", "--rig", str(path), "--camera", "desk=webcam:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, "is called 'desk', as another camera is" in done.stderr) == (2, True)


def test_a_model_of_the_rig_may_be_the_servers_and_who_sends_colour_is_told_why_not(tmp_path: Path, media: Path, checkout: Path) -> None:
    path = rig(tmp_path, media, checkout)
    path.write_text(path.read_text().replace('model = "three"\n', ""))
    with served("--rig", str(path), "--model", str(tmp_path / "models" / "three")) as port:
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{port}/v1/live", proxy=None):
            pass
        assert refused.value.response.status_code == 422
        assert "model 'three' needs color, depth, thermal pictures" in json.loads(refused.value.response.body)["detail"]
        with connect(f"ws://127.0.0.1:{port}/v1/streams/desk/events", proxy=None) as events:
            end, valence = time.monotonic() + PATIENCE_S, None
            while valence is None and time.monotonic() < end:
                said = json.loads(events.recv(PATIENCE_S))
                faces = said["faces"] if said["type"] == "result" else ()
                valence = next((face["prediction"]["valence"] for face in faces if face["prediction"]), None)
        assert valence == 1.0
