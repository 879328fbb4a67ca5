"""Recordings as cameras: `recording:X.mcap?source=door&realtime=1&loop=1`.

Owns choosing one source of a recording, its stamps and pacing. Does not own reading (`capture/playback.py`). A recorded session is
run again by `mien replay`; this is for looking at its frames with something else: another model, another program.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from capture.driver import DriverOptions, EndOfStream, SourceError
from capture.frame import Frame, SourceInfo
from capture.pacing import Pace
from capture.playback import Playback, open_recording
from capture.recorded import RecordingError

_USUAL_STEP_NS = 40_000_000


class Options(DriverOptions):
    """`source`: which, if the recording has several (left out: the first of colour). `realtime`: frames come when their stamps
    say. `loop`: it begins again at its end, stamps going on."""

    source: str = ""
    realtime: bool = False
    loop: bool = False


def create(address: str, options: Options, name: str) -> RecordingDriver:
    """Return a driver for the recording at path `address`."""
    if not address:
        raise SourceError("bad-uri", "camera driver 'recording' needs a path: recording:X.mcap")
    return RecordingDriver(Path(address), options, name)


class RecordingDriver:
    """One source of a recording. Its clock is `media`: the recorded stamps of a clip as they were, else the time since its first
    frame by arrival; `arrival_t_ns` is now. `cut`: the recording had been cut off, known at its end."""

    def __init__(self, path: Path, options: Options, name: str) -> None:
        self.name = name
        self._path, self._options = path, options
        self._seq = self._offset_ns = self._end_ns = self._zero_ns = 0
        self._step_ns = _USUAL_STEP_NS
        self._last_ns: int | None = None
        self._pace = Pace()
        self._playback: Playback | None = None
        self._frames: Iterator[Frame | SourceInfo] = iter(())
        self._frame: Frame | None = None

    @property
    def cut(self) -> bool:
        """Whether reading met the end of what was written before the end of the recording."""
        return self._playback is not None and self._playback.cut

    def open(self) -> SourceInfo:
        """Find the source and its first frame.

        Raises:
            SourceError: "no-such-file", "recording-unreadable", "not-a-recording", "no-pixels", "no-such-source".
        """
        self.close()
        self._offset_ns = self._end_ns = 0
        self._pace = Pace()
        try:
            self._playback = open_recording(self._path)
            if not self._playback.has_pixels:
                raise SourceError("no-pixels", f"{self._path}: was recorded without pixels (--features-only): there is nothing to show")
            recorded, first = self._begin()
        except RecordingError as error:
            raise SourceError(error.code, str(error)) from None
        self._frame = first
        ends = not self._options.loop
        return replace(
            recorded, name=self.name, driver="recording", clock="media", ends=ends,
            frames=recorded.frames if ends else None, duration_ns=recorded.duration_ns if ends else None, trigger=None,
        )  # fmt: skip

    def read(self) -> list[Frame]:
        """Return the next frame, alone; nothing yet if it is not due.

        Raises:
            EndOfStream: the recording has ended.
            SourceError: it cannot be read on.
        """
        try:
            frame = self._frame if self._frame is not None else self._next()
            if frame is None:
                if not self._options.loop:
                    raise EndOfStream
                self._offset_ns = self._end_ns
                _, frame = self._begin()
        except RecordingError as error:
            raise SourceError(error.code, str(error)) from None
        t_ns = self._offset_ns + self._media_ns(frame)
        if self._options.realtime and not self._pace.due(t_ns):
            self._frame = frame
            return []
        self._frame = None
        step_ns = t_ns - self._last_ns if self._last_ns is not None and t_ns > self._last_ns else self._step_ns
        self._last_ns, self._step_ns, self._end_ns = t_ns, step_ns, t_ns + step_ns
        self._seq += 1
        return [replace(frame, source=self.name, seq=self._seq, device_t_ns=t_ns, arrival_t_ns=time.monotonic_ns())]

    def close(self) -> None:
        """Close the file."""
        self._frames, self._frame, self._last_ns, self._step_ns = iter(()), None, None, _USUAL_STEP_NS

    def _begin(self) -> tuple[SourceInfo, Frame]:
        """Go to the first frame of the source that is wanted."""
        assert self._playback is not None
        self._frames = (entry for entry in self._playback.entries() if isinstance(entry, Frame | SourceInfo))
        infos: dict[str, SourceInfo] = {}
        for entry in self._frames:
            if isinstance(entry, SourceInfo):
                infos[entry.name] = entry
            elif entry.source in infos and (entry.source == self._options.source if self._options.source else entry.modality == "color"):
                self._source, self._info = entry.source, infos[entry.source]
                self._media, self._zero_ns = self._info.clock == "media" and entry.device_t_ns is not None, entry.arrival_t_ns
                return self._info, entry
        there = ", ".join(sorted(infos)) or "none"
        wanted = f"source {self._options.source!r}" if self._options.source else "source of colour"
        raise SourceError("no-such-source", f"{self._path}: has no frame of a {wanted}; sources: {there}")

    def _next(self) -> Frame | None:
        return next((entry for entry in self._frames if isinstance(entry, Frame) and entry.source == self._source), None)

    def _media_ns(self, frame: Frame) -> int:
        if self._media and frame.device_t_ns is not None:
            return frame.device_t_ns
        return frame.arrival_t_ns - self._zero_ns
