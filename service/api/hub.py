"""Which cameras there are and who listens to them.

Owns the way from a camera's feed to its subscribers' outboxes: each has its own, so that a slow one loses its own results
only. Does not own cameras (`service/cameras.py`) or addresses (`streams.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

from capture.rig import SourceReport
from service.api.outbox import Outbox
from service.cameras import Camera, open_camera
from service.config import Config
from service.feed import FeedOptions
from service.live import LiveLoop
from service.messages import Output
from service.metrics import Metrics
from service.rig_file import load_rig, rig_path
from service.rigs import RigCamera, open_rig

log = logging.getLogger("mien.api")


class Stream:
    """One configured camera and its subscribers. `camera` is None until it has been opened."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self.name = name
        self.camera: Camera | RigCamera | None = None
        self._metrics = metrics
        self._outboxes: tuple[Outbox, ...] = ()

    def publish(self, output: Output) -> None:
        """Hand an output to every subscriber (called on the rounds thread)."""
        self._metrics.said(output)
        for outbox in self._outboxes:
            outbox.publish(output)

    def add(self, outbox: Outbox) -> None:
        """Begin to send to a subscriber."""
        # Replaced, never changed: the rounds thread may be going over it.
        self._outboxes = (*self._outboxes, outbox)

    def remove(self, outbox: Outbox) -> None:
        """Send no more to a subscriber."""
        self._outboxes = tuple(other for other in self._outboxes if other is not outbox)

    def state(self) -> dict[str, Any]:
        """Return the camera's state as `GET /v1/streams` says it. Its URI is not said: it may hold a password."""
        camera = self.camera
        body: dict[str, Any] = {
            "name": self.name,
            "state": "armed",
            "fps": None,
            "skew_ms": {},
            "drops": {},
            "subscribers": len(self._outboxes),
        }
        if camera is None:
            return body | {"width": None, "height": None, "model": None}
        counts, info = camera.feed.ledger.counts(), camera.info
        model = camera.feed.session.settings.model.name
        drops = Counter(counts.dropped) + Counter({"device": camera.device_drops})
        if isinstance(camera, RigCamera):
            reports = camera.reports
            skews = {name: report.skew_ns for name, report in reports.items() if report.skew_ns is not None}
            body |= {"skew_ms": {name: round(skew / 1e6, 2) for name, skew in skews.items()}}
            body |= {"sources": {name: _source(report) for name, report in reports.items()}}
        return body | {
            "state": camera.state, "fps": None if camera.fps is None else round(camera.fps, 2), "drops": dict(drops),
            "width": info and info.width, "height": info and info.height, "model": {"id": model.id, "sha256": model.sha256},
        }  # fmt: skip


def _source(report: SourceReport) -> dict[str, Any]:
    """Return how a rig's source is, as `GET /v1/streams` says it."""
    fix = report.fix
    clock = fix and {"drift_ppm": round(fix.drift_ppm, 1), "uncertainty_ms": round(fix.uncertainty_ns / 1e6, 3)}
    return {"state": report.state, "frames": report.frames, "drops": report.device_drops, "clock": clock, "fates": dict(report.fates)}


class Streams:
    """All configured cameras."""

    def __init__(self, config: Config, loop: LiveLoop, metrics: Metrics) -> None:
        self.by_name = {name: Stream(name, metrics) for name in config.cameras}
        self._config = config
        self._loop = loop
        self._metrics = metrics

    async def open(self) -> None:
        """Open all cameras.

        Raises:
            SourceError: one cannot be opened.
            ConfigError: a rig file cannot be used.
        """
        session = self._config.session
        options = FeedOptions(self._config.model.id, "latest", session.faces, session.hop)
        for name, stream in self.by_name.items():
            uri = self._config.cameras[name]
            if (path := rig_path(uri)) is not None:
                stream.camera = await asyncio.to_thread(open_rig, self._loop, name, load_rig(path), options, stream.publish)
            else:
                stream.camera = await asyncio.to_thread(open_camera, self._loop, name, uri, options, stream.publish)
            self._metrics.opened(stream.camera.feed.ledger)

    async def close(self) -> None:
        """Close those that are open, side by side: a device may take its time."""
        cameras = [stream.camera for stream in self.by_name.values() if stream.camera is not None]
        # One that fails to stop (it had died before, and its subscribers were told) must not keep the others from it.
        ends = await asyncio.gather(*(asyncio.to_thread(camera.close) for camera in cameras), return_exceptions=True)
        for camera, end in zip(cameras, ends, strict=True):
            if isinstance(end, Exception):
                log.warning("camera %s did not stop cleanly: %s", camera.name, end)
