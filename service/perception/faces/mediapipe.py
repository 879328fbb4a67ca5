"""The finder of MediaPipe Tasks: its FaceDetector, with the model file that the user names. It needs no model folder.

Owns opening it, its rows, and the manifest that stands in for a folder's. Does not own tracks (`track.py`).

MediaPipe Tasks send figures about their performance and use to Google (their package's own notice): so this finder is never chosen
for anybody, and says so when it is opened.

Graph: `image` (N, 512, 512, 3) uint8 RGB, letterboxed; `boxes` (N, 32, 16) float32: x0, y0, x1, y1, then six points x, y, in input
pixels; `scores` (N, 32) float32, 0 where there is no face.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays, BackendMissing, EngineError, EngineInfo
from engines.manifest import SCHEMA, Detector
from engines.shapes import Shapes
from service.inputs import Detection
from service.perception.letterbox import Size, fit

log = logging.getLogger("mien.perception")
ID = "mediapipe"
# Its wheel requires an OpenCV with windows, which would overwrite the one we require in the folder cv2.
INSTALL = "pip install 'mien[mediapipe]' && pip install --no-deps 'mediapipe>=1.2'"
DEBIAN = "sudo apt-get install libegl1 libgles2"
SIDE = 512
"""Of the input, pixels: MediaPipe scales it down itself, and rounds its boxes to whole pixels of it."""
MOST = 32
MIN_SCORE = 0.7
"""No face in `no_face.mp4` and all of `single_face.mp4`, with the short-range and the full-range file (docs/faces.md)."""
SMALLEST_PX = 1.0
KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
_MAGIC = b"TFL3"  # at byte 4 of a TensorFlow Lite file
_NOTICE = "face finder mediapipe: MediaPipe Tasks send figures about their performance and use to Google; blazeface-front sends nothing"


@dataclass(frozen=True, slots=True, eq=False)
class MediaPipeFinder:
    """Pictures to rows and back."""

    manifest: Detector

    def prepare(self, image: NDArray[np.uint8]) -> Arrays:
        """Return the graph's row for a `(H, W, 3)` uint8 RGB picture."""
        return {"image": fit((image.shape[0], image.shape[1]), self.manifest.image.size).draw(image)}

    def decode(self, outputs: Arrays, size: Size) -> tuple[Detection, ...]:
        """Return the faces in a picture of `size` (H, W), best score first, boxes clipped to it."""
        scores, placed = np.asarray(outputs["scores"], np.float64), fit(size, self.manifest.image.size)
        found = []
        for i in np.argsort(-scores, kind="stable"):
            points = placed.picture_points(np.asarray(outputs["boxes"][i], np.float64).reshape(-1, 2))
            (x0, y0), (x1, y1) = np.clip(points[:2], 0.0, (size[1], size[0])).tolist()
            if scores[i] < self.manifest.min_score or x1 - x0 < SMALLEST_PX or y1 - y0 < SMALLEST_PX:
                continue
            named = zip(self.manifest.keypoints, points[2:].tolist(), strict=True)
            found.append(Detection((x0, y0, x1, y1), float(scores[i]), {name: (x, y) for name, (x, y) in named}))
        return tuple(found)


