"""A server of clips in a process of its own, that may be killed and started again; and a client's side of `/v1/clips`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import PATIENCE_S, until

TINY = Path(__file__).with_name("tiny_server.py")
WAIT_S = PATIENCE_S


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self.body[:300]
        assert self.json["status"] == self.status
        return str(self.json["code"])


@dataclass
class ClipServer:
    """`real`: `mien serve` with its own model; else the smallest networks. `settings`: of the section `clips`."""

    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    real: bool = False
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = int(free.getsockname()[1])
        environment = {f"MIEN_CLIPS__{key.upper()}": str(value) for key, value in {"directory": self.directory, **self.settings}.items()}
        real = ["-c", "from service.cli import main; main()", "serve", "--port", str(self.port)]
        arguments = real if self.real else [str(TINY), str(self.port)]
        self.process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=os.environ | environment)
        self.eventually(self._ready, "the server is ready")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server has ended"
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(WAIT_S) in (0, -15)

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read(), time.monotonic() - began)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, headers)

    def send(self, clip: Path | bytes, query: str = "", name: str | None = None, key: str | None = None, **options: Any) -> Answer:
        data, given = (clip, "clip.mp4") if isinstance(clip, bytes) else (clip.read_bytes(), clip.name)
        kind, body = multipart(data, name or given, options)
        headers = {"Content-Type": kind} | ({"Idempotency-Key": key} if key else {})
        return self.request("POST", f"/v1/clips{query}", body, headers)

    def state(self, id: str) -> Any:
        answer = self.get(f"/v1/clips/{id}")
        assert answer.status == 200, answer.body
        return answer.json

    def ended(self, id: str) -> Any:
        self.eventually(lambda: self.state(id)["state"] in ("done", "failed"), "the clip has ended")
        return self.state(id)

    def decoders(self, working: bool) -> list[psutil.Process]:
        """The decoding children: those at work, or those that wait for it."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                if (child.cwd() != "/") == working and "service.clips.child" in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def signal_decoder(self, number: signal.Signals) -> None:
        """Send a signal to the child at work, as soon as there is one."""
        self.eventually(lambda: bool(self.decoders(True)), "a decoder works")
        self.decoders(True)[0].send_signal(number)

    def files(self) -> set[str]:
        """Everything of clips on the disk, but for the database."""
        below = ("uploads", "work", "inputs", "results")
        return {f"{folder}/{path.name}" for folder in below for path in (self.directory / folder).iterdir()}

    def eventually(self, true: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
        until(true, what, within_s, every_s=0.01)


@contextmanager
def serving(directory: Path, real: bool = False, **settings: Any) -> Iterator[ClipServer]:
    """Serve clips from `directory` until the block ends."""
    server = ClipServer(directory, settings, real)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def multipart(data: bytes, name: str, options: dict[str, Any] | None = None) -> tuple[str, bytes]:
    """Return content type and body of an upload."""
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode(), data, b"\r\n"]
    if options:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="options"\r\n\r\n{json.dumps(options)}\r\n'.encode())
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])
