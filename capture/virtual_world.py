"""A scene that colour, depth and thermal sensors see alike: a person's head before a wall, at any moment.

Owns where the head is (from a clip and its sidecar, or drawn) and what each kind of sensor would see of it, without a sensor's faults and
noise (`virtual_sensor.py`). The three views have the same edges. Times are host monotonic ns, so that separate sensors see one world.

A sidecar (`mien faces CLIP`) says where the face is in each frame of a clip: {"width", "height", "faces": [{"t_ns", "box", "keypoints"}]},
in pixels; a frame without a face has null for its box.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.driver import EndOfStream, SourceError
from capture.drivers import video

FACE_M = 0.20
VIEW = 0.79
"""Height of what is seen at 1 m distance, in metres: a lens of 43°."""
WALL_M, BUST_M = 2.0, 0.10
WALL_K, CLOTH_K, SKIN_K, HAIR_K = 294.0, 300.5, 306.5, 301.0
BREATHS_HZ = 0.27
Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Head:
    """Where a face is, in parts of the picture's width and height."""

    x: float
    y: float
    width: float
    height: float
    right_eye: Point
    left_eye: Point
    nose: Point
    mouth: Point


class World(Protocol):
    """What there is to see at a moment."""

    def head(self, t_ns: int) -> Head | None:
        """Return where the face is, None: out of sight."""
        ...

    def color(self, t_ns: int, size: tuple[int, int]) -> Picture:
        """Return the `(H, W, 3)` uint8 RGB picture of `size` (H, W), free of noise."""
        ...


class DrawnWorld:
    """A head that is drawn and sways: no face finder takes it for one, and it costs next to nothing."""

    def head(self, t_ns: int) -> Head:
        """Return the swaying head."""
        s = t_ns / 1e9
        x, y = 0.5 + 0.08 * np.sin(0.9 * s), 0.45 + 0.03 * np.sin(1.7 * s)
        parts = ((x - 0.05, y - 0.06), (x + 0.05, y - 0.06), (x, y + 0.03), (x, y + 0.11))
        return Head(x, y, 0.24, 0.42, *parts)

    def color(self, t_ns: int, size: tuple[int, int]) -> Picture:
        """Return a plain drawing of it."""
        height, width = size
        head = self.head(t_ns)
        picture = np.full((height, width, 3), (96, 110, 120), np.uint8)
        for x, y, a, b, color in (
            (head.x, head.y + 1.3 * head.height, 1.3 * head.width, 0.75 * head.height, (40, 60, 110)),
            (head.x, head.y, 0.5 * head.width, 0.62 * head.height, (205, 165, 140)),
            (*head.right_eye, 0.03, 0.02, (40, 30, 30)),
            (*head.left_eye, 0.03, 0.02, (40, 30, 30)),
            (*head.mouth, 0.06, 0.02, (150, 70, 70)),
        ):
            centre, axes = (round(x * width), round(y * height)), (max(1, round(a * width)), max(1, round(b * height)))
            cv2.ellipse(picture, centre, axes, 0, 0, 360, color, -1)
        return picture


