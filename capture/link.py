"""What a camera's node and its driver say to each other: text messages of JSON, and binary ones that carry frames.

Owns the words, and how a picture travels: a packet as it is, colour pixels as JPEG, other integer pixels as PNG without loss,
anything else as its bytes. Does not own sockets (`drivers/remote.py`, `service/node.py`). What came from the network is not
trusted: sizes are bounded, everything is checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from capture.frame import Frame, Packet
from capture.recorded import Json, RecordingError, dumped, facts_of, frame_of

SUBPROTOCOL = "mien.node.1"
PATH = "/v1/camera/"
MAX_BYTES = 64 << 20
"""Of one message: a picture of 4096x2304 as RGB has 28 MB."""
MAX_PIXELS = 8192 * 8192
_HEADER_BYTES = 1 << 16
_RAW = {"float32": np.float32, "uint8": np.uint8, "uint16": np.uint16}


class LinkError(ValueError):
    """The other side said what nobody says who speaks this protocol."""


def pack(frames: Sequence[Frame], quality: int) -> bytes:
    """Return a read's frames as one message. `quality`: of JPEG, for colour pixels that are no packet yet, 1 to 100."""
    parts = [(facts_of(frame) | {"picture": said}, data) for frame in frames for said, data in [_picture(frame, quality)]]
    head = dumped({"type": "frames", "frames": [facts | {"bytes": len(data)} for facts, data in parts]})
    return b"".join([len(head).to_bytes(4, "little"), head, *(data for _, data in parts)])


def unpack(message: bytes) -> list[Frame]:
    """Return the frames of a message, packets not decoded.

    Raises:
        LinkError: it is none of `pack`'s.
    """
    size = int.from_bytes(message[:4], "little")
    if not 0 < size <= min(_HEADER_BYTES, len(message) - 4):
        raise LinkError(f"a message of {len(message)} bytes says its header has {size}")
    try:
        head, at, frames = json.loads(message[4 : 4 + size]), 4 + size, []
        for facts in head["frames"]:
            count = int(facts["bytes"])
            if count < 0 or at + count > len(message):
                raise LinkError(f"a picture of {count} bytes does not fit into a message of {len(message)}")
            frames.append(frame_of(facts, _seen(facts["picture"], message[at : at + count])))
            at += count
    except (KeyError, TypeError, AttributeError, ValueError, RecordingError, cv2.error) as error:
        raise LinkError(f"a message of {len(message)} bytes cannot be read: {error}") from None
    if at != len(message):
        raise LinkError(f"{len(message) - at} bytes follow the last picture")
    return frames


def said(text: str) -> Json:
    """Return a text message.

    Raises:
        LinkError: it is not a JSON object with a type.
    """
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise LinkError(f"a message of {len(text)} characters is no JSON object with a type")
    return body


def whole(body: Json, key: str) -> int:
    """Return a message's integer.

    Raises:
        LinkError: there is none.
    """
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
        raise LinkError(f"message {body.get('type')!r} needs a whole number {key!r}")
    return value


def _picture(frame: Frame, quality: int) -> tuple[Json, bytes]:
    if frame.packet is not None:
        return {"packet": frame.packet.format}, frame.packet.data
    assert frame.data is not None
    data = np.ascontiguousarray(frame.data)
    if data.dtype == np.uint8 and data.ndim == 3 and data.size:
        return {"packet": "jpeg"}, _encoded(".jpg", data[:, :, ::-1], cv2.IMWRITE_JPEG_QUALITY, quality)
    if data.dtype in (np.uint8, np.uint16) and data.ndim == 2 and data.size:
        return {"png": data.dtype.name, "shape": list(data.shape)}, _encoded(".png", data, cv2.IMWRITE_PNG_COMPRESSION, 1)
    return {"raw": data.dtype.name, "shape": list(data.shape)}, data.tobytes()


def _encoded(suffix: str, data: np.ndarray, *parameters: int) -> bytes:
    good, encoded = cv2.imencode(suffix, data, parameters)
    if not good:
        raise LinkError(f"pixels of shape {data.shape} cannot be encoded as {suffix}")
    return encoded.tobytes()


def _seen(picture: Json, data: bytes) -> Frame:
    bare = Frame("", "color", 0, None, 0, data=np.zeros((0, 0), np.uint8))
    if "packet" in picture:
        if picture["packet"] not in ("jpeg", "png"):
            raise LinkError(f"no packet format {picture['packet']!r}")
        return replace(bare, data=None, packet=Packet(picture["packet"], data))
    shape = tuple(int(size) for size in picture["shape"])
    if not (2 <= len(shape) <= 3 and min(shape) >= 0 and int(np.prod(shape, dtype=np.int64)) <= MAX_PIXELS):
        raise LinkError(f"a picture of shape {shape}")
    if "raw" in picture:
        return replace(bare, data=np.frombuffer(data, _RAW[picture["raw"]]).reshape(shape))
    if int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") > MAX_PIXELS:
        raise LinkError("a PNG of more pixels than it says")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != shape or pixels.dtype != _RAW[picture["png"]]:
        raise LinkError(f"a PNG that does not decode to {picture['png']} of shape {shape}")
    return replace(bare, data=np.asarray(pixels))
