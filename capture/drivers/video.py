"""Clips and network cameras through PyAV: `video:clip.mp4?realtime=1&loop=1`, `rtsp://…`, `http://…` (MJPEG, MPEG-TS, …).

Owns decoding to RGB, stamps, pacing, looping and the backlog of a network camera. Does not own what may be opened
(`capture/container.py`) or what odd stamps mean: missing, repeated and backward ones go on as they are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from pydantic import Field

from capture.container import open_clip, open_url, orientation, stamp_ns, upright, video_stream
from capture.driver import DriverOptions, EndOfStream, SourceError, is_url, shown
from capture.frame import Frame, SourceInfo
from capture.pacing import Pace

_BACKLOG_S = 3.0  # the longest a network camera's backlog is thrown away
_USUAL_STEP_NS = 40_000_000  # from frame to frame, where nothing says


class Options(DriverOptions):
    """`realtime`: a clip's frames come when their stamps say. `loop`: a clip begins again at its end, stamps going on.
    `threads`: decoder threads, 0 for as many as fit (damaged clips may then decode differently each time).
    Network only: `transport` of RTSP, `open_timeout_s`, `read_timeout_s`."""

    realtime: bool = False
    loop: bool = False
    threads: int = Field(default=1, ge=0, le=64)
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: float = Field(default=8.0, gt=0, le=60)
    read_timeout_s: float = Field(default=5.0, gt=0, le=60)


def create(address: str, options: Options, name: str) -> VideoDriver:
    """Return a driver for the clip at path `address`, or for the network camera at URL `address`."""
    if not address:
        raise SourceError("bad-uri", "camera driver 'video' needs a path: video:clip.mp4")
    if is_url(address) and (options.realtime or options.loop):
        raise SourceError("bad-option", f"{shown(address)}: realtime and loop are for clips; leave them out")
    return VideoDriver(address, options, name)


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A decoded frame; `arrival_ns`: when the packet that gave it was read."""

    frame: VideoFrame
    t_ns: int | None
    arrival_ns: int


