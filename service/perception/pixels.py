"""Perception of pictures: a face finder, crops and gates, bound together for one detector.

Owns the lookup of finders and the order finder → gates → crops. Does not own any finder (`faces/<decoder>.py`), the cutting
(`crop.py`), the gates (`quality.py`), optical flow (`flow.py`) or tracks (`track.py`). Without state, so that sessions may share it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capture.frame import Bundle, decoded
from engines.engine import Arrays, Engine
from engines.manifest import CropSpec, Detector, Expression
from service.events import NoCallCode
from service.inputs import Detection, GraphKey, Perception, Request
from service.perception import faces
from service.perception import flow as optical
from service.perception.crop import cut, inside
from service.perception.measured import cut_measured
from service.perception.quality import crop_gate, size_gate
from service.refusal import Refusal


class FinderError(Refusal):
    """A face finder cannot be had: no such decoder, or its package is not installed."""


class PictureError(ValueError):
    """A bundle has no colour picture that a finder could look at."""


class Finder(Protocol):
    """What a file in `faces/` makes with its `create(detector: Detector) -> Finder`. One that runs no model folder's graph also has
    `open_alone(file) -> (Detector, Engine)`."""

    def prepare(self, image: NDArray[np.uint8]) -> Arrays:
        """Return the graph's row for a `(H, W, 3)` uint8 RGB picture."""
        ...

    def decode(self, outputs: Arrays, size: tuple[int, int]) -> tuple[Detection, ...]:
        """Return the faces in a picture of `size` (H, W), best score first."""
        ...