class MediaPipeEngine:
    """A FaceDetector as an engine: a batch is its pictures, one after the other."""

    def __init__(self, data: bytes, manifest: Detector) -> None:
        try:
            import mediapipe
            from mediapipe.tasks import python as tasks
        except ModuleNotFoundError as error:
            raise BackendMissing(f"face finder {ID!r} needs {error.name}: {INSTALL}") from error
        self._shapes = Shapes.of(f"{ID}/full", manifest.graphs["full"])
        mp: Any = mediapipe  # half of its functions have types
        task: Any = tasks
        self._image: Callable[[NDArray[np.generic]], Any] = lambda pixels: mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
        options = task.vision.FaceDetectorOptions(
            base_options=task.BaseOptions(model_asset_buffer=data),
            min_detection_confidence=manifest.min_score,
            min_suppression_threshold=manifest.nms_iou,
        )
        try:
            self._detector: Any = task.vision.FaceDetector.create_from_options(options)
        except OSError as error:  # it loads its C library when first used
            raise BackendMissing(f"face finder {ID!r} needs a library of the system: {error}: {DEBIAN}") from error
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{ID}: MediaPipe refuses the model file: {str(error).splitlines()[0]}") from error
        self.info = EngineInfo(f"{ID}:CPU", metadata.version("mediapipe"), 0)

    def run(self, inputs: Arrays) -> Arrays:
        """Find the faces of each picture.

        Raises:
            EngineError: the engine is closed, the inputs do not fit, or MediaPipe failed.
        """
        if self._detector is None:
            raise EngineError(f"{ID}/full: the engine is closed; open it again")
        rows = self._shapes.rows(inputs)
        boxes, scores = np.zeros((rows, MOST, 16), np.float32), np.zeros((rows, MOST), np.float32)
        for row, pixels in enumerate(inputs["image"]):
            try:
                found = self._detector.detect(self._image(np.ascontiguousarray(pixels))).detections
            except (RuntimeError, ValueError) as error:
                raise EngineError(f"{ID}/full: the run failed: {str(error).splitlines()[0]}") from error
            for place, face in enumerate(found[:MOST]):
                box = face.bounding_box
                boxes[row, place, :4] = box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height
                boxes[row, place, 4:] = np.array([(point.x, point.y) for point in face.keypoints]).reshape(-1) * SIDE
                scores[row, place] = face.categories[0].score
        return {"boxes": boxes, "scores": scores}

    def close(self) -> None:
        """Release MediaPipe's graph. May be called again."""
        detector, self._detector = self._detector, None
        if detector is not None:
            detector.close()


def create(detector: Detector) -> MediaPipeFinder:
    """Return the finder for the manifest that `open_alone` made."""
    return MediaPipeFinder(detector)


def open_alone(file: Path | None) -> tuple[Detector, MediaPipeEngine]:
    """Open the detector of a model file; return the manifest that stands in for a folder's, and the engine.

    Raises:
        BackendMissing: the package is not installed.
        EngineError: no file was named, or it is no model of MediaPipe's face detection.
    """
    if file is None:
        raise EngineError(
            f"face finder {ID!r} needs a model file: set model.detector_file (MIEN_MODEL__DETECTOR_FILE) to one of MediaPipe's face "
            "detection, such as face_detection_short_range.tflite of its 0.10.21 wheel"
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise EngineError(f"{file}: cannot be read: {error.strerror}; model.detector_file must name a .tflite file") from error
    if data[4:8] != _MAGIC:
        raise EngineError(f"{file}: is no TensorFlow Lite file; model.detector_file must name one of MediaPipe's face detection")
    manifest = _manifest(hashlib.sha256(data).hexdigest())
    log.warning("%s", _NOTICE)
    return manifest, MediaPipeEngine(data, manifest)


def _manifest(sha256: str) -> Detector:
    name = "face_detection.tflite"
    image = {"name": "image", "dtype": "uint8", "shape": (SIDE, SIDE, 3)}
    found = [{"name": "boxes", "dtype": "float32", "shape": (MOST, 16)}, {"name": "scores", "dtype": "float32", "shape": (MOST,)}]
    graph = {"file": name, "inputs": [image], "outputs": found}
    return Detector.model_validate({
        "schema": SCHEMA, "id": ID, "kind": "detector", "title": "MediaPipe Tasks FaceDetector", "decoder": ID,
        "files": {name: sha256}, "card": name, "graphs": {"full": graph}, "batch": {"max": 1}, "opset": 1,
        "weights": {"kind": "pretrained", "source": "the file that model.detector_file names", "sha256": sha256},
        "licence": {"spdx": "NOASSERTION", "file": name, "holder": "whoever made that file"}, "cost": {"gmac_per_frame": 0.0},
        "image": {"size": (SIDE, SIDE), "layout": "nhwc"}, "keypoints": KEYPOINTS, "min_score": MIN_SCORE,
    })  # fmt: skip
