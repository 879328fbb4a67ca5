"""`mien node`: this machine's cameras, served to a `remote` driver on another one.

Owns the sockets, who may connect, one client per camera (a new one takes over: the old may be gone without a word), and when a camera
is open: from a client's first word until a while after the last has left. Does not own the words (`capture/link.py`), devices
(`capture/reader.py`) or what is made of the frames.
"""

from __future__ import annotations

import contextlib
import hmac
import http
import logging
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from capture.driver import SourceError, create
from capture.frame import Frame, SourceInfo, SourceState
from capture.link import PATH, SUBPROTOCOL, LinkError, pack, said, whole
from capture.mailbox import Closed, Mailbox
from capture.reader import Reader
from capture.recorded import Json, dumped, info_strings

log = logging.getLogger("mien.node")
LINGER_S = 10.0
"""How long a camera stays open without a client: as long as a reconnection takes, no longer than somebody would wonder at its light."""
MAX_TEXT_BYTES = 4096
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """`token`: needed from every client, None for nobody; `quality`: of JPEG for colour pixels; `linger_s`: see LINGER_S."""

    token: str | None = None
    quality: int = 95
    linger_s: float = LINGER_S


class Client:
    """One connection: a thread that listens to it and one that sends."""

    def __init__(self, connection: ServerConnection, quality: int) -> None:
        self._connection, self._quality = connection, quality
        self._wake = threading.Event()
        self._box = Mailbox[list[Frame]](1, "latest", self._wake.set)
        self._start_ns: int | None = None
        self._stop_ns: int | None = None
        self._last: Json | None = None
        self._sender = threading.Thread(target=self._send_all, name="node-send", daemon=True)

    def start(self) -> None:
        """Begin to send what is put."""
        self._sender.start()

    def command(self, kind: str, at_ns: int) -> None:
        """Send frames that arrive from `at_ns` on, or none from then on; this machine's monotonic time."""
        if kind == "start":
            self._start_ns, self._stop_ns = at_ns, None
        else:
            self._stop_ns = at_ns

    def put(self, frames: list[Frame]) -> None:
        """Send a read's frames when there is room for them: newest wins."""
        t_ns = frames[0].arrival_t_ns
        if self._start_ns is None or t_ns < self._start_ns or (self._stop_ns is not None and t_ns >= self._stop_ns):
            return
        with contextlib.suppress(Closed):
            self._box.put(frames)

    def say(self, body: Json) -> None:
        """Send a message at once."""
        with contextlib.suppress(ConnectionClosed, OSError):
            self._connection.send(dumped(body).decode())

    def finish(self, body: Json | None) -> None:
        """Send what waits, then `body`, then nothing more."""
        self._last = body
        self._box.close()

    def drop(self, reason: str) -> None:
        """Close the connection."""
        self._box.close()
        self._connection.close_timeout = 1.0
        self._connection.close(1012, reason)

    def _send_all(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                while (frames := self._box.take()) is not None:
                    self._connection.send(pack(frames, self._quality))
        except Closed:
            if self._last is not None:
                self.say(self._last)
        except (ConnectionClosed, OSError):
            pass
        except LinkError as error:
            self.say({"type": "error", "code": "picture-unsupported", "detail": str(error)})


class NodeCamera:
    """One camera and its client. Safe to use from several threads."""

    def __init__(self, name: str, uri: str, options: NodeOptions) -> None:
        create(uri, name)  # a wrong URI is told when the node starts, not when somebody connects
        self.name = name
        self._uri, self._options = uri, options
        self._lock = threading.RLock()
        self._reader: Reader | None = None
        self._client: Client | None = None
        self._left_s = 0.0

    def serve(self, connection: ServerConnection) -> None:
        """Converse with a client until it leaves or another takes over."""
        client = Client(connection, self._options.quality)
        client.start()
        with self._lock:
            before, self._client = self._client, client
        if before is not None:
            before.drop("another client has taken over")
        try:
            for message in connection:
                self._heard(client, message, time.monotonic_ns())
        except (LinkError, SourceError) as error:
            code = error.code if isinstance(error, SourceError) else "not-understood"
            client.say({"type": "error", "code": code, "detail": str(error)})
        except ConnectionClosed:
            pass
        finally:
            client.drop("")
            with self._lock:
                if self._client is client:
                    self._client, self._left_s = None, time.monotonic()

    def idle(self, now_s: float) -> None:
        """Close the camera if nobody has wanted it for long enough."""
        with self._lock:
            if self._client is None and self._reader is not None and now_s - self._left_s >= self._options.linger_s:
                self._close()

    def close(self) -> None:
        """Let the client go and close the camera."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.drop("the node is shutting down")
        with self._lock:
            self._close()

    def _heard(self, client: Client, message: str | bytes, heard_ns: int) -> None:
        if not isinstance(message, str):
            raise LinkError("a client sends text only")
        body = said(message)
        if body["type"] == "time":
            client.say({"type": "time", "asked_ns": whole(body, "asked_ns"), "heard_ns": heard_ns, "answered_ns": time.monotonic_ns()})
        elif body["type"] == "open":
            client.say({"type": "opened", "info": info_strings(self._opened())})
        elif body["type"] in ("start", "stop"):
            client.command(body["type"], heard_ns if body.get("at_ns") is None else whole(body, "at_ns"))
        else:
            raise LinkError(f"there is no message {body['type'][:40]!r}")

    def _opened(self) -> SourceInfo:
        """Open the camera unless it is open."""
        with self._lock:
            if self._reader is not None and not self._reader.alive:
                self._close()
            if self._reader is None:
                reader = Reader(create(self._uri, self.name), self._put, self._notice, self._ended)
                reader.start()
                self._reader = reader
                log.info("camera %s is open", self.name)
            elif self._reader.lost:
                raise SourceError("source-lost", f"the node's camera {self.name!r} is lost; it is being tried again")
            return self._reader.info

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                reader.stop()
            except SourceError as error:
                log.warning("camera %s did not stop cleanly: %s", self.name, error)
            log.info("camera %s is closed", self.name)

    # On the camera's thread. It takes no lock, for who opens or closes the camera waits for it.

    def _put(self, frames: list[Frame]) -> None:
        client = self._client
        if client is not None:
            client.put(frames)

    def _notice(self, state: SourceState) -> None:
        client = self._client
        if state.state == "lost" and client is not None:
            client.finish({"type": "error", "code": "source-lost", "detail": state.detail})

    def _ended(self, error: BaseException | None) -> None:
        client = self._client
        if client is not None:
            lost = {"type": "error", "code": error.code if isinstance(error, SourceError) else "source-lost", "detail": str(error)}
            client.finish({"type": "end"} if error is None else lost)


class Node:
    """The server of `cameras` (name → URI) at `host`:`port`; `tls`: its certificate.

    Raises:
        SourceError: a camera's URI is wrong.
        OSError: the address cannot be bound.
    """

    def __init__(self, cameras: Mapping[str, str], host: str, port: int, options: NodeOptions, tls: ssl.SSLContext | None = None) -> None:
        self.cameras = {name: NodeCamera(name, uri, options) for name, uri in cameras.items()}
        self._token = options.token
        self._stop = threading.Event()
        # Browsers send an Origin; no page may have a look at a camera.
        self._server: Server = serve(
            self._serve, host, port, ssl=tls, origins=[None], subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None,
            process_request=self._judge, max_size=MAX_TEXT_BYTES, open_timeout=10, close_timeout=1, ping_interval=5, ping_timeout=5,
        )  # fmt: skip
        self._idler = threading.Thread(target=self._idle, name="node-idle", daemon=True)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._server.socket.getsockname()[1])

    def run(self) -> None:
        """Serve until `close`."""
        self._idler.start()
        self._server.serve_forever()

    def close(self) -> None:
        """Let all clients go, close all cameras, and end `run`."""
        self._stop.set()
        self._server.shutdown()
        for camera in self.cameras.values():
            camera.close()
        if self._idler.ident is not None:
            self._idler.join(_JOIN_S)

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return why a connection is refused, or None."""
        given = request.headers.get("Authorization", "")
        if self._token is not None and not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            log.warning("a client without the token was refused")
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "the token is missing or wrong\n")
        if self._named(request) is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "there is no such camera\n")
        return None

    def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        camera = self._named(connection.request)
        assert camera is not None
        log.info("a client of camera %s has come", camera.name)
        camera.serve(connection)
        log.info("a client of camera %s has left", camera.name)

    def _named(self, request: Request) -> NodeCamera | None:
        return self.cameras.get(request.path.removeprefix(PATH)) if request.path.startswith(PATH) else None

    def _idle(self) -> None:
        while not self._stop.wait(0.5):
            for camera in self.cameras.values():
                camera.idle(time.monotonic())
