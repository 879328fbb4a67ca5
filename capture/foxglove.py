"""Pictures, calibrations and log lines as Foxglove's protobuf messages, and pictures back.

Owns which message a picture becomes: a packet stays the bytes its source gave (`foxglove.CompressedImage`), pixels go
unchanged into `foxglove.RawImage` (a recording's chunks are compressed without loss). Does not own files.
Source: the schemas of the package foxglove-schemas-protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from capture.frame import Frame, Packet, PacketFormat, SourceInfo
from capture.recorded import Json, RecordingError

Level = Literal["info", "warning", "error"]
_ENCODINGS = {("uint8", 3): "rgb8", ("uint8", 2): "mono8", ("uint16", 2): "16UC1", ("float32", 2): "32FC1"}
_MESSAGES: tuple[Any, ...] = (CompressedImage, RawImage, CameraCalibration, Log)
_LEVELS = {"info": Log.INFO, "warning": Log.WARNING, "error": Log.ERROR}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One message: the full name of its schema, and its bytes."""

    schema: str
    data: bytes


def descriptors(schema: str) -> bytes:
    """Return the serialized FileDescriptorSet of `schema`, such as "foxglove.RawImage": what MCAP keeps beside such messages."""
    message = next(message for message in _MESSAGES if message.DESCRIPTOR.full_name == schema)
    found: dict[str, FileDescriptor] = {}
    _collect(message.DESCRIPTOR.file, found)
    files = FileDescriptorSet()
    for descriptor in found.values():
        descriptor.CopyToProto(files.file.add())
    return cast(bytes, files.SerializeToString(deterministic=True))


def image(frame: Frame, utc_ns: int) -> Encoded:
    """Return the frame's picture as it is kept: its packet if it has one, else its pixels.

    Raises:
        RecordingError: "picture-unsupported": pixels of a kind that no Foxglove encoding holds without loss.
    """
    if frame.packet is not None:
        message = CompressedImage(frame_id=frame.source, data=frame.packet.data, format=frame.packet.format)
        message.timestamp.FromNanoseconds(utc_ns)
        return Encoded("foxglove.CompressedImage", message.SerializeToString())
    assert frame.data is not None
    pixels = np.ascontiguousarray(frame.data)
    encoding = _ENCODINGS.get((pixels.dtype.name, pixels.ndim))
    if encoding is None or (encoding == "rgb8" and pixels.shape[2] != 3):
        kinds = ", ".join(f"{dtype} of {ndim} axes" for dtype, ndim in _ENCODINGS)
        raise RecordingError(
            "picture-unsupported", f"source {frame.source!r} gives {pixels.dtype.name} of shape {pixels.shape}; recorded are {kinds}"
        )
    little = pixels if pixels.dtype.byteorder != ">" else pixels.astype(pixels.dtype.newbyteorder("<"))
    height, width = pixels.shape[:2]
    step = pixels.itemsize * width * (3 if encoding == "rgb8" else 1)
    raw = RawImage(frame_id=frame.source, width=width, height=height, encoding=encoding, step=step, data=little.tobytes())
    raw.timestamp.FromNanoseconds(utc_ns)
    return Encoded("foxglove.RawImage", raw.SerializeToString())


def picture_of(message: Encoded, facts: Json) -> Frame:
    """Return a frame with nothing but the picture that `image` made a message of.

    Raises:
        RecordingError: "recording-broken": the message is not what its facts say.
    """
    try:
        if message.schema == "foxglove.CompressedImage":
            compressed = CompressedImage.FromString(message.data)
            if compressed.format not in ("jpeg", "png"):
                raise ValueError(f"format {compressed.format!r}")
            return Frame("", "color", 0, None, 0, packet=Packet(cast(PacketFormat, compressed.format), compressed.data))
        raw = RawImage.FromString(message.data)
        stored = facts["picture"]
        shape, dtype = tuple(int(size) for size in stored["shape"]), str(stored["dtype"])
        if _ENCODINGS.get((dtype, len(shape))) != raw.encoding:
            raise ValueError(f"encoding {raw.encoding!r} of {dtype} {shape}")
        pixels = np.frombuffer(raw.data, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
        return Frame("", "color", 0, None, 0, data=pixels)
    except (DecodeError, KeyError, TypeError, ValueError) as error:
        raise RecordingError("recording-broken", f"a picture of {len(message.data)} bytes cannot be read: {error}") from None


def calibration(info: SourceInfo, utc_ns: int) -> Encoded | None:
    """Return the source's intrinsics (fx, fy, cx, cy in pixels; k1, k2, p1, p2, k3 as OpenCV means them), None if unknown."""
    known = info.intrinsics
    if known is None or not {"fx", "fy", "cx", "cy"} <= set(known):
        return None
    fx, fy, cx, cy = (known[name] for name in ("fx", "fy", "cx", "cy"))
    message = CameraCalibration(
        frame_id=info.name, width=info.width, height=info.height, distortion_model="plumb_bob",
        D=[known.get(name, 0.0) for name in ("k1", "k2", "p1", "p2", "k3")],
        K=[fx, 0, cx, 0, fy, cy, 0, 0, 1], R=[1, 0, 0, 0, 1, 0, 0, 0, 1], P=[fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0],
    )  # fmt: skip
    message.timestamp.FromNanoseconds(utc_ns)
    return Encoded("foxglove.CameraCalibration", message.SerializeToString())


def log(level: Level, name: str, text: str, utc_ns: int) -> Encoded:
    """Return one line for people."""
    message = Log(level=_LEVELS[level], name=name, message=text)
    message.timestamp.FromNanoseconds(utc_ns)
    return Encoded("foxglove.Log", message.SerializeToString())


def _collect(file: FileDescriptor, found: dict[str, FileDescriptor]) -> None:
    if file.name not in found:
        for needed in file.dependencies:
            _collect(needed, found)
        found[file.name] = file
