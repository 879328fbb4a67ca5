"""A server over the smallest possible networks: real sockets, real rounds, real JPEGs, and arithmetic for inference."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message as Headers
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from capture.frame import Bundle
from engines.engine import Arrays, DeviceFull, Engine
from engines.folder import Folder
from engines.manifest import Expression, Manifest
from engines.synthetic import SyntheticEngine
from service.api.app import create_app
from service.api.serve import Server, listen, server_of
from service.api.service import Service
from service.config import Config
from service.events import ModelName, NoCallCode
from service.inputs import Detection, GraphKey, Request
from service.live import LiveLoop
from service.metrics import Metrics
from service.models import Model, UnknownModel
from service.perception.synthetic import express_row, synthetic_detector, synthetic_expression
from tests.waiting import PATIENCE_S, until

WAIT_S = PATIENCE_S
FEATURES = 6
DETECTOR = synthetic_detector(FEATURES)


class Brightness:
    """Perception for tests: a picture that is not black is one face as large as the picture, and its colour is its mood."""

    confirm_frames = 2

    def detect(self, bundle: Bundle) -> Request:
        return Request((DETECTOR.id, "full"), {"color": self._color(bundle)})

    def faces(self, bundle: Bundle, result: Arrays) -> tuple[Detection, ...]:
        frame = bundle.frame("color")
        assert frame is not None
        assert frame.data is not None
        height, width = frame.data.shape[:2]
        if float(np.asarray(result["color"]).max()) < 0.1:
            return ()
        return (Detection((0.0, 0.0, float(width), float(height)), 0.9, {"nose": (width / 2, height / 2)}),)

    def sample(self, bundle: Bundle, face: Detection, manifest: Expression) -> Arrays | NoCallCode:
        return {"face": np.concatenate([self._color(bundle), np.zeros(3, np.float32)])}

    def _color(self, bundle: Bundle) -> Any:
        frame = bundle.frame("color")
        assert frame is not None
        assert frame.data is not None
        return (frame.data.mean(axis=(0, 1)) / 255).astype(np.float32)


@dataclass
class Shelf:
    """Models without folders. `loading`: opening a model waits for it; `slow_s`, `before_row`: what a row costs or waits for;
    `full`: no row finds room on the device; `doing`: what takes long."""

    slow_s: float = 0.0
    before_row: Callable[[], object] = lambda: None
    loading: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    engines: dict[GraphKey, Engine] = field(default_factory=dict)
    max_batch: dict[GraphKey, int] = field(default_factory=dict)
    closed: bool = False
    full: bool = False
    doing: str = ""

    def __post_init__(self) -> None:
        self.loading.set()
        points = {"neutral": (0.0, 0.0), "happy": (0.8, 0.5), "sad": (-0.7, -0.4), "angry": (-0.6, 0.7)}
        affect = {"points": points, "source": "tests"}
        self.manifests: dict[str, Manifest] = {
            "tiny": synthetic_expression(FEATURES, 4, 4, 2, id="tiny", affect=affect),
            "late": synthetic_expression(FEATURES, 2, 2, 1, id="late"),
            "unloadable": synthetic_expression(FEATURES, 2, 2, 1, id="unloadable"),
            DETECTOR.id: DETECTOR,
        }
        self.engines[DETECTOR.id, "full"] = SyntheticEngine(lambda row: {"color": row["color"]})

    def ids(self, kind: str | None = None) -> tuple[str, ...]:
        return tuple(sorted(id for id, m in self.manifests.items() if kind in (None, m.kind)))

    def manifest(self, id: str) -> Manifest:
        if id not in self.manifests:
            raise UnknownModel(f"no model {id[:80]!r}; there are: {', '.join(self.ids())}")
        return self.manifests[id]

    def folder(self, id: str) -> Folder:
        manifest = self.manifest(id)
        return Folder(Path("/secret/place"), manifest, hashlib.sha256(id.encode()).hexdigest(), {"card.md": f"# {id}\n".encode()})

    def load(self, id: str) -> Model:
        manifest = self.manifest(id)
        assert self.loading.wait(WAIT_S)
        if id == "unloadable":
            raise ValueError("/secret/place/full.onnx: is broken")
        self.engines[id, "frame"] = SyntheticEngine(self._row)
        return Model(manifest, ModelName(id, "0" * 12), "synthetic", None, ())

    def close(self) -> None:
        self.closed = True

    def _row(self, inputs: Arrays) -> Mapping[str, Any]:
        time.sleep(self.slow_s)  # what a network costs is what is under test
        self.before_row()
        if self.broken:
            raise RuntimeError("a bug in an engine")
        if self.full:
            raise DeviceFull("no room")
        return express_row(inputs)


@dataclass
class Running:
    """A server under test."""

    port: int
    server: Server
    service: Service
    shelf: Shelf
    thread: threading.Thread

    def connect(self, path: str = "/v1/live", **options: Any) -> ClientConnection:
        """Open a WebSocket."""
        settings: dict[str, Any] = {"compression": None, "max_size": None, "proxy": None}
        return connect(f"ws://127.0.0.1:{self.port}{path}", **(settings | options))

    def request(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Headers, bytes]:
        """Make an HTTP request; return status, headers, body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=WAIT_S) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def json(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """Make an HTTP request; return status and parsed body."""
        status, _, body = self.request(path, method, **headers)
        return status, json.loads(body)

    def eventually(self, true: Any, what: str) -> None:
        """Wait until `true()`."""
        until(true, what)


@contextmanager
def running(shelf: Shelf | None = None, *, ready: bool = True, behind_s: float = 5.0, **sections: dict[str, Any]) -> Iterator[Running]:
    """Serve on a free port in a thread until the block ends; `sections` are the configuration's."""
    shelf = shelf or Shelf()
    config = Config(**({"model": {"id": "tiny", "detector": DETECTOR.id}} | sections))
    metrics = Metrics()
    loop = LiveLoop(shelf, Brightness(), max_sessions=config.server.max_sessions, on_round=metrics.round)
    app = create_app(config, loop, shelf, metrics, behind_s=behind_s)  # type: ignore[arg-type]
    listener = listen("127.0.0.1", 0)
    server = server_of(app)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="server")
    before = {other.name for other in threading.enumerate()}
    thread.start()
    it = Running(listener.getsockname()[1], server, app.state.service, shelf, thread)
    try:
        if ready:
            it.eventually(lambda: it.service.unready() is None and server.started, "the server is ready")
        else:
            it.eventually(lambda: server.started, "the server listens")
        yield it
    finally:
        shelf.loading.set()
        server.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()
    left = {other.name for other in threading.enumerate()} - before
    assert not {name for name in left if name.startswith(("rounds", "server", "capture:"))}
    assert shelf.closed


