"""What the routes share: configuration, live loop, models, cameras, metrics, who is connected, and how far we are.

Owns loading at the start (in the background, so that `/livez` answers meanwhile), draining at the end, and the two words
`ready` and `draining`. Does not own any route.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from service.api.errors import Problem
from service.api.hub import Streams
from service.clips.queue import Clips
from service.config import Config
from service.live import LiveLoop
from service.metrics import Metrics
from service.models import Model, Models

log = logging.getLogger("mien.api")
DRAIN_S = 1.5
"""From `draining` to the close of what is left; with uvicorn's own part within 2 s."""
STOP_S = 5.0


class Connection(Protocol):
    """An open WebSocket, as the end of the service sees it."""

    def drain(self, deadline_s: float) -> None:
        """Say `draining`, take nothing more, and close with 1012 when all is said. Called in the event loop."""
        ...


@dataclass(eq=False)
class Service:
    """One running service. `behind_s`: how long a message may wait for its reader; `failed`: what ended loading."""

    config: Config
    loop: LiveLoop
    models: Models
    metrics: Metrics
    behind_s: float = 5.0
    on_failed: Callable[[], None] = lambda: None
    clips: Clips | None = None
    draining: bool = False
    loaded: bool = False
    failed: BaseException | None = None
    on_loaded: Callable[[Model], None] = lambda _: None
    connections: set[Connection] = field(default_factory=set)
    streams: Streams = field(init=False)
    _gone: asyncio.Event | None = None
    _loading: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.streams = Streams(self.config, self.loop, self.metrics)

    def left(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        if self._gone is not None and not self.connections:
            self._gone.set()

    def unready(self) -> Problem | None:
        """Return why no new work can be taken, or None when it can."""
        if self.draining:
            return Problem("draining", "The server is shutting down; connect again when it has restarted.")
        if self.failed is not None or (self.loaded and not self.loop.healthy):
            return Problem("internal", "The inference loop has failed; the server must be restarted.")
        if not self.loaded:
            return Problem("loading", self.models.doing or "Models and cameras are still being opened.")
        return None

    def start(self) -> None:
        """Start the rounds, and load in the background."""
        self.loop.start()
        self._loading = asyncio.create_task(self._load(), name="load")

    async def _load(self) -> None:
        try:
            model = await asyncio.to_thread(self.models.load, self.config.model.id)
            self.metrics.watch(self.loop, {"id": model.name.id, "sha256": model.name.sha256, "backend": model.backend})
            await self.streams.open()
            if self.clips is not None:
                self.clips.start()
            self.loaded = True
            self.on_loaded(model)
        except Exception as error:
            self.failed = error
            self.on_failed()

    async def drain(self, deadline_s: float = DRAIN_S) -> None:
        """Tell everybody, let queued frames be used, and wait until all are gone or the deadline is over."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain(deadline_s)
        if self.connections:
            self._gone = asyncio.Event()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._gone.wait(), deadline_s)

    async def stop(self) -> None:
        """Close cameras, clips, rounds and models."""
        self.draining = True
        if self._loading is not None:
            await asyncio.wait({self._loading}, timeout=STOP_S)
        await self.streams.close()
        if self.clips is not None:
            await self.clips.stop(STOP_S)
        await asyncio.to_thread(self.loop.stop, STOP_S)
        await asyncio.to_thread(self.models.close)

    @staticmethod
    def new_id() -> str:
        """Return the id of a new session."""
        return uuid.uuid4().hex
