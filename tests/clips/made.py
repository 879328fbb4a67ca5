"""Clips made for tests, sound ones and hostile ones."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def clip(
    path: Path, frames: int = 12, size: tuple[int, int] = (64, 48), fps: int = 30, codec: str = "libx264", first: int = 0,
    options: dict[str, str] | None = None, seed: int = 0,
) -> Path:  # fmt: skip
    """Write a clip of coloured frames of `size` (width, height); `first`: PTS of the first, in frames."""
    noise = np.random.default_rng(seed)
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p" if codec != "mjpeg" else "yuvj420p"
        stream.codec_context.options = {"preset": "ultrafast", "g": "4", "bf": "0"} if codec == "libx264" else {}
        for number in range(frames):
            image = np.empty((size[1], size[0], 3), np.uint8)
            image[:] = noise.integers(60, 250, 3, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = first + number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def repeated(path: Path, frames: int, size: tuple[int, int], time_base: Fraction = Fraction(1, 30)) -> Path:
    """Write a clip of black pictures, a tick of `time_base` apart, each the same few bytes: small on the disk."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = *size, "yuv420p", time_base
        stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency"}
        stream.codec_context.time_base = time_base
        packets = []
        for number in range(2):
            picture = av.VideoFrame(*size, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes(plane.buffer_size))
            picture.pts, picture.time_base = number, time_base
            packets += stream.encode(picture)
        first, same = (bytes(packet) for packet in packets)
        for number in range(frames):
            packet = av.Packet(same if number else first)
            packet.stream, packet.time_base, packet.is_keyframe = stream, time_base, number == 0
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)
    return path
