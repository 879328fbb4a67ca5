"""Row 25: a graph that keeps its data elsewhere, a name that leads out of its folder, a link: refused, with the file and the rule."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"nobody may read this"


def _listed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest, every hash right again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    for name in manifest["files"]:
        if (folder / name).is_file():
            manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _external(location: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        model = onnx.load(folder / "frame.onnx")
        tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        (folder / "frame.onnx").write_bytes(model.SerializeToString())
        # Even where the file is there and listed with its hash.
        beside = [location] if "/" not in location else []
        for name in beside:
            (folder / name).write_bytes(SECRET)
        _listed(folder, lambda manifest: manifest["files"].update(dict.fromkeys(beside, "")))

    return spoil


def _above(folder: Path) -> None:
    _listed(folder, lambda manifest: manifest["files"].update({"../secret.bin": hashlib.sha256(SECRET).hexdigest()}))


def _link(folder: Path) -> None:
    (folder / "frame.onnx").rename(folder.parent / "frame.onnx")
    (folder / "frame.onnx").symlink_to(folder.parent / "frame.onnx")


FOUND: Mapping[str, tuple[Callable[[Path], None], str, str]] = {
    "external data beside it": (_external("weights.bin"), "frame.onnx", "external data is not allowed"),
    "external data above it": (_external("../secret.bin"), "frame.onnx", "external data is not allowed"),
    "external data anywhere": (_external("/etc/passwd"), "frame.onnx", "external data is not allowed"),
    "a name that leads out": (_above, "../secret.bin", "files"),
    "a link": (_link, "frame.onnx", "is a link"),
}


@pytest.mark.parametrize("found", FOUND)
@pytest.mark.parametrize("command", ["analyze", "serve"])
def test_row_25_refused_with_file_and_rule(found: str, command: str, tmp_path: Path, media: Path) -> None:
    spoil, file, rule = FOUND[found]
    folder = tmp_path / "models" / "mine"
    shutil.copytree(ROOT / "engines/models/fer-small", folder)
    (folder.parent / "secret.bin").write_bytes(SECRET)
    spoil(folder)
    arguments = ["analyze", str(media / "single_face.jpg")] if command == "analyze" else ["serve", "--port", "0"]
    said = subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments, "--model", str(folder)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env={k: v for k, v in os.environ.items() if not k.startswith("MIEN_")},
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (2, "")
    (line,) = said.stderr.splitlines()
    assert line.startswith("mien: error: ")
    assert file in line
    assert rule in line
    assert SECRET.decode() not in line
