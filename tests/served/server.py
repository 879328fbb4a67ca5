"""A real `mien serve` in a process of its own, and a client's side of `/v1/live`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection, connect

from tests.waiting import PATIENCE_S, until

Message = dict[str, Any]


@contextmanager
def served(*flags: str, environment: dict[str, str] | None = None, port: int | None = None, python: str = sys.executable) -> Iterator[int]:
    """Run `mien serve` on `port` or a free one of loopback, `environment` added to this one's, until the block ends; yield the port.

    `python`: the interpreter that runs it.
    """
    if port is None:
        port = free_port()
    command = [python, "-m", "service.cli", "serve", "--port", str(port), *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | (environment or {}))
    try:
        _wait_ready(port, process)
        yield port
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) in (0, -15)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    def ready() -> bool:
        assert process.poll() is None, "mien serve has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_S):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    until(ready, "mien serve is ready", every_s=0.1)


def encoded(image: NDArray[np.uint8], kind: str) -> bytes:
    """RGB pixels as PNG, or as JPEG of quality 95 without chroma subsampling."""
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if kind == "jpeg":
        flags = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ok, data = cv2.imencode(".png" if kind == "png" else ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    assert ok
    return data.tobytes()


def framed(data: bytes, kind: str, t_ns: int) -> bytes:
    """A binary message: header length, header, part."""
    header = json.dumps({"t_capture_ns": t_ns, "parts": [{"modality": "color", "format": kind, "bytes": len(data)}]}).encode()
    return len(header).to_bytes(4, "little") + header + data


class Talk:
    """One conversation; a thread collects what the server says. Use `talk` to begin one."""

    def __init__(self, socket: ClientConnection, **update: Any) -> None:
        self.socket = socket
        self.said: list[Message] = [json.loads(socket.recv())]
        self._reader = threading.Thread(target=self._read)
        if update:
            socket.send(json.dumps({"type": "session.update", **update}))
            self.said.append(json.loads(socket.recv()))
        self._reader.start()

    def _read(self) -> None:
        for text in self.socket:
            self.said.append(json.loads(text))

    def push(self, messages: Iterable[bytes], interval_s: float = 0.0) -> None:
        """Send frames, `interval_s` apart by a fixed timetable (late ones at once)."""
        began = time.monotonic()
        for index, message in enumerate(messages):
            time.sleep(max(0.0, began + index * interval_s - time.monotonic()))
            self.socket.send(message)

    def close(self) -> Message:
        """End the session and return `session.closed`."""
        self.socket.send(json.dumps({"type": "session.close"}))
        self._reader.join(PATIENCE_S)
        assert self.said[-1]["type"] == "session.closed", self.said[-1]
        return self.said[-1]

    def of(self, kind: str) -> list[Message]:
        """All messages of one type."""
        return [message for message in self.said if message["type"] == kind]


@contextmanager
def talk(port: int, **update: Any) -> Iterator[Talk]:
    """Converse with `/v1/live`, beginning with a `session.update` if there is anything to update."""
    with connect(f"ws://127.0.0.1:{port}/v1/live", max_size=None, compression=None) as socket:
        yield Talk(socket, **update)
