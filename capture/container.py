"""Video containers opened with nothing left to guesswork: which files and streams may be opened, and what a stamp means.

Owns the white lists (content decides, never a name; no container may make ffmpeg open another file or a socket), the errors
of opening, stamps in ns and the right-angle orientation phones record. Does not own reading (`drivers/video.py`).
"""

from __future__ import annotations

import stat
import struct
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from capture.driver import SourceError, shown

_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot")  # an MP4 or MOV begins with one of these at byte 4
_CONTAINERS = "MP4/MOV, Matroska/WebM, AVI, MPEG-TS"
# Demuxers that open nothing but what they are given; concat, hls, dash, sdp, image2 and many others do not belong to them.
_NETWORK_FORMATS = "rtsp,rtp,mpjpeg,mjpeg,mpegts,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2"
_NETWORK_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https"
_PROBE_BYTES = 4096
# PyAV 17 began to convert with a pool of threads per frame, which lives as long as the frame's pixels do: hundreds of threads.
_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
_TURNED = {90: (True, True, False), 180: (False, True, True), 270: (True, False, True)}  # counter-clockwise, as `orientation` says it


def open_clip(path: Path) -> InputContainer:
    """Open the clip at `path`, whose content (not name) must be one of the containers allowed.

    Raises:
        SourceError: "no-such-file", "clip-unreadable", "empty-clip", "unsupported-container".
    """
    head = _head(path)
    demuxer = demuxer_of(head)
    if demuxer is None:
        begin = head[:8].hex(" ")
        raise SourceError("unsupported-container", f"{path}: begins {begin}, which is none of {_CONTAINERS}; convert it to MP4")
    try:
        # Absolute, or ffmpeg would take a colon in the name for a protocol.
        options = {"format_whitelist": demuxer, "protocol_whitelist": "file"}
        return av.open(str(path.absolute()), "r", format=demuxer.split(",", maxsplit=1)[0], options=options)
    except av.error.FFmpegError as error:
        reason = _reason(error)
    kind = demuxer.split(",", maxsplit=1)[0]
    raise SourceError("clip-unreadable", f"{path}: looks like {kind}, but: {reason}; was it cut off? Record or copy it again")


def open_url(url: str, transport: Literal["tcp", "udp"], open_timeout_s: float, read_timeout_s: float) -> InputContainer:
    """Open a network camera, with time limits for opening (s) and for each read (s).

    Raises:
        SourceError: "source-unauthorized", "source-unreachable".
    """
    # Without the last two, opening would study the stream for seconds. (Not fflags=nobuffer: it loses the first key frame.)
    options = {"format_whitelist": _NETWORK_FORMATS, "protocol_whitelist": _NETWORK_PROTOCOLS}
    options |= {"analyzeduration": "500000", "fpsprobesize": "0"}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = transport
    try:
        return av.open(url, "r", options=options, timeout=(open_timeout_s, read_timeout_s))
    except av.error.HTTPUnauthorizedError:
        code, reason = "source-unauthorized", "name and password are missing or wrong"
    except av.error.ExitError:
        code, reason = "source-unreachable", f"no answer within {open_timeout_s:g} s"
    except av.error.FFmpegError as error:
        code, reason = "source-unreachable", _reason(error)
    # Raised out here, where no exception that holds the URL is its context.
    raise SourceError(code, f"{shown(url)}: {reason}; check host, port, path and that the camera is on")


def video_stream(container: InputContainer, source: str) -> VideoStream:
    """Return the first video stream that is no cover picture; `source` names the container in the error.

    Raises:
        SourceError: "clip-unreadable": there is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
    raise SourceError("clip-unreadable", f"{source}: has no video stream (streams: {kinds}); give a clip with pictures")


def stamp_ns(stamp: int, stream: VideoStream) -> int:
    """Return `stamp`, in the stream's time base, in ns: exactly rounded to nearest."""
    assert stream.time_base is not None
    scaled, divisor = stamp * stream.time_base.numerator * 10**9, stream.time_base.denominator
    return (2 * scaled + divisor) // (2 * divisor)


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return what sets `frame` upright, in this order: transpose, mirror top-bottom, mirror left-right.

    A display matrix of other than right angles says nothing here.
    Source: ISO/IEC 14496-12, track header matrix {a b u, c d v, x y w}: x' = a·x + c·y, y' = b·x + d·y.
    """
    try:
        side_data: Any = frame.side_data  # PyAV's stubs know none of its keys by their names
        matrix = side_data.get("DISPLAYMATRIX")
    except ValueError:  # the frame has side data of a kind that PyAV does not know yet, so it shows none; it still knows the angle
        return _TURNED.get(frame.rotation % 360, (False, False, False))
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if a == d == 0 and b and c:
        return True, b < 0, c < 0
    if b == c == 0 and a and d:
        return False, d < 0, a < 0
    return False, False, False


def upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return the pixels of `frame`, `(H, W, 3)` uint8 RGB, turned and mirrored as its `orientation` says.

    Raises:
        ValueError: its pixel format has no conversion to RGB (FFmpegError is one).
    """
    image = np.asarray(frame.to_ndarray(format="rgb24", **_ONE_THREAD), np.uint8)
    transpose, flip_y, flip_x = orientation(frame)
    turned = image.transpose(1, 0, 2) if transpose else image
    return np.ascontiguousarray(turned[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def _head(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("clip-unreadable", f"{path}: is not a regular file; give the path of a clip")
        if status.st_size == 0:
            raise SourceError("empty-clip", f"{path}: has 0 bytes; record or copy it again")
        with path.open("rb") as file:
            return file.read(_PROBE_BYTES)
    except FileNotFoundError:
        raise SourceError("no-such-file", f"{path}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError("clip-unreadable", f"{path}: {reason}; check the path and its permissions") from None


def demuxer_of(head: bytes) -> str | None:
    """Return ffmpeg's name of the container that begins with `head` (its first 4 KiB), or None: none that may be opened."""
    if head[4:8] in _ATOMS:
        return "mov,mp4,m4a,3gp,3g2,mj2"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska,webm"
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return "avi"
    # A sync byte every 188 bytes, or every 192 with a four-byte stamp before each packet.
    if any(len(head) > first + 2 * size and set(head[first::size]) == {0x47} for first, size in ((0, 188), (4, 192))):
        return "mpegts"
    return None


def _reason(error: av.error.FFmpegError) -> str:
    # Never str(error): it holds the file name, for a network camera the URL with its password.
    return (error.strerror or type(error).__name__).rstrip(".")
