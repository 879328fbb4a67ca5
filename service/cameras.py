"""A server-side camera: one reader thread and its feed.

Owns numbering of what the camera reads and the camera's state as clients see it. Does not own the device
(`capture/reader.py`, `capture/drivers/`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic_ns
from typing import Literal, Protocol

from capture.driver import SourceError, create
from capture.frame import Frame, SourceInfo, SourceState
from capture.health import Health
from capture.reader import Reader
from service.feed import Arrival, Feed, FeedOptions
from service.live import LiveLoop
from service.messages import Output

CameraState = Literal["armed", "running", "lost"]
UNLIMITED_FPS = 1000.0
"""Own cameras have the rate they were asked for; the rate limit is for clients."""


class Tap(Protocol):
    """Hears of every read and every change of health before anything can be lost. Its methods must not wait."""

    def read(self, info: SourceInfo, frames: list[Frame]) -> None: ...
    def noticed(self, state: SourceState) -> None: ...


def rate_of(times_ns: Sequence[int]) -> float | None:
    """Return how many of these times come in a second; None of fewer than two, or where no time passes."""
    if len(times_ns) < 2 or times_ns[-1] == times_ns[0]:
        return None
    return (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0])


@dataclass(slots=True, eq=False)
class Camera:
    """A running server camera. `state`: armed until its first frame."""

    name: str
    feed: Feed
    info: SourceInfo | None = None
    state: CameraState = "armed"
    device_drops: int = 0
    tap: Tap | None = None
    _reader: Reader | None = None
    _closing: bool = False
    _health: Health = field(init=False)
    _times_ns: deque[int] = field(default_factory=lambda: deque(maxlen=60))

    def __post_init__(self) -> None:
        self._health = Health(self.name, "color")

    @property
    def fps(self) -> float | None:
        """Frames per second over the last 60 reads, by arrival; None before the second."""
        return rate_of(self._times_ns)

    @property
    def over(self) -> bool:
        """Whether no frame will come any more."""
        return self._reader is not None and not self._reader.alive

    def put(self, frames: list[Frame]) -> None:
        """Number one read of the clock source and hand it on."""
        color = next((frame for frame in frames if frame.modality == "color"), None)
        if color is None:
            return  # `open_camera` refuses a camera that is none of colour
        self.state = "running"
        frames = self._watched(frames, color)
        self.device_drops += color.dropped_before
        self._times_ns.append(color.arrival_t_ns)
        # The reader's, not ours: the first frames come before `open_camera` has seen what the reader learned.
        info = self._reader.info if self._reader is not None else None
        clock = "host" if info is None else info.clock
        if self.tap is not None and info is not None:
            self.tap.read(info, frames)
        # A device clock other than a file's PTS is mapped to the host's by the synchroniser; a single camera goes by arrival.
        t_ns = color.device_t_ns if clock == "media" and color.device_t_ns is not None else color.arrival_t_ns
        arrival_ns = max(frame.arrival_t_ns for frame in frames)
        self.feed.put(Arrival(self.feed.receive(), arrival_ns, t_ns, clock, {frame.source: frame for frame in frames}))

    def _watched(self, frames: list[Frame], color: Frame) -> list[Frame]:
        """Return a live camera's frames, marked if it is frozen, and tell when that changes. A clip may show one picture for long."""
        if self._reader is not None and self._reader.info.clock == "media":
            return frames
        change = self._health.frame(color)
        if change is not None:
            if self.tap is not None:
                self.tap.noticed(change)
            self.feed.put_input(change)
        if self._health.state != "frozen":
            return frames
        return [replace(frame, flags=frame.flags | {"frozen"}) for frame in frames]

    def notice(self, state: SourceState) -> None:
        """Hand a change of health on to the session."""
        if self.tap is not None:
            self.tap.noticed(state)
        if state.state in ("lost", "back"):
            self.state = "lost" if state.state == "lost" else "running"
        if (change := self._health.told(state)) is not None:
            self.feed.put_input(change)

    def ended(self, error: BaseException | None) -> None:
        """Say that no frame will come any more: the clip is over, or the reader has failed."""
        if self.feed.closing is not None or self._closing:
            return
        if self._reader is not None and not self._reader.opened:
            return  # it never was there: whoever opens it hears why
        self.notice(SourceState(self.name, "color", "lost", monotonic_ns(), "" if error is None else type(error).__name__))

    def close(self) -> None:
        """Stop reading, then end the feed without draining."""
        self._closing = True
        try:
            if self._reader is not None:
                self._reader.stop()
        finally:
            self.feed.close("camera-closed", drain=False)


def open_camera(
    loop: LiveLoop, name: str, uri: str, options: FeedOptions, publish: Callable[[Output], None], tap: Tap | None = None
) -> Camera:
    """Open `uri` as the server camera `name` and start its frames through a feed of policy `latest`; `tap` hears of them first.

    Raises:
        SourceError: the source cannot be opened, or is none of colour ("not-color").
        Overloaded: no room for a session.
    """
    feed = loop.open(name, replace(options, policy="latest", max_fps=UNLIMITED_FPS), publish)
    camera = Camera(name, feed, tap=tap)
    reader = Reader(create(uri, name), camera.put, camera.notice, camera.ended)
    camera._reader = reader
    try:
        camera.info = reader.start()
    except BaseException:
        feed.close("camera-closed", drain=False)
        raise
    if camera.info.modality != "color":
        camera.close()
        what = f"camera {name!r} gives {camera.info.modality} pictures, and faces are found in colour"
        raise SourceError("not-color", f"{what}; make it a source of a rig, beside a colour camera")
    return camera
