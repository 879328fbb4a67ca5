"""The face finders that can be had here, opened, and what MediaPipe's needs: the model file of its own older wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from engines.engine import Engine, EngineOptions
from engines.folder import open_folder
from engines.manifest import Detector
from engines.open import open_engine
from service.inputs import Detection
from service.perception.faces.mediapipe import INSTALL
from service.perception.pixels import Finder, find, open_alone

WHEEL = "mediapipe==0.10.21"
FILES = {
    "face_detection_short_range.tflite": "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    "face_detection_full_range_sparse.tflite": "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
}
SHIPPED = Path(__file__).resolve().parents[2] / "engines" / "models"


@dataclass(frozen=True)
class Opened:
    """A finder with what runs its graph."""

    name: str
    manifest: Detector
    finder: Finder
    engine: Engine

    def faces(self, *images: np.ndarray) -> list[tuple[Detection, ...]]:
        """The faces of pictures, run as one batch."""
        rows = [self.finder.prepare(image) for image in images]
        outputs = self.engine.run({name: np.stack([row[name] for row in rows]) for name in rows[0]})
        return [self.finder.decode({name: a[i] for name, a in outputs.items()}, image.shape[:2]) for i, image in enumerate(images)]


def mediapipe_file(name: str) -> Path:
    """Return a model file of MediaPipe's older wheel, fetched once into `.cache/mediapipe` (or `$TEST_MEDIAPIPE`)."""
    given = os.environ.get("TEST_MEDIAPIPE")
    place = Path(given).expanduser() if given else Path(__file__).resolve().parents[2] / ".cache" / "mediapipe"
    if not all((place / file).is_file() and _sha256(place / file) == wanted for file, wanted in FILES.items()):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="mien-mediapipe-") as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.11", "--only-binary=:all:"]
            subprocess.run([*command, "--dest", scratch, WHEEL], check=True, capture_output=True)
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as inside:
                for file in FILES:
                    (place / file).write_bytes(inside.read(f"mediapipe/modules/face_detection/{file}"))
    assert _sha256(place / name) == FILES[name], f"{place / name} is not the file that was pinned"
    return place / name


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def shipped(id: str) -> Opened:
    """Open a shipped finder."""
    folder = open_folder(SHIPPED / id)
    assert isinstance(folder.manifest, Detector)
    return Opened(id, folder.manifest, find(folder.manifest), open_engine(folder, "full", EngineOptions(threads=1)))


def mediapipe(file: str) -> Opened:
    """Open MediaPipe's, or skip."""
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip(f"mediapipe is not installed: {INSTALL} (it reports its use to its vendor)")
    opened = open_alone("mediapipe", mediapipe_file(file))
    assert opened is not None
    return Opened("mediapipe", opened[0], find(opened[0]), opened[1])


FINDERS: dict[str, Callable[[], Opened]] = {
    "blazeface-front": lambda: shipped("blazeface-front"),
    "blazeface-back": lambda: shipped("blazeface-back"),
    "mediapipe, short range": lambda: mediapipe("face_detection_short_range.tflite"),
    "mediapipe, full range": lambda: mediapipe("face_detection_full_range_sparse.tflite"),
}
