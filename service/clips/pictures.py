"""What passes from a decoding child to its parent: a header, then JSON or the pixels of one picture.

Owns the format and both its ends. The parent trusts none of it: every length is checked before it is believed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<BBxxIIqI")
"""Kind, flags, width, height, time in ns, bytes that follow."""
MAX_JSON = 65_536
_CORRUPT, _UNSTAMPED = 1, 2


class Kind(IntEnum):
    """What follows a header."""

    OPENED = 1
    PICTURE = 2
    ENDED = 3
    REFUSED = 4
    FAILED = 5


class Garbled(ValueError):
    """What came is not in this format: the child is no longer itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded frame: `(height, width, 3)` uint8 RGB, its time in ns (None: it has none), whether the decoder found damage."""

    pixels: NDArray[np.uint8]
    t_ns: int | None
    corrupt: bool


@dataclass(frozen=True, slots=True)
class Said:
    """A message without pixels."""

    kind: Kind
    body: dict[str, Any]


def write(put: Callable[[memoryview], None], message: Picture | Said) -> None:
    """Hand a message to `put`, in one or two pieces."""
    if isinstance(message, Said):
        text = json.dumps(message.body).encode()
        put(memoryview(HEADER.pack(message.kind, 0, 0, 0, 0, len(text)) + text))
        return
    pixels = np.ascontiguousarray(message.pixels)
    height, width = pixels.shape[:2]
    flags = _CORRUPT * message.corrupt | _UNSTAMPED * (message.t_ns is None)
    put(memoryview(HEADER.pack(Kind.PICTURE, flags, width, height, message.t_ns or 0, pixels.nbytes)))
    put(pixels.reshape(-1).data)


def read(fill: Callable[[memoryview], None], check_size: Callable[[int, int], None]) -> Picture | Said:
    """Return the next message; `fill` fills a buffer with what comes next, `check_size` raises if pictures may not be so large.

    Raises:
        Garbled: what came is no message.
    """
    head = bytearray(HEADER.size)
    fill(memoryview(head))
    kind, flags, width, height, t_ns, size = HEADER.unpack(head)
    if kind not in list(Kind):
        raise Garbled(f"kind {kind}")
    if kind != Kind.PICTURE:
        return Said(Kind(kind), _json(fill, size))
    if not (width and height) or width * height * 3 != size:
        raise Garbled(f"{width}x{height} pixels in {size} bytes")
    check_size(width, height)
    pixels = np.empty((height, width, 3), np.uint8)
    fill(pixels.reshape(-1).data)
    return Picture(pixels, None if flags & _UNSTAMPED else t_ns, bool(flags & _CORRUPT))


def _json(fill: Callable[[memoryview], None], size: int) -> dict[str, Any]:
    if size > MAX_JSON:
        raise Garbled(f"{size} bytes of JSON")
    text = bytearray(size)
    fill(memoryview(text))
    try:
        body = json.loads(text)
    except ValueError:
        raise Garbled("no JSON") from None
    if not isinstance(body, dict):
        raise Garbled("no JSON object")
    return body
