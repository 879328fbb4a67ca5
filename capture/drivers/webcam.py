"""USB cameras through V4L2: `webcam:0?width=1280&height=720&fps=30`, `webcam:/dev/v4l/by-id/…`.

Owns asking the device for compressed pictures and keeping them: an MJPG packet is handed on as the JPEG it is, to be decoded
only if somebody uses it. YUYV is converted. Does not own focus, exposure and the like: set them with v4l2-ctl.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capture.driver import DriverOptions, SourceError
from capture.frame import Frame, Packet, SourceInfo
from capture.usb import device_of, serial_of

_STALE_NS = 10 * 10**9


class Options(DriverOptions):
    """What to ask the device for (pixels, frames per second); what it gives instead is in `SourceInfo`.
    `format`: MJPG (falls back to YUYV where the device has none) or YUYV."""

    width: int = Field(default=1280, ge=16, le=8192)
    height: int = Field(default=720, ge=16, le=8192)
    fps: float = Field(default=30.0, gt=0, le=1000)
    format: Literal["MJPG", "YUYV"] = "MJPG"


def create(address: str, options: Options, name: str) -> WebcamDriver:
    """Return a driver for the camera with number `address` (0 for /dev/video0) or at path `address`."""
    if address.isascii() and address.isdigit():
        return WebcamDriver(Path(f"/dev/video{int(address)}"), options, name)
    if address.startswith("/dev/"):
        return WebcamDriver(Path(address), options, name)
    raise SourceError("bad-uri", f"camera driver 'webcam' needs a number or a path under /dev, not {address[:40]!r}; {_devices()}")


class WebcamDriver:
    """A V4L2 camera; opened again, it is found by its serial number where it has one.

    `corrupt` counts packets, since the last open, that did not begin as a JPEG does.
    `device_t_ns` is the kernel's stamp of the buffer, which V4L2 takes from the host's monotonic clock.
    """

    def __init__(self, path: Path, options: Options, name: str) -> None:
        self.name = name
        self.corrupt = 0
        self._path, self._options = path, options
        self._capture: cv2.VideoCapture | None = None
        self._format = ""
        self._skipped = 0
        self._seq = 0
        self._serial: str | None = None

    def open(self) -> SourceInfo:
        """Open the device with the nearest mode it has.

        Raises:
            SourceError: "no-such-device", "device-unusable", "format-unsupported".
        """
        self.close()
        if self._serial is not None:
            self._path = device_of(self._serial) or self._path
        self._check()
        options = self._options
        # In this order: V4L2 resets the size when the format changes.
        wanted = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*options.format),
            cv2.CAP_PROP_FRAME_WIDTH: options.width,
            cv2.CAP_PROP_FRAME_HEIGHT: options.height,
            cv2.CAP_PROP_CONVERT_RGB: 0,
        }
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_V4L2, [int(word) for pair in wanted.items() for word in pair])
        if not capture.isOpened():
            capture.release()
            raise SourceError("device-unusable", f"{self._path}: does not open as a camera; is another program using it? {_devices()}")
        capture.set(cv2.CAP_PROP_FPS, options.fps)
        self._capture, self.corrupt = capture, 0
        self._format = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=False).decode("latin-1")
        if self._format not in ("MJPG", "JPEG", "YUYV"):
            self.close()
            raise SourceError("format-unsupported", f"{self._path}: gives {self._format!r}; MJPG and YUYV are read here")
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._serial = serial_of(self._path)
        return SourceInfo(self.name, "webcam", "color", width, height, fps if fps > 0 else None, "host", ends=False, serial=self._serial)

    def read(self) -> list[Frame]:
        """Return the next frame, alone; nothing if its packet is not a JPEG. A silent device takes OpenCV's 10 s.

        Raises:
            SourceError: "source-lost": the device gives no frame any more.
        """
        assert self._capture is not None, "read before open"
        good, raw = self._capture.read()
        arrival_ns = time.monotonic_ns()
        if not good:
            raise SourceError("source-lost", f"{self._path}: gives no frame any more; unplugged? {_devices()}")
        packet, data = None, None
        if self._format == "YUYV":
            data = rgb_from_yuyv(np.asarray(raw, np.uint8))
        elif (jpeg := trimmed(np.asarray(raw, np.uint8).tobytes())) is not None:
            packet = Packet("jpeg", jpeg)
        else:
            self.corrupt += 1
            self._skipped += 1
            return []
        self._seq += 1
        skipped, self._skipped = self._skipped, 0
        stamp_ns = kernel_stamp_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC), arrival_ns)
        return [Frame(self.name, "color", self._seq, stamp_ns, arrival_ns, data=data, packet=packet, dropped_before=skipped)]

    def close(self) -> None:
        """Close the device."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _check(self) -> None:
        # Checked here, because OpenCV only says that it did not work, and says it on stderr.
        try:
            mode = self._path.stat().st_mode
        except OSError:
            raise SourceError("no-such-device", f"{self._path}: there is no such camera; {_devices()}") from None
        if not stat.S_ISCHR(mode):
            raise SourceError("device-unusable", f"{self._path}: is not a camera; {_devices()}")
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise SourceError("device-unusable", f"{self._path}: not permitted; add the user to the group 'video'")


def trimmed(packet: bytes) -> bytes | None:
    """Return the JPEG in a driver's buffer without what follows its end marker; None if none begins there.

    A packet without an end marker is returned whole: it is broken, and the decoder will say so.
    """
    if packet[:3] != b"\xff\xd8\xff":
        return None
    end = packet.rfind(b"\xff\xd9")
    return packet if end < 0 else packet[: end + 2]


def rgb_from_yuyv(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `(H, W, 2)` uint8 YUYV as `(H, W, 3)` uint8 RGB (BT.601, video range, as UVC cameras send it)."""
    return np.asarray(cv2.cvtColor(raw, cv2.COLOR_YUV2RGB_YUYV), np.uint8)


def kernel_stamp_ns(position_ms: float, arrival_ns: int) -> int | None:
    """Return a buffer's kernel stamp in ns, or None if it is not one of the host's monotonic clock just before `arrival_ns`."""
    stamp_ns = round(position_ms * 1e6)
    return stamp_ns if 0 <= arrival_ns - stamp_ns <= _STALE_NS else None


def _devices() -> str:
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    if found:
        return f"devices here: {', '.join(found)}"
    return "there is no /dev/video* here: plug the camera in, or give it to the container (--device)"
