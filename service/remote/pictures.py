"""What may be pushed, and the binary message it becomes.

Owns encoding of pixels and the frame header. OpenCV is imported when pixels are first encoded: who pushes JPEG or PNG
does not need it.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Encoding = Literal["jpeg", "png"]
Image = bytes | bytearray | memoryview | NDArray[np.uint8]
"""The bytes of a JPEG or PNG, or pixels `(H, W, 3)` uint8 RGB."""
JPEG_QUALITY = 95


def encoded(image: Image, encoding: Encoding) -> bytes:
    """Return an image as bytes of a JPEG (quality 95, colour in full resolution) or PNG; bytes stay as they are.

    Raises:
        ValueError: bytes are neither JPEG nor PNG, or an array is not `(H, W, 3)` uint8.
    """
    if isinstance(image, np.ndarray):
        return _compressed(image, encoding)
    data = bytes(image)
    kind(data)
    return data


def kind(data: bytes) -> Encoding:
    """Return what an image is by its first bytes.

    Raises:
        ValueError: neither JPEG nor PNG.
    """
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    raise ValueError(f"{len(data)} bytes that begin {data[:8]!r} are neither JPEG nor PNG; push whole images, or pixels as an array")


def framed(data: bytes, id: str | None, t_capture_ns: int | None) -> bytes:
    """Return the binary message for one encoded image: bare, or behind a header where there is something to say."""
    if id is None and t_capture_ns is None:
        return data
    header: dict[str, Any] = {"parts": [{"modality": "color", "format": kind(data), "bytes": len(data)}]}
    if id is not None:
        header["id"] = id
    if t_capture_ns is not None:
        header["t_capture_ns"] = t_capture_ns
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "little") + text + data


def _compressed(pixels: NDArray[np.uint8], encoding: Encoding) -> bytes:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels are {pixels.dtype} of shape {pixels.shape}; needed: uint8 of shape (height, width, 3), RGB")
    import cv2

    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if encoding == "jpeg":
        flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    ok, data = cv2.imencode(f".{encoding}", bgr, flags)
    if not ok:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be encoded as {encoding}; is a side longer than 65535?")
    return data.tobytes()