class ClipWorld:
    """A clip over and over, and the faces that its sidecar says."""

    def __init__(self, clip: Path, sidecar: Path) -> None:
        self._faces = read_sidecar(sidecar)
        self._jpegs, self._times_ns = _pictures(clip)
        if len(self._faces) != len(self._jpegs):
            raise SourceError("bad-sidecar", f"{sidecar} tells of {len(self._faces)} frames, {clip} has {len(self._jpegs)}; make it anew")
        last = self._times_ns[-1]
        self._length_ns = last + (last // max(1, len(self._times_ns) - 1) or 10**9)
        self._decoded = lru_cache(maxsize=4)(self._picture)

    def head(self, t_ns: int) -> Head | None:
        """Return the face of the frame that is shown at that moment."""
        return self._faces[self._index(t_ns)]

    def color(self, t_ns: int, size: tuple[int, int]) -> Picture:
        """Return the frame that is shown at that moment."""
        return self._decoded(self._index(t_ns), size)

    def _index(self, t_ns: int) -> int:
        return bisect_right(self._times_ns, t_ns % self._length_ns) - 1

    def _picture(self, index: int, size: tuple[int, int]) -> Picture:
        bgr = cv2.imdecode(self._jpegs[index], cv2.IMREAD_COLOR)
        assert bgr is not None
        if bgr.shape[:2] != size:
            bgr = cv2.resize(bgr, size[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


@lru_cache(maxsize=2)
def clip_world(clip: Path, sidecar: Path) -> ClipWorld:
    """Return the world of a clip; the sensors that see it share one.

    Raises:
        SourceError: the clip or its sidecar cannot be used.
    """
    return ClipWorld(clip, sidecar)


def read_sidecar(path: Path) -> tuple[Head | None, ...]:
    """Return the faces that a sidecar tells of, frame by frame.

    Raises:
        SourceError: there is none, or it is not one.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_head(face, said["width"], said["height"]) for face in said["faces"])
    except OSError as error:
        raise SourceError("no-sidecar", f"{path}: {error.strerror}; `mien faces CLIP -o {path.name}` makes it") from None
    except (ValueError, TypeError, KeyError) as error:
        raise SourceError("bad-sidecar", f"{path} does not say where faces are ({error!r}); `mien faces CLIP` makes it anew") from None


def depth(head: Head | None, size: tuple[int, int]) -> Floats:
    """Return the distance of what each pixel of a `(H, W)` picture shows, in metres."""
    x, y = _grid(size)
    metres: Floats = np.broadcast_to(np.float32(WALL_M) + np.float32(0.1) * y, size).copy()
    if head is None:
        return metres
    away = FACE_M / (head.height * VIEW)
    bust = 1 - ((x - head.x) / (1.3 * head.width)) ** 2 - ((y - head.y - 1.3 * head.height) / (0.8 * head.height)) ** 2
    skull = 1 - ((x - head.x) / (0.5 * head.width)) ** 2 - ((y - head.y) / (0.62 * head.height)) ** 2
    face = away - 0.09 * np.sqrt(np.maximum(skull, 0)) - 0.025 * _spot(x, y, head.nose, head, 0.09)
    face += 0.008 * (_spot(x, y, head.right_eye, head, 0.10) + _spot(x, y, head.left_eye, head, 0.10))
    np.copyto(metres, away + 0.05 - BUST_M * np.sqrt(np.maximum(bust, 0)), where=bust > 0)
    np.copyto(metres, face, where=skull > 0)
    return metres


def heat(head: Head | None, size: tuple[int, int], t_ns: int) -> Floats:
    """Return the temperature of what each pixel of a `(H, W)` picture shows, in kelvin; breath warms and cools the nose."""
    x, y = _grid(size)
    kelvin: Floats = np.broadcast_to(np.float32(WALL_K) + np.float32(0.5) * y, size).copy()
    if head is None:
        return kelvin
    bust = 1 - ((x - head.x) / (1.3 * head.width)) ** 2 - ((y - head.y - 1.3 * head.height) / (0.8 * head.height)) ** 2
    neck = (np.abs(x - head.x) < 0.28 * head.width) & (y > head.y) & (y < head.y + 0.9 * head.height)
    skull = 1 - ((x - head.x) / (0.5 * head.width)) ** 2 - ((y - head.y) / (0.62 * head.height)) ** 2
    breath = np.sin(2 * np.pi * BREATHS_HZ * t_ns / 1e9)
    skin = SKIN_K + 0.8 * np.sqrt(np.maximum(skull, 0)) + (-1.4 + 0.4 * breath) * _spot(x, y, head.nose, head, 0.09)
    skin += 0.9 * (_spot(x, y, head.right_eye, head, 0.08) + _spot(x, y, head.left_eye, head, 0.08))
    skin += (0.2 + 0.1 * breath) * _spot(x, y, head.mouth, head, 0.10)
    np.copyto(kelvin, CLOTH_K + 1.5 * np.sqrt(np.maximum(bust, 0)), where=bust > 0)
    np.copyto(kelvin, SKIN_K, where=neck)
    np.copyto(kelvin, np.where(y < head.y - 0.36 * head.height, HAIR_K, skin), where=skull > 0)
    return np.asarray(cv2.blur(kelvin, (3, 3)), np.float32)


@lru_cache(maxsize=8)
def _grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    height, width = size
    x = ((np.arange(width) + 0.5) / width).astype(np.float32)[None, :]
    return x, ((np.arange(height) + 0.5) / height).astype(np.float32)[:, None]


def _spot(x: Floats, y: Floats, at: Point, head: Head, radius: float) -> Floats:
    """Return a round spot of height 1 around a point, `radius` face sizes wide."""
    across = np.exp(-(((x - at[0]) / (radius * head.width)) ** 2) / 2)
    return np.asarray(across * np.exp(-(((y - at[1]) / (radius * head.height)) ** 2) / 2), np.float32)


def _head(face: dict[str, Any], width: float, height: float) -> Head | None:
    if face["box"] is None:
        return None
    x0, y0, x1, y1 = face["box"]
    points = {name: (x / width, y / height) for name, (x, y) in face["keypoints"].items()}
    middle = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
    parts = (points.get(name, middle) for name in ("right_eye", "left_eye", "nose", "mouth"))
    return Head(*middle, (x1 - x0) / width, (y1 - y0) / height, *parts)


def _pictures(clip: Path) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Return a clip's frames as JPEGs, for all its pixels would fill the memory, and their times from 0."""
    driver = video.create(str(clip.absolute()), video.Options(), "virtual")
    jpegs, times_ns = [], []
    driver.open()
    try:
        while True:
            for frame in driver.read():
                assert frame.data is not None
                done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(frame.data), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
                if done:
                    jpegs.append(np.asarray(jpeg, np.uint8))
                    times_ns.append(frame.device_t_ns or 0)
    except EndOfStream:
        pass
    finally:
        driver.close()
    if not jpegs:
        raise SourceError("clip-unreadable", f"{clip} has no picture in it")
    return jpegs, [t - times_ns[0] for t in times_ns]
