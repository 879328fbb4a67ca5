"""A WebSocket client that sends but does not read until it is asked to: libraries read by themselves."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.api.tiny import WAIT_S, Running

CLOSE = 8


class Deaf:
    """Connected, with a small receive buffer, so that the server soon notices."""

    def __init__(self, server: Running, path: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(("127.0.0.1", server.port))
        lines = (
            f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )  # fmt: skip
        self._socket.sendall("\r\n".join((*lines, "", "")).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101")

    def send_until(self, message: bytes, done: Callable[[], bool]) -> None:
        """Send a binary message over and over until `done()`; the server may stop taking them."""
        frame = b"\x82" + bytes([0x80 | 126]) + len(message).to_bytes(2, "big") + bytes(4) + message
        until, pending = time.monotonic() + WAIT_S, b""
        self._socket.settimeout(0.02)
        while not done():
            assert time.monotonic() < until
            pending = pending or frame
            with contextlib.suppress(TimeoutError):
                pending = pending[self._socket.send(pending) :]

    def read(self, reason: str) -> tuple[list[dict[str, Any]], int]:
        """Read everything up to the close frame with `reason`, then hang up; return the messages and the code."""
        self._socket.settimeout(WAIT_S)
        data = b""
        with self._socket:
            while not data.endswith(reason.encode()):
                chunk = self._socket.recv(65536)
                assert chunk, data[-200:]
                data += chunk
        frames = list(_frames(data))
        opcode, last = frames.pop()
        assert opcode == CLOSE
        return [json.loads(payload) for _, payload in frames], int.from_bytes(last[:2], "big")


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each frame of a server: never masked, and ours are never fragmented."""
    at = 0
    while at < len(data):
        opcode, length, at = data[at] & 0x0F, data[at + 1], at + 2
        more = {126: 2, 127: 8}.get(length, 0)
        if more:
            length, at = int.from_bytes(data[at : at + more], "big"), at + more
        yield opcode, data[at : at + length]
        at += length