class VideoDriver:
    """A clip or network camera, decoded.

    A clip's `device_t_ns` is its PTS from the start of its video stream, so usually from 0; in a loop it goes on by the
    clip's length. A network camera has no stamps but its arrivals. Counted since the last open: `packets` read (the number to
    compare with `SourceInfo.frames`: an edit list may hide some of them), frames `decoded` (damaged ones among them),
    `corrupt` (damaged or undecodable) and `drained` (thrown away as backlog).
    """

    def __init__(self, address: str, options: Options, name: str) -> None:
        self.name = name
        self.packets = self.decoded = self.corrupt = self.drained = 0
        self._address, self._options, self._live = address, options, is_url(address)
        self._container: InputContainer | None = None
        self._seq = 0
        self.close()

    def open(self) -> SourceInfo:
        """Open the source and decode its first frame.

        Raises:
            SourceError: why it cannot be had; see `capture.container`.
        """
        self.close()
        self.packets = self.decoded = self.corrupt = self.drained = 0
        self._offset_ns = self._end_ns = 0  # of this turn of the loop: its start, and the latest end of a frame
        self._pace = Pace()
        self._recent: deque[tuple[int, int]] = deque(maxlen=5)  # arrivals and stamps, while there may be a backlog
        try:
            self._begin()
            first = self._picture()
            if first is None:
                code = "source-unreachable" if self._live else "clip-unreadable"
                raise SourceError(code, f"{shown(self._address)}: no picture in it can be decoded; {self._why or 'it is damaged'}")
        except SourceError:
            self.close()
            raise
        self._pictures.append(first)
        self._backlog_until_ns = time.monotonic_ns() + int(_BACKLOG_S * 1e9)
        return self._info(first)

    def read(self) -> list[Frame]:
        """Return the next frame, alone; nothing yet if it is not due.

        Raises:
            EndOfStream: the clip has ended.
            SourceError: "source-lost": the network camera gave nothing for its time limit, or ended.
        """
        picture = self._picture()
        while picture is None:
            if self._live:
                raise SourceError("source-lost", f"{shown(self._address)}: {self._why or 'the camera ended the stream'}")
            if not self._options.loop:
                raise EndOfStream
            self._offset_ns = self._end_ns
            self._begin()
            if (picture := self._picture()) is None:
                raise SourceError("clip-unreadable", f"{shown(self._address)}: has changed, no picture in it can be decoded any more")
        if self._options.realtime and picture.t_ns is not None and not self._pace.due(picture.t_ns):
            self._pictures.appendleft(picture)
            return []
        if self._live and self._is_backlog(picture):
            self.drained += 1
            return []
        try:
            pixels = upright(picture.frame)
        except ValueError:
            self.corrupt += not picture.frame.is_corrupt
            return []
        self._seq += 1
        stamp = None if self._live else picture.t_ns
        arrival_ns = picture.arrival_ns if self._live else time.monotonic_ns()
        flags = frozenset({"corrupt"}) if picture.frame.is_corrupt else frozenset[str]()
        return [Frame(self.name, "color", self._seq, stamp, arrival_ns, data=pixels, flags=flags)]

    def close(self) -> None:
        """Close the source."""
        self._pictures: deque[_Picture] = deque()
        self._packets: Iterator[Packet[VideoStream]] = iter(())
        self._why = ""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def _begin(self) -> None:
        self.close()
        options = self._options
        if self._live:
            self._container = open_url(self._address, options.transport, options.open_timeout_s, options.read_timeout_s)
        else:
            self._container = open_clip(Path(self._address))
        self._stream = video_stream(self._container, shown(self._address))
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = 1 if self._live else options.threads
        if self._live:
            self._stream.codec_context.flags |= Flags.low_delay
        self._start = self._stream.start_time
        self._packets = self._container.demux(self._stream)

    def _picture(self) -> _Picture | None:
        """Return the next decoded picture, or None at the end."""
        while not self._pictures:
            packet: Packet[VideoStream] | None
            try:
                packet = next(self._packets)
            except StopIteration:
                return None
            except av.error.FFmpegError as error:
                # Damaged beyond here: give what the decoder still holds, then end.
                silent = isinstance(error, av.error.ExitError)
                self._why = f"no frame within {self._options.read_timeout_s:g} s" if silent else "connection lost"
                self.corrupt += not self._live
                packet, self._packets = None, iter(())
            arrival_ns = time.monotonic_ns()
            self.packets += packet is not None and packet.size > 0
            try:
                frames = self._stream.codec_context.decode(packet if packet is not None and packet.size else None)
            except av.error.EOFError:
                frames = []
            except av.error.FFmpegError:
                self.corrupt += 1
                frames = []
            for frame in frames:
                self._accept(frame, arrival_ns)
        return self._pictures.popleft()

    def _accept(self, frame: VideoFrame, arrival_ns: int) -> None:
        self.decoded += 1
        self.corrupt += frame.is_corrupt
        stamp = frame.pts if frame.pts is not None else frame.dts
        t_ns = None
        if stamp is not None:
            self._start = stamp if self._start is None else self._start
            t_ns = self._offset_ns + stamp_ns(stamp - self._start, self._stream)
            self._end_ns = max(self._end_ns, t_ns + self._duration_ns(frame))
        self._pictures.append(_Picture(frame, t_ns, arrival_ns))

    def _duration_ns(self, frame: VideoFrame) -> int:
        if frame.duration:
            return stamp_ns(frame.duration, self._stream)
        rate = _rate(self._stream)
        return int(1e9 / rate) if rate else _USUAL_STEP_NS

    def _is_backlog(self, picture: _Picture) -> bool:
        """Return whether `picture` was waiting already: the last few came in less than half the time their stamps say."""
        now_ns = time.monotonic_ns()
        if self._backlog_until_ns < now_ns:
            return False
        if picture.t_ns is None:
            return True
        self._recent.append((picture.arrival_ns, picture.t_ns))
        (arrival_ns, t_ns), full = self._recent[0], len(self._recent) == self._recent.maxlen
        if full and picture.arrival_ns - arrival_ns >= 0.5 * (picture.t_ns - t_ns) > 0:
            self._backlog_until_ns = 0
            return False
        return True

    def _info(self, first: _Picture) -> SourceInfo:
        stream, ends = self._stream, not (self._live or self._options.loop)
        width, height = first.frame.width, first.frame.height
        if orientation(first.frame)[0]:
            width, height = height, width
        assert self._container is not None
        duration_ns = stamp_ns(stream.duration, stream) if stream.duration else (self._container.duration or 0) * 1000
        return SourceInfo(
            self.name,
            "video",
            "color",
            width,
            height,
            fps=_rate(stream),
            clock="host" if self._live else "media",
            ends=ends,
            frames=stream.frames or None if ends else None,
            duration_ns=duration_ns or None if ends else None,
        )


def _rate(stream: VideoStream) -> float | None:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None
