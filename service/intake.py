"""What a command line names, made into inputs: clips, images, and folders of them.

Owns which files are taken, whether a file is a still image (by its content), and how one is read. Does not own how
clips are decoded (`capture/drivers/video.py`) or what is done with frames (`analyze.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.driver import Driver, EndOfStream, SourceError
from capture.drivers import video
from capture.frame import Frame, SourceInfo
from capture.image import ImageBroken, decode_color
from service.orientation import orientation, upright

CLIPS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".gif"))
IMAGES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*")


@dataclass(frozen=True, slots=True)
class Source:
    """One file to analyse. `name`: as the user wrote it, below a folder with the rest of the way; it stands in every output."""

    path: Path
    name: str


def find(paths: Iterable[Path]) -> list[Source]:
    """Return the inputs that `paths` name, in order; folders give their clips and images at any depth, sorted by name.

    A file named itself is taken whatever its suffix; its content decides what it is.

    Raises:
        SourceError: a path does not exist, or a folder holds no clip or image.
    """
    return [source for path in paths for source in _below(path)]


def _below(path: Path) -> list[Source]:
    if not path.is_dir():
        if not path.exists():
            raise SourceError("not-found", f"{shown(path)} does not exist")
        return [Source(path, os.fspath(path))]
    wanted = CLIPS | IMAGES
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in wanted and not file.name.startswith(".") and file.is_file())
    if not files:
        raise SourceError("not-found", f"folder {shown(path)} holds no clip or image ({' '.join(sorted(wanted))})")
    return [Source(file, os.fspath(file)) for file in files]


def open_source(source: Source) -> Driver:
    """Return the unopened driver that reads `source`: a still image, else a clip.

    Raises:
        SourceError: the file cannot be read.
    """
    if is_image(source.path):
        return Still(source)
    # Not by a URI, which could not hold a name that is no text; absolute, so that no name reads as a URL.
    return video.create(os.fspath(source.path.absolute()), video.Options(), source.name)


def is_image(path: Path) -> bool:
    """Tell by its first bytes whether a file is a still image.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise SourceError("unreadable", f"{shown(path)} cannot be read: {error.strerror}") from error
    if not head:
        return path.suffix.lower() in IMAGES
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def shown(path: Path | str) -> str:
    """Return a file's name for people: one line, nothing a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in os.fspath(path))


class Still:
    """A still image as a source of one frame at time 0, turned upright as its EXIF orientation says."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source
        self._image: NDArray[np.uint8] | None = None

    def open(self) -> SourceInfo:
        """Read and decode the file.

        Raises:
            SourceError: it is no image, or a broken one.
        """
        try:
            data = self._source.path.read_bytes()
        except OSError as error:
            raise SourceError("unreadable", f"{shown(self._source.name)} cannot be read: {error.strerror}") from error
        if not data:
            raise SourceError("empty-image", f"{shown(self._source.name)} is empty (0 bytes)")
        self._image = image = self._decoded(data)
        height, width = image.shape[:2]
        return SourceInfo(self._source.name, "still", "color", width, height, None, "media", ends=True, frames=1)

    def _decoded(self, data: bytes) -> NDArray[np.uint8]:
        name = shown(self._source.name)
        try:
            if data.startswith(_SIGNATURES[:2]):
                return upright(decode_color(data), orientation(data))
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        except (ImageBroken, cv2.error) as error:
            raise SourceError("image-broken", f"{name} cannot be decoded: {error}") from error
        if image is None:
            raise SourceError("image-broken", f"{name} cannot be decoded as an image")
        return np.asarray(image, np.uint8)

    def read(self) -> list[Frame]:
        """Return the one frame, then end.

        Raises:
            EndOfStream: it was returned before.
        """
        if self._image is None:
            raise EndOfStream
        image, self._image = self._image, None
        return [Frame(self._source.name, "color", 1, 0, time.monotonic_ns(), data=image)]

    def close(self) -> None:
        """Forget the pixels."""
        self._image = None
