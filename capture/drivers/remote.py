"""A camera on another machine that runs `mien node`: `remote://host:8766/name?token_file=PATH&tls=1&ca=PATH`.

Owns the connection, its liveness, the clock exchange and starting at one instant. Does not own the words (`capture/link.py`), the estimate
(`capture/exchange.py`) or reconnecting: it says that the source is lost, and `capture/reader.py` opens it again.

`device_t_ns` is what the camera's own driver gave, untouched. `arrival_t_ns` is when the frame reached its node, told in this
host's monotonic time by the exchange (never later than it came here): so that a network's jitter is not taken for a camera's.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from capture.driver import DriverOptions, EndOfStream, SourceError
from capture.exchange import Exchange, Offset, RemoteClock
from capture.frame import Frame, SourceInfo
from capture.link import MAX_BYTES, PATH, SUBPROTOCOL, LinkError, said, unpack, whole
from capture.recorded import Json, RecordingError, info_of

FIRST_EXCHANGES = 8
EXCHANGE_EVERY_NS = 500_000_000
SILENT_NS = 2_000_000_000
"""A node answers every exchange; one that has said nothing for so long is gone, whatever TCP thinks."""
_WAIT_S = 0.25


class Options(DriverOptions):
    """`token_file`: holds the node's token. `tls`: the node has a certificate; `ca`: who signed it, if not one that this machine
    trusts anyhow. `armed`: frames come only after `start`. `clock`: `exchange`, or `arrival`: when a frame came here."""

    token_file: str = ""
    tls: bool = False
    ca: str = ""
    armed: bool = False
    clock: str = Field(default="exchange", pattern="^(exchange|arrival)$")
    open_timeout_s: float = Field(default=10.0, gt=0, le=60)


def create(address: str, options: Options, name: str) -> RemoteDriver:
    """Return a driver for the camera at `//host:port/name`."""
    try:
        parts = urlsplit(address)
        host, port, camera = parts.hostname, parts.port, parts.path.removeprefix("/")
    except ValueError:
        host, port, camera = None, None, ""
    if not (address.startswith("//") and host and port and camera) or "@" in address or "/" in camera:
        raise SourceError("bad-uri", "camera driver 'remote' needs remote://host:port/name, and nothing else before the ?")
    if options.ca and not options.tls:
        raise SourceError("bad-option", "camera driver 'remote', option ca: is for tls=1")
    return RemoteDriver(host, port, camera, options, name)


class RemoteDriver:
    """One camera of one node. `start` and `stop` may be called by any thread; everything else by one."""

    def __init__(self, host: str, port: int, camera: str, options: Options, name: str) -> None:
        self.name = name
        self.clock = RemoteClock()
        self._camera = camera
        self._shown = f"remote://{f'[{host}]' if ':' in host else host}:{port}/{camera}"
        self._url = f"{'wss' if options.tls else 'ws'}://{self._shown.removeprefix('remote://').rpartition('/')[0]}{PATH}{camera}"
        self._options = options
        self.armed = options.armed
        self._connection: ClientConnection | None = None
        self._closing = contextlib.ExitStack()
        self._running: Json | None = None if options.armed else {"type": "start", "at_ns": None}
        self._told: Json | None = None
        self._seq = self._last_seq = self._last_arrival_ns = self._asked_ns = self._heard_ns = 0

    def start(self, at_ns: int | None = None) -> None:
        """Have frames come from host monotonic time `at_ns` on (None: at once). Several drivers given one time start together."""
        self._running = {"type": "start", "at_ns": at_ns}

    def stop(self, at_ns: int | None = None) -> None:
        """Have frames come no more from host monotonic time `at_ns` on (None: at once); the camera stays open."""
        self._running = {"type": "stop", "at_ns": at_ns}

    def offset(self) -> Offset | None:
        """Return the node's monotonic clock less this host's; None while not connected."""
        return self.clock.offset(time.monotonic_ns())

    def open(self) -> SourceInfo:
        """Connect, compare clocks, and have the node open its camera.

        Raises:
            SourceError: "source-unreachable", "source-unauthorized", "no-such-source", or what the node's camera says.
        """
        self.close()
        self.clock.restart()
        self._last_seq, self._told = 0, None
        self._connection = self._connected()
        self._heard_ns = time.monotonic_ns()
        deadline = time.monotonic() + self._options.open_timeout_s
        try:
            for _ in range(FIRST_EXCHANGES):
                self._ask()
                self._until(lambda body: body["type"] == "time", deadline)
            self._send({"type": "open"})
            body = self._until(lambda body: body["type"] == "opened", deadline)
            info = info_of(body.get("info") or {})
            self._command()
        except (LinkError, RecordingError) as error:
            self.close()
            raise SourceError("source-lost", f"{self._shown}: {error}; is it a mien node of this version?") from None
        except SourceError:
            self.close()
            raise
        return replace(info, name=self.name, driver="remote")

    def read(self) -> list[Frame]:
        """Return a read's frames, or nothing within a quarter of a second.

        Raises:
            EndOfStream: the node's camera has ended.
            SourceError: "source-lost": the connection or the node's camera is gone.
        """
        self._command()
        if time.monotonic_ns() - self._asked_ns >= EXCHANGE_EVERY_NS:
            self._ask()
        try:
            message = self._receive(_WAIT_S)
            if isinstance(message, bytes):
                return self._arrived(unpack(message))
            if message is not None:
                self._obey(said(message))
        except LinkError as error:
            raise SourceError("source-lost", f"{self._shown}: {error}") from None
        silent_ns = time.monotonic_ns() - self._heard_ns
        if silent_ns > SILENT_NS:
            raise SourceError("source-lost", f"{self._shown}: has said nothing for {silent_ns / 1e9:.1f} s; network or node down?")
        return []

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close_timeout = _WAIT_S  # a peer that is gone must not hold us up
            self._closing.close()

    def _connected(self) -> ClientConnection:
        options, headers = self._options, {}
        try:
            if options.token_file:
                headers["Authorization"] = f"Bearer {Path(options.token_file).read_text(encoding='utf-8').strip()}"
            context = ssl.create_default_context(cafile=options.ca or None) if options.tls else None
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else "is not text"
            raise SourceError("source-unauthorized", f"{self._shown}: its token or certificate file: {what}") from None
        code, why = "source-unreachable", ""
        try:
            there = connect(
                self._url, subprotocols=[Subprotocol(SUBPROTOCOL)], additional_headers=headers, ssl=context, compression=None, proxy=None,
                open_timeout=options.open_timeout_s, max_size=MAX_BYTES, close_timeout=1,
            )  # fmt: skip
            return self._closing.enter_context(there)
        except InvalidStatus as error:
            status = error.response.status_code
            code = {401: "source-unauthorized", 404: "no-such-source"}.get(status, code)
            why = {401: "the token is missing or wrong: ?token_file=PATH", 404: "the node has no camera of that name"}.get(
                status, f"HTTP {status}"
            )
        except ssl.SSLCertVerificationError as error:
            why = f"certificate: {error.verify_message}; give ?ca=PATH of who signed it"
        except TimeoutError:
            why = f"no answer within {options.open_timeout_s:g} s"
        except (OSError, InvalidHandshake, WebSocketException) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or f"no WebSocket answers ({type(error).__name__}); tls=1?"
        # Raised out here: an exception in whose context the token stands must not be kept.
        raise SourceError(code, f"{self._shown}: {why}")

    def _arrived(self, frames: list[Frame]) -> list[Frame]:
        now_ns, offset = time.monotonic_ns(), self.offset()
        if not frames:
            return []
        self._seq += 1
        # The node numbers what it reads: a step of more than one is what its network had no room for.
        skipped = max(0, frames[0].seq - self._last_seq - 1) if self._last_seq else 0
        self._last_seq = frames[0].seq
        mapped_ns = frames[0].arrival_t_ns if offset is None else offset.ours(frames[0].arrival_t_ns)
        arrival_ns = now_ns if offset is None or self._options.clock == "arrival" else min(now_ns, mapped_ns)
        # A better estimate may set time back a little; frames stay in order.
        self._last_arrival_ns = arrival_ns = max(arrival_ns, self._last_arrival_ns + 1)
        return [
            replace(
                # A driver that gives several frames at a time calls them by its own name and something after it.
                frame,
                source=self.name + frame.source.removeprefix(self._camera),
                seq=self._seq,
                arrival_t_ns=arrival_ns,
                dropped_before=frame.dropped_before + skipped,
            )
            for frame in frames
        ]

    def _obey(self, body: Json) -> None:
        """Take in a text message."""
        if body["type"] == "time":
            self.clock.add(Exchange(whole(body, "asked_ns"), whole(body, "heard_ns"), whole(body, "answered_ns"), time.monotonic_ns()))
        elif body["type"] == "end":
            raise EndOfStream
        elif body["type"] == "error":
            code = str(body.get("code", ""))[:40] or "source-lost"
            raise SourceError(code, f"{self._shown}: {str(body.get('detail', ''))[:300]}")

    def _command(self) -> None:
        """Tell the node to start or stop, if it has not been told."""
        wanted = self._running
        if wanted is None or wanted is self._told:
            return
        at_ns, offset = wanted["at_ns"], self.offset()
        self._send(wanted | {"at_ns": None if at_ns is None or offset is None else offset.theirs(at_ns)})
        self._told = wanted

    def _ask(self) -> None:
        self._asked_ns = time.monotonic_ns()
        self._send({"type": "time", "asked_ns": self._asked_ns})

    def _until(self, wanted: Callable[[Json], bool], deadline: float) -> Json:
        while True:
            message = self._receive(max(0.0, deadline - time.monotonic()))
            if message is None:
                raise SourceError("source-unreachable", f"{self._shown}: no answer within {self._options.open_timeout_s:g} s")
            if isinstance(message, str):
                body = said(message)
                self._obey(body)
                if wanted(body):
                    return body

    def _receive(self, timeout_s: float) -> str | bytes | None:
        assert self._connection is not None, "read before open"
        try:
            message: Any = self._connection.recv(timeout_s)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise SourceError("source-lost", f"{self._shown}: the connection is gone ({_close(error)})") from None
        self._heard_ns = time.monotonic_ns()
        return message if isinstance(message, str) else bytes(message)

    def _send(self, body: Json) -> None:
        assert self._connection is not None, "used before open"
        try:
            self._connection.send(json.dumps(body))
        except (ConnectionClosed, OSError) as error:
            raise SourceError("source-lost", f"{self._shown}: the connection is gone ({_close(error)})") from None


def _close(error: Exception) -> str:
    received = error.rcvd if isinstance(error, ConnectionClosed) else None
    return f"{received.code} {received.reason[:80]}".strip() if received is not None else "no goodbye"
