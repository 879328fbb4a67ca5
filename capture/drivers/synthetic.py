"""A camera that is none: `synthetic:?width=640&height=360&fps=30&count=300&faces=2`, the same pictures at every run.

Owns a cheap moving picture for load and latency tests: a gradient that wanders, `faces` rectangles that bounce, the frame's
number drawn in it. Not meant to be found by a face detector.
"""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capture.driver import DriverOptions, EndOfStream, SourceError
from capture.frame import Frame, SourceInfo
from capture.pacing import nap_until


class Options(DriverOptions):
    """`count`: frames until the end, 0 for no end. `realtime`: a frame comes when its stamp says. `seed`: where the faces go."""

    width: int = Field(default=640, ge=16, le=8192)
    height: int = Field(default=360, ge=16, le=8192)
    fps: float = Field(default=30.0, gt=0, le=1000)
    count: int = Field(default=0, ge=0)
    realtime: bool = True
    faces: int = Field(default=1, ge=0, le=64)
    seed: int = Field(default=0, ge=0)


def create(address: str, options: Options, name: str) -> SyntheticDriver:
    """Return a driver of generated pictures; it has no address."""
    if address:
        raise SourceError("bad-uri", f"camera driver 'synthetic' has no address, not {address[:40]!r}; write synthetic:?faces=2")
    return SyntheticDriver(options, name)


class SyntheticDriver:
    """Generated pictures; frame n (from 0 at every open) is stamped n/fps on the clock `media`."""

    def __init__(self, options: Options, name: str) -> None:
        self.name = name
        self._options = options
        self._seq = self._index = 0
        self._zero_ns = 0
        height, width = options.height, options.width
        # Twice as wide as a frame: a picture is a window that slides over it, which costs one copy.
        x, y = np.arange(2 * width), np.arange(height)[:, None]
        wave = 127.5 + 127.5 * np.sin(2 * np.pi * x / width)
        self._backdrop = np.stack(np.broadcast_arrays(wave, 255.0 * y / height, 255.0 - wave), axis=-1).astype(np.uint8)
        random = np.random.default_rng(options.seed)
        self._size = max(8, height // 4), max(8, width // 8)
        self._start = random.integers(0, (max(1, height - self._size[0]), max(1, width - self._size[1])), (options.faces, 2))
        self._step = random.integers(1, 6, (options.faces, 2))
        self._color = random.integers(64, 256, (options.faces, 3)).astype(np.uint8)

    def open(self) -> SourceInfo:
        """Begin at frame 0."""
        options, ends = self._options, self._options.count > 0
        self._index, self._zero_ns = 0, time.monotonic_ns()
        return SourceInfo(
            self.name,
            "synthetic",
            "color",
            options.width,
            options.height,
            fps=options.fps,
            clock="media",
            ends=ends,
            frames=options.count or None,
            duration_ns=self._stamp_ns(options.count) or None,
        )

    def read(self) -> list[Frame]:
        """Return the next frame, alone; nothing yet if it is not due.

        Raises:
            EndOfStream: `count` frames were read.
        """
        if self._options.count and self._index >= self._options.count:
            raise EndOfStream
        stamp_ns = self._stamp_ns(self._index)
        if self._options.realtime and not nap_until(self._zero_ns + stamp_ns):
            return []
        data = self.picture(self._index)
        self._index += 1
        self._seq += 1
        return [Frame(self.name, "color", self._seq, stamp_ns, time.monotonic_ns(), data=data)]

    def close(self) -> None:
        """Do nothing: there is no device."""

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return picture `index` ≥ 0, `(H, W, 3)` uint8 RGB, a function of it and the options alone."""
        options = self._options
        left = 2 * index % options.width
        image: NDArray[np.uint8] = self._backdrop[:, left : left + options.width].copy()
        for (top, west), color in zip(self.boxes(index), self._color, strict=True):
            image[top : top + self._size[0], west : west + self._size[1]] = color
        cv2.putText(image, str(index), (4, options.height - 6), cv2.FONT_HERSHEY_PLAIN, 1.0, (255, 255, 255))
        return image

    def boxes(self, index: int) -> NDArray[np.int64]:
        """Return top and left of each face's rectangle in picture `index`, `(faces, 2)` int64, in pixels."""
        room = np.maximum(1, np.array([self._options.height, self._options.width]) - self._size)
        phase = (self._start + index * self._step) % (2 * room)
        return np.asarray(np.minimum(phase, 2 * room - phase), np.int64)

    def _stamp_ns(self, index: int) -> int:
        return round(index * 1e9 / self._options.fps)
