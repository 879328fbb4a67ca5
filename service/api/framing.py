"""A binary message's bytes taken apart: a bare JPEG or PNG, or header length, header and parts.

Owns the framing and the order of checks before anything is decoded. Does not own frames' numbers or what becomes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from capture.frame import Packet
from capture.image import PNG_SIGNATURE, ImageBroken, NotAnImage, image_size
from service.api.messages import FrameHeader

MAX_HEADER_BYTES = 65_536
_PREFIX = 4


class FramingError(ValueError):
    """Lengths or header are wrong, so where the images are cannot be known."""


class Unusable(ValueError):
    """The message is whole, but its images cannot be used. `code` is in the registry of errors."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Pushed:
    """One message: a bundle's encoded parts in the order sent. `formats`: as announced, None for a bare image."""

    parts: tuple[tuple[str, bytes], ...]
    formats: tuple[str | None, ...]
    id: str | None = None
    t_capture_ns: int | None = None


def parse(data: bytes) -> Pushed:
    """Take a message apart. What has no `{` behind four bytes of length is one bare image, or meant to be.

    Raises:
        FramingError: header or lengths are wrong.
    """
    if data.startswith((b"\xff\xd8", PNG_SIGNATURE)) or data[_PREFIX : _PREFIX + 1] != b"{":
        return Pushed((("color", data),), (None,))
    length = int.from_bytes(data[:_PREFIX], "little")
    start = _PREFIX + length
    if length > MAX_HEADER_BYTES or start > len(data):
        allowed = min(MAX_HEADER_BYTES, len(data) - _PREFIX)
        raise FramingError(
            f"the header length is {length}, this message allows at most {allowed}; it is a little-endian 32-bit number of bytes"
        )
    header = _header(data[_PREFIX:start])
    promised = sum(part.bytes for part in header.parts)
    if promised != len(data) - start:
        raise FramingError(f"the parts are {promised} bytes by the header, but {len(data) - start} bytes follow it")
    modalities = [part.modality for part in header.parts]
    if len(set(modalities)) != len(modalities):
        raise FramingError(f"each modality may occur once; the header names {', '.join(modalities)}")
    parts = []
    for part in header.parts:
        parts.append((str(part.modality), data[start : start + part.bytes]))
        start += part.bytes
    return Pushed(tuple(parts), tuple(part.format for part in header.parts), header.id, header.t_capture_ns)


def color_packet(pushed: Pushed, max_pixels: int) -> Packet:
    """Return the colour image of a message after looking at its header; no pixel is decoded.

    Raises:
        Unusable: it is no image, not what it says, or has more than `max_pixels` pixels, or there are parts of a rig.
    """
    others = [modality for modality, _ in pushed.parts if modality != "color"]
    if others:
        raise Unusable(
            "unknown-rig", f"{' and '.join(others)} parts need a calibrated rig, and this server has none; send the color part alone"
        )
    (_, data), announced = pushed.parts[0], pushed.formats[0]
    try:
        found, width, height = image_size(data)
    except NotAnImage as error:
        raise Unusable("not-an-image", str(error)) from None
    except ImageBroken as error:
        raise Unusable("image-broken", str(error)) from None
    if announced not in (None, found):
        raise Unusable("image-broken", f"the header announces {announced}, the bytes are {found}")
    if width * height > max_pixels:
        raise Unusable("image-too-large", f"{width}x{height} are {width * height} pixels; at most {max_pixels} are allowed")
    return Packet(found, data)


def _header(text: bytes) -> FrameHeader:
    try:
        return FrameHeader.model_validate_json(text)
    except ValidationError as error:
        raise FramingError(f"frame header: {explained(error)}") from None


def explained(error: ValidationError) -> str:
    """Return a validation's first complaint as one line: where, what; never the value, which may be long."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(step)[:40] for step in first["loc"])
    said = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{where}: {said}"[:300] if where else said[:300]