def picture(color: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (48, 64), kind: str = "jpeg") -> bytes:
    """One plain RGB picture of (height, width), encoded."""
    image = np.full((*size, 3), color[::-1], np.uint8)
    ok, data = cv2.imencode(".jpg" if kind == "jpeg" else ".png", image)
    assert ok
    return data.tobytes()


def framed(data: bytes, kind: str = "jpeg", parts: list[dict[str, Any]] | None = None, **header: Any) -> bytes:
    """A binary message: header length, header, parts."""
    listed = [{"modality": "color", "format": kind, "bytes": len(data)}] if parts is None else parts
    head = json.dumps({"parts": listed, **header}).encode()
    return len(head).to_bytes(4, "little") + head + data


def said(socket: ClientConnection, kind: str | None = None) -> dict[str, Any]:
    """Return the next message, or the next of a type, skipping others."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(WAIT_S))
        if kind in (None, message["type"]):
            return message


def tell(socket: ClientConnection, kind: str, **fields: Any) -> None:
    """Send a message of a type."""
    socket.send(json.dumps({"type": kind, **fields}))


def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Return everything that still comes, and the close code."""
    messages = []
    closed: ConnectionClosed | None = None
    while closed is None:
        try:
            messages.append(json.loads(socket.recv(WAIT_S)))
        except ConnectionClosed as error:
            closed = error
    if closed.rcvd is None:
        raise AssertionError(f"the connection was cut after {messages[-1:]}")
    return messages, closed.rcvd.code


def refused(server: Running, path: str = "/v1/live", **headers: str) -> tuple[int, Any, dict[str, Any]]:
    """Try to open a WebSocket that is refused; return status, headers and the problem."""
    with pytest.raises(InvalidStatus) as caught, server.connect(path, additional_headers=headers) as socket:
        socket.recv(WAIT_S)
    answer = caught.value.response
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.headers, json.loads(answer.body or b"")
