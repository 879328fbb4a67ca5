"""Valence and arousal of the shipped models: the published points, each at its own label, from graph to wire."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engines.folder import read_manifest
from engines.manifest import Expression
from service.cli import app
from service.windows import value as values
from service.windows.value import Value

# Russell & Mehrabian 1977 (pleasure, arousal), transcribed from the paper; neutral is the origin, contempt lies midway
# between angry and disgusted.
PUBLISHED = {
    "neutral": (0.0, 0.0), "happy": (0.81, 0.51), "sad": (-0.63, -0.27), "angry": (-0.51, 0.59), "fearful": (-0.64, 0.60),
    "disgusted": (-0.60, 0.35), "surprised": (0.40, 0.67), "contempt": (-0.555, 0.47),
}  # fmt: skip
ORDER = {
    "fer-small": ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "contempt"),
    "faceapi-expression": ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
}
CASES = [(name, index, label) for name, labels in ORDER.items() for index, label in enumerate(labels)]


def shipped(name: str) -> Expression:
    manifest = read_manifest(Path(str(files("engines") / "models" / name)))
    assert isinstance(manifest, Expression)
    return manifest


@pytest.mark.parametrize(("name", "index", "label"), CASES)
def test_a_face_that_is_sure_stands_at_its_labels_point(name: str, index: int, label: str) -> None:
    probabilities = np.zeros(len(ORDER[name]))
    probabilities[index] = 1.0
    manifest = shipped(name)
    found = values.affect(Value(probabilities, None), manifest)
    assert found is not None
    assert (found.valence, found.arousal, found.derived) == (*PUBLISHED[label], True)
    assert values.scores(Value(probabilities, None), manifest)[0].name == label


@pytest.mark.parametrize("name", ORDER)
def test_a_face_that_is_unsure_stands_between(name: str) -> None:
    probabilities = np.zeros(len(ORDER[name]))
    probabilities[:4] = 0.4, 0.3, 0.2, 0.1  # neutral, happy, sad, angry
    found = values.affect(Value(probabilities, None), shipped(name))
    assert found is not None
    # 0.243 − 0.126 − 0.051; 0.153 − 0.054 + 0.059
    assert (found.valence, found.arousal) == (pytest.approx(0.066), pytest.approx(0.158))


@pytest.mark.parametrize("name", ORDER)
def test_what_is_written_of_a_smiling_face(name: str, media: Path, tmp_path: Path) -> None:
    """The picture shows a smile: with the labels in a wrong order, in the graph or after it, no face there is happy."""
    out = tmp_path / "said.json"
    done = CliRunner().invoke(app, ["analyze", str(media / "single_face.jpg"), "--model", name, "--format", "json", "-o", str(out)])
    assert done.exit_code == 0, done.output
    (clip,) = json.loads(out.read_text(encoding="utf-8"))["clip_prediction"]
    said = {score["name"]: score["probability"] for score in clip["scores"]}
    assert set(said) == set(ORDER[name])
    valence, arousal = (sum(p * PUBLISHED[label][axis] for label, p in said.items()) for axis in (0, 1))
    assert (clip["valence"], clip["arousal"]) == (pytest.approx(valence, abs=1e-5), pytest.approx(arousal, abs=1e-5))
    assert clip["derived"] is True
    assert clip["label"] == "happy"
    assert clip["valence"] > 0.6