class PixelPerception:
    """Perception over the colour frames' pixels, with the face finder of one detector."""

    def __init__(self, detector: Detector) -> None:
        self._finder = find(detector)
        self._graph: GraphKey = (detector.id, "full")
        self._confirm_frames = detector.confirm_frames

    @property
    def confirm_frames(self) -> int:
        """Frames in a row that make a face believed, from the detector's manifest."""
        return self._confirm_frames

    def detect(self, bundle: Bundle) -> Request:
        """Return the finder's request for the bundle's colour picture.

        Raises:
            PictureError: the bundle has no colour picture of uint8 RGB.
            capture.image.ImageBroken: its packet does not decode.
        """
        return Request(self._graph, self._finder.prepare(_picture(bundle)))

    def faces(self, bundle: Bundle, result: Arrays) -> tuple[Detection, ...]:
        """Return the faces the finder's graph found, best score first, in pixels of the colour picture."""
        height, width = _picture(bundle).shape[:2]
        return self._finder.decode(result, (height, width))

    def sample(self, bundle: Bundle, face: Detection, manifest: Expression) -> Arrays | NoCallCode:
        """Return the crops of a face by graph input, or the first gate that refuses it; `sensor-stale`: a picture it needs is missing, or
        is not of now.

        The gates of light look at the first face crop of colour, or at its first of all, as far as it shows the picture.
        """
        refused = size_gate(face.box, manifest.gates)
        if refused is not None:
            return refused
        needed = [bundle.frame(crop.modality) for crop in manifest.crops.values()]
        if any(frame is None or "frozen" in frame.flags for frame in needed):
            return "sensor-stale"
        crops, judged = self.crops(bundle, face, manifest.crops), _judged(manifest.crops)
        if judged is None:
            return crops
        rows, columns = inside(face, manifest.crops[judged], _picture(bundle).shape[:2])
        return crop_gate(np.asarray(crops[judged], np.uint8)[:, rows, columns], manifest.gates) or crops

    def crops(self, bundle: Bundle, face: Detection, specs: Mapping[str, CropSpec]) -> Arrays:
        """Return the crops of a face by name: `(3, H, W)` uint8 of colour, `(1, H, W)` float32 of depth (m) and heat (K); for one of
        content `flow`, the pixels its flow is made of.

        Raises:
            PictureError: the bundle lacks a picture of a modality asked for.
            UnitError: a depth or thermal picture is of another unit.
        """
        picture = _picture(bundle)
        # Pixels and their flow are of one region: it is cut once.
        regions = {name: spec.model_copy(update={"content": "pixels"}) for name, spec in specs.items()}
        done: dict[CropSpec, NDArray[np.generic]] = {}
        for name, spec in regions.items():
            if spec not in done:
                done[spec] = _crop(bundle, picture, face, spec, name)
        return {name: done[spec] for name, spec in regions.items()}

    def flow(self, before: NDArray[np.generic], after: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the optical flow `(2, H, W)`, x then y in pixels, from one uint8 RGB crop to the next (`flow.py`)."""
        return optical.flow(np.asarray(before, np.uint8), np.asarray(after, np.uint8))


def create(detector: Detector) -> Perception:
    """Return the perception for `detector`.

    Raises:
        FinderError: there is no finder for its decoder, or a package is missing.
        ValueError: the manifest does not fit the finder.
    """
    return PixelPerception(detector)


def find(detector: Detector) -> Finder:
    """Return the finder that the detector's `decoder` names.

    Raises:
        FinderError: there is no such finder, or a package it needs is missing.
        ValueError: the manifest does not fit the finder.
    """
    names = finders()
    if detector.decoder not in names:
        raise FinderError(f"{detector.id}: no face finder {detector.decoder!r}; there are: {', '.join(names)}")
    try:
        module = import_module(f"{faces.__name__}.{detector.decoder}")
    except ModuleNotFoundError as error:
        remedy = f"pip install 'mien[{detector.decoder}]'"
        raise FinderError(f"{detector.id}: face finder {detector.decoder!r} needs {error.name}: {remedy}") from error
    finder: Finder = module.create(detector)
    return finder


def open_alone(name: str, file: Path | None) -> tuple[Detector, Engine] | None:
    """Open a finder that needs no model folder; return what stands in for its manifest, and its engine. None: there is none so named.

    Raises:
        EngineError: its package or model file is missing, or cannot be used.
    """
    if name not in finders():
        return None
    opened: Callable[[Path | None], tuple[Detector, Engine]] | None
    opened = getattr(import_module(f"{faces.__name__}.{name}"), "open_alone", None)
    return None if opened is None else opened(file)


def finders() -> tuple[str, ...]:
    """Return the names of all face finders, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(faces.__path__)))


def _picture(bundle: Bundle) -> NDArray[np.uint8]:
    frame = bundle.frame("color")
    if frame is None:
        has = ", ".join(f"{frame.modality} of {name!r}" for name, frame in bundle.frames.items()) or "nothing"
        raise PictureError(f"bundle {bundle.number} has no colour frame but {has}; faces are found in colour: give each bundle one")
    data = decoded(frame).data
    assert data is not None
    if data.shape[2:] != (3,) or data.dtype != np.uint8:
        raise PictureError(f"frame {frame.seq} of {frame.source!r} is {data.dtype} {data.shape}; colour must be uint8 (H, W, 3) RGB")
    return np.asarray(data, np.uint8)


def _crop(bundle: Bundle, picture: NDArray[np.uint8], face: Detection, spec: CropSpec, name: str) -> NDArray[np.generic]:
    if spec.modality == "color":
        return cut(picture, face, spec)
    frame = bundle.frame(spec.modality)
    if frame is None:
        raise PictureError(f"input {name!r} wants a {spec.modality} crop; bundle {bundle.number} has no {spec.modality} picture")
    return cut_measured(frame, picture.shape[:2], face, spec)


def _judged(crops: Mapping[str, CropSpec]) -> str | None:
    """Return the crop that the gates of light look at; None: no crop is of colour."""
    color = {name: spec for name, spec in crops.items() if spec.modality == "color"}
    return next((name for name, spec in color.items() if spec.kind == "face"), next(iter(color), None))
