"""Every architecture at its default sizes, as a user would try it: exported with random weights, verified, run on a clip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.networks import DOC, papers
from engines.folder import open_folder
from engines.manifest import Expression
from exporters import architecture
from exporters.catalogue import titles

pytestmark = pytest.mark.proof


def ran(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", architecture.names())
def test_exported_verified_analysed(name: str, tmp_path: Path, media: Path) -> None:
    identity = name.replace("_", "-")
    directory = tmp_path / identity
    made = ran("exporters", "onnx", name, "--random-weights", 0, "--out", directory)
    assert made.returncode == 0, made.stderr
    checked = ran("exporters", "verify", directory)
    assert checked.returncode == 0, checked.stdout
    assert "FAILS" not in checked.stdout
    manifest = open_folder(directory).manifest
    assert isinstance(manifest, Expression)
    chosen = ("--model", directory)
    refused = ran("service.cli", "analyze", media / "single_face.mp4", *chosen)
    assert refused.returncode != 0
    if {crop.modality for crop in manifest.crops.values()} != {"color"}:
        seen = ran("service.cli", "analyze", media / "single_face.mp4", *chosen, "--allow-random-weights")
        assert seen.returncode != 0
        assert "needs color, depth, thermal" in seen.stderr
        return
    assert "random" in refused.stderr
    seen = ran("service.cli", "analyze", media / "single_face.mp4", *chosen, "--allow-random-weights", "--format", "ndjson")
    assert seen.returncode == 0, seen.stderr
    (said,) = [line for line in map(json.loads, seen.stdout.splitlines()) if line["type"] == "clip_prediction"]
    assert said["weights"] == "random"
    if manifest.labels:
        assert {score["name"] for score in said["scores"]} == set(manifest.labels)
    else:
        assert -1 <= said["valence"] <= 1


def test_the_page_about_networks_is_what_the_networks_are() -> None:
    assert DOC.read_text(encoding="utf-8").endswith(papers())


def test_every_architecture_stands_in_the_page() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert [name for name in titles() if f"| `{name}` |" not in text] == []
