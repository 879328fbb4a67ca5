"""What the bytes of a JPEG or PNG promise, and whether they keep it.

Owns reading an image's format and size from its header alone (before anything is allocated for its pixels) and strict
decoding: a picture that is cut off, or damaged where its format can tell, is an error and never a half-grey picture.
Does not own limits on size (the caller compares `image_size` with its own) or pictures as frames (`frame.py`).
"""

from __future__ import annotations

import re
import zlib
from typing import Literal

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

ImageFormat = Literal["jpeg", "png"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers; C4, C8, CC are tables and reserved
_BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length: TEM, RST0-7
_EOI, _SOS = 0xD9, 0xDA
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # Source: PNG 3rd ed., table 8
# A progressive JPEG has about ten scans, yet each of a million empty ones would cost a pass over the whole picture.
_MAX_SCANS = 100
# Some webcams pad the entropy-coded data by a few bytes before the end marker. By then every block has been decoded.
_MAX_PADDING = 8
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


class NotAnImage(ValueError):
    """Bytes that do not begin as a JPEG or a PNG does."""


class ImageBroken(ValueError):
    """An encoded image whose bytes cannot be decoded to the pixels its header promises."""


def image_size(data: bytes) -> tuple[ImageFormat, int, int]:
    """Return format, width and height (pixels, ≥ 1) as the header of `data` gives them, decoding nothing.

    Raises:
        NotAnImage: `data` begins as neither a JPEG nor a PNG does.
        ImageBroken: it begins as one, but its header is cut off or contradicts itself.
    """
    if data[:8] == PNG_SIGNATURE:
        width, height = _png_header(data)
        return "png", width, height
    if data[:3] == b"\xff\xd8\xff":
        width, height, _, _ = _jpeg_header(data)
        return "jpeg", width, height
    raise NotAnImage(f"{len(data)} bytes beginning '{data[:8].hex(' ')}' are neither a JPEG (ff d8 ff …) nor a PNG (89 50 4e 47 …)")


def decode_color(data: bytes) -> NDArray[np.uint8]:
    """Decode JPEG or PNG bytes to `(H, W, 3)` uint8 RGB, strictly.

    Grey becomes three equal channels; alpha is dropped, not blended; of 16-bit samples the high byte is kept. EXIF
    orientation is not applied: frames are as the sensor saw them. What is checked: JPEG, every warning of the decoder
    (a flipped bit may still decode without one, for the format has no checksum); PNG, every checksum.

    Raises:
        ImageBroken: the bytes are no image, a broken one, or a JPEG of CMYK or of other than 8 bits.
    """
    try:
        format_, width, height = image_size(data)
    except NotAnImage as error:
        raise ImageBroken(str(error)) from None
    pixels = _decode_jpeg(data) if format_ == "jpeg" else _decode_png(data)
    if pixels.shape != (height, width, 3):
        raise ImageBroken(f"{format_} decodes to {pixels.shape[1]}x{pixels.shape[0]}, its header promises {width}x{height}")
    return pixels


def _decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    _, _, components, first_scan = _jpeg_header(data)
    if components not in (1, 3):
        raise ImageBroken(f"JPEG has {components} colour components (CMYK?); send grey (1) or YCbCr (3)")
    # Behind the first scan ff is always stuffed with 00, so that this sequence is nothing but a further scan.
    if (scans := data.count(b"\xff\xda", first_scan)) > _MAX_SCANS:
        raise ImageBroken(f"JPEG has {scans} scans; allowed are {_MAX_SCANS}")
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True), np.uint8)
    except ValueError as error:
        padding = _PADDING.search(str(error))
        if padding is None or int(padding[1]) > _MAX_PADDING:
            raise ImageBroken(f"JPEG of {len(data)} bytes: {error}") from None
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=False), np.uint8)


def _decode_png(data: bytes) -> NDArray[np.uint8]:
    # Checked here first, because libpng would write what it finds to stderr.
    whole = _checked_png(data)
    try:
        pixels = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageBroken(f"PNG of {len(data)} bytes: {error.err}") from None
    if pixels is None:
        raise ImageBroken(f"PNG of {len(data)} bytes: its compressed pixels are damaged")
    return np.asarray(pixels, np.uint8)


def _jpeg_header(data: bytes) -> tuple[int, int, int, int]:
    """Return width, height, number of components and the offset of the first scan (or the end of the data)."""
    size: tuple[int, int, int] | None = None
    at = 2
    while True:
        if data[at : at + 1] != b"\xff":
            raise _broken_jpeg(data, at, "a marker (ff) should stand")
        while data[at : at + 1] == b"\xff":  # a marker may be preceded by any number of fill bytes
            at += 1
        if at >= len(data):
            raise _broken_jpeg(data, at, "the header ends")
        marker, at = data[at], at + 1
        if marker in _BARE:
            continue
        if marker in (_EOI, _SOS):
            if size is None:
                raise _broken_jpeg(data, at, "picture data begins or ends before the size was given")
            return *size, at
        length = int.from_bytes(data[at : at + 2], "big")
        segment = data[at + 2 : at + length]
        if length < 2 or len(segment) != length - 2:
            raise _broken_jpeg(data, at, f"a segment of {length} bytes does not fit")
        if marker in _SOF:
            if size is not None:
                raise _broken_jpeg(data, at, "the size is given twice")
            size = _start_of_frame(segment, data, at)
        at += length


def _start_of_frame(segment: bytes, data: bytes, at: int) -> tuple[int, int, int]:
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
        raise _broken_jpeg(data, at, "the frame header has a wrong length")
    bits, height, width = segment[0], int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    if bits != 8:
        raise ImageBroken(f"JPEG has {bits} bits per sample; send 8")
    if not (width and height):
        raise ImageBroken(f"JPEG header gives {width}x{height} pixels; both must be at least 1")
    return width, height, segment[5]


def _broken_jpeg(data: bytes, at: int, what: str) -> ImageBroken:
    return ImageBroken(f"JPEG of {len(data)} bytes: at byte {min(at, len(data))} {what}")


def _png_header(data: bytes) -> tuple[int, int]:
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\rIHDR":
        raise ImageBroken(f"PNG of {len(data)} bytes does not begin with a whole IHDR chunk")
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise ImageBroken("PNG header fails its checksum")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits, color, compression, filters, interlace = data[24:29]
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise ImageBroken(f"PNG header gives {width}x{height} pixels; both must be from 1 to 2147483647")
    if bits not in _PNG_DEPTHS.get(color, ()) or compression or filters or interlace > 1:
        methods = f"{compression}/{filters}/{interlace}"
        raise ImageBroken(f"PNG header gives colour type {color} at {bits} bits, methods {methods}: there is no such PNG")
    return width, height


def _checked_png(data: bytes) -> bytes:
    """Return `data` up to the end of its IEND chunk, after checking every chunk's checksum."""
    at, view = 8, memoryview(data)
    while True:
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if at + 12 > len(data) or end > len(data):
            raise ImageBroken(f"PNG of {len(data)} bytes is cut off: a chunk at byte {at} should end at {end}")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ImageBroken(f"PNG chunk at byte {at} fails its checksum")
        if data[at + 4 : at + 8] == b"IEND":
            return data[:end]
        at = end
