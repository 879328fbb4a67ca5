"""A rig as a camera of the server: its ensemble and its feed.

Owns numbering of its bundles, its state as clients see it, and ticks for its session when no bundle comes. Does not own devices or matching
(`capture/ensemble.py`, `capture/rig.py`) or the rig file (`rig_file.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from capture.ensemble import Ensemble
from capture.frame import Bundle, Frame, SourceInfo, SourceState
from capture.rig import Given, SourceReport, Told
from service.cameras import UNLIMITED_FPS, CameraState, Tap, rate_of
from service.config import ConfigError
from service.feed import Arrival, Feed, FeedOptions
from service.live import LiveLoop
from service.messages import Output
from service.rig_file import RigFile
from service.settings import unusable

IDLE_NS = 500_000_000
"""How long no bundle may come before the session is told that time passes."""

SLACK_NS = 50_000_000
"""What may pass beside the deadline before a bundle is taken: a tick of the matching, and a round under way."""


@dataclass(slots=True, eq=False)
class RigCamera:
    """A running rig. `state` is its colour source's: armed until its first frame."""

    name: str
    feed: Feed
    color: str
    info: SourceInfo | None = None
    tap: Tap | None = None
    state: CameraState = "armed"
    _ensemble: Ensemble | None = None
    _times_ns: deque[int] = field(default_factory=lambda: deque(maxlen=60))
    _told_ns: int = 0

    @property
    def fps(self) -> float | None:
        """Bundles per second over the last 60, by arrival of their colour frames; None before the second."""
        return rate_of(self._times_ns)

    @property
    def over(self) -> bool:
        """Whether no bundle will come any more: its colour was a clip that has ended, or the matching has failed."""
        return self._ensemble is not None and self._ensemble.over

    @property
    def device_drops(self) -> int:
        """Frames that its devices say they lost, and those lost on the way to the matching."""
        overrun = 0 if self._ensemble is None else self._ensemble.overrun
        return overrun + sum(report.device_drops for report in self.reports.values())

    @property
    def reports(self) -> dict[str, SourceReport]:
        """Return how each source has been."""
        return {} if self._ensemble is None else self._ensemble.reports

    def heard(self, given: Given) -> None:
        """Number each frame of the colour source before anything can become of it."""
        if isinstance(given, Frame):
            if self.tap is not None and self._ensemble is not None:
                self.tap.read(self._ensemble.infos[given.source], [given])
            if given.source == self.color:
                self.feed.receive()
                self._times_ns.append(given.arrival_t_ns)
        elif isinstance(given, SourceState):
            if self.tap is not None:
                self.tap.noticed(given)
        elif given.t_ns - self._told_ns >= IDLE_NS:
            self._told_ns = given.t_ns
            self.feed.put_input(given)

    def tell(self, told: Told) -> None:
        """Hand on a bundle or a state."""
        if isinstance(told, Bundle):
            self._told_ns = told.arrival_ns
            if self.state == "armed":
                self.state = "running"
            arrival_ns = told.frames[self.color].arrival_t_ns
            self.feed.put(Arrival(told.number, arrival_ns, told.t_ns, told.clock, told.frames, None, told.skew_ns, told.missing, told.held))
            return
        if told.source == self.color and told.state in ("lost", "back"):
            self.state = "lost" if told.state == "lost" else "running"
        self.feed.put_input(told)

    def close(self) -> None:
        """Stop all sources at one instant, then end the feed without draining."""
        try:
            if self._ensemble is not None:
                self._ensemble.stop()
        finally:
            self.feed.close("camera-closed", drain=False)


def open_rig(
    loop: LiveLoop, name: str, rig: RigFile, options: FeedOptions, publish: Callable[[Output], None], tap: Tap | None = None
) -> RigCamera:  # fmt: skip
    """Open a rig's sources as the server camera `name` and start its bundles through a feed of policy `latest`; `tap` hears of each
    frame, and of what readers say, first.

    Raises:
        SourceError: a source cannot be opened.
        ConfigError: the rig's model needs pictures that the rig does not give.
        UnknownModel: there is no such model.
        Overloaded: no room for a session.
    """
    color = next(source for source, table in rig.sources.items() if table.modality == "color")
    devices = rig.devices()
    chosen = replace(
        options, model=rig.model or options.model, policy="latest", max_fps=UNLIMITED_FPS, given=rig.gives,
        patience_ns=rig.deadline_ns + SLACK_NS,
    )  # fmt: skip
    if (why := unusable(loop.models.manifest(chosen.model), rig.gives)) is not None:
        raise ConfigError(f"rig {rig.name}: {why}; only sources that are `aligned` count")
    feed = loop.open(name, chosen, publish)
    camera = RigCamera(name, feed, color, tap=tap)
    camera._ensemble = Ensemble(name, devices, rig.tolerance_ns, rig.deadline_ns, camera.tell, camera.heard)
    try:
        camera.info = camera._ensemble.start()[color]
    except BaseException:
        feed.close("camera-closed", drain=False)
        raise
    return camera
