"""Which way up a photograph is: the EXIF orientation of a JPEG or PNG, and turning pixels by it.

Owns reading that one tag. Frames of cameras and clips are never turned; only still images of `mien analyze` are.

Source: CIPA DC-008 (Exif 2.32), 4.5.2 and 4.6.4, tag 274; TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 0x0112
_SHORT = 3
_SCAN_STARTS = 0xDA


def upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return `(H, W, 3)` pixels turned so that a picture with this orientation (1–8) stands upright."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    return np.ascontiguousarray(image)


def orientation(data: bytes) -> int:
    """Return the EXIF orientation of an encoded image, 1 where it has none or it makes no sense."""
    exif = _png_exif(data) if data[:4] == b"\x89PNG" else _jpeg_exif(data) if data[:2] == b"\xff\xd8" else b""
    try:
        return _tag(exif)
    except struct.error:
        return 1


def _jpeg_exif(data: bytes) -> bytes:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN_STARTS:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + max(length, 2)
    return b""


def _png_exif(data: bytes) -> bytes:
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"eXIf":
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return b""


def _tag(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, first)
    for index in range(entries):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, first + 2 + 12 * index)
        if tag == _ORIENTATION and kind == _SHORT and 1 <= value <= 8:
            return int(value)
    return 1
