"""`mien serve`: everything built, bound to loopback, run until told to stop.

Owns the listening socket, the HTTP server's limits and what a signal does. Does not own the application (`app.py`).
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.api.app import create_app
from service.api.service import Service
from service.api.sockets import LiveHttp, LiveSocket
from service.chosen import detector_of, open_models, settled
from service.clips.queue import Clips, default_directory
from service.config import Config, ConfigError
from service.live import LiveLoop
from service.metrics import Metrics
from service.models import Model
from service.perception import pixels
from service.rig_file import load_rig, rig_path
from service.settings import GIVEN

SEND_BUFFER_BYTES = 262_144
"""What the kernel may hold for a client. By default it grows to megabytes: minutes of results that nobody has read."""
MAX_HEADER_BYTES = 16_384


class Server(uvicorn.Server):
    """uvicorn's server that is unready the moment it is told to stop, and drains before it closes."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second interrupt does not wait. The signal is not raised again: to stop when told is no failure."""
        self._service.draining = True
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close what is left with 1012."""
        await self._service.drain()
        await super().shutdown(sockets)


def say(text: str) -> None:
    """Print a line at once, also where standard output is a file or a journal."""
    print(text, flush=True)


def run(config: Config, echo: Callable[[str], None] = say) -> None:
    """Serve until SIGTERM or SIGINT. `echo` gets the line with the address when it is bound.

    Raises:
        ConfigError: the address is not loopback, or cannot be bound; or the directory of clips cannot be used.
        UnknownModel: there is no such model, or it is of another kind.
        EngineError: a model folder or runtime cannot be used.
        SourceError: a camera cannot be opened.
    """
    config = settled(config)
    with contextlib.ExitStack() as stack:
        models = stack.enter_context(contextlib.closing(open_models(config)))
        rigs = [load_rig(path).gives for uri in config.cameras.values() if (path := rig_path(uri)) is not None]
        # A model of several modalities may be the server's where a rig has them; who gives colour alone is refused it, with the reason.
        detector = detector_of(models, config, GIVEN.union(*rigs))
        listener = stack.enter_context(contextlib.closing(listen(config.server.host, config.server.port)))
        models.load(detector.id)
        metrics = Metrics()
        loop = LiveLoop(models, pixels.create(detector), max_sessions=config.server.max_sessions, on_round=metrics.round)
        host, port = listener.getsockname()[:2]
        clips = Clips(config.clips, config.clips.directory or default_directory(port), loop)
        app = create_app(config, loop, models, metrics, clips_=clips)
        server = server_of(app)
        place = f"{f'[{host}]' if ':' in host else host}:{port}"
        echo(f"mien listens on http://{place} (the page; WS /v1/live; Ctrl+C stops it)")
        for name in config.cameras:
            echo(f"camera {name}: events at ws://{place}/v1/streams/{name}/events")
        app.state.service.on_loaded = lambda model: noted(model, echo)
        server.run([listener])
        failed = app.state.service.failed
    if failed is not None:
        raise failed


def noted(model: Model, echo: Callable[[str], None]) -> None:
    """Say what whoever runs the service should know of how a model runs: what `auto` took and why, a graph kept in fp32."""
    for note in model.notes:
        echo(f"{model.name.id}: {note}")


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket on a loopback address.

    Raises:
        ConfigError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"server.port {port} on {host} cannot be bound: {error.strerror}; choose another with --port (0: any free one)"
        ) from error
    # Accepted sockets inherit it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


def server_of(app: FastAPI) -> Server:
    """Return the HTTP server for an application, with the limits of its configuration."""
    service: Service = app.state.service
    options = uvicorn.Config(
        app, http=LiveHttp, ws=LiveSocket, ws_max_size=service.config.server.max_message_bytes, ws_per_message_deflate=False,
        ws_ping_interval=20.0, ws_ping_timeout=20.0, h11_max_incomplete_event_size=MAX_HEADER_BYTES, timeout_keep_alive=5,
        timeout_graceful_shutdown=1, lifespan="on", log_config=None, access_log=False, server_header=False,
    )  # fmt: skip
    server = Server(options, service)

    def stop() -> None:
        server.should_exit = True

    service.on_failed = stop
    return server
