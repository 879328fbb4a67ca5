"""Row 10, as far as it is about bodies: one that trickles is given up, and nobody else notices."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.clips import made
from tests.clips.at_work import ClipServer
from tests.waiting import PATIENCE_S, until


def test_a_trickling_body_is_given_up(clip_server: ClipServer, tmp_path: Path) -> None:
    clip = made.clip(tmp_path / "a.mp4")
    lines = (
        "POST /v1/clips HTTP/1.1",
        "Host: localhost",
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 1000000",
        "",
        "",
    )
    with socket.create_connection(("127.0.0.1", clip_server.port), timeout=0.1) as connection:
        connection.sendall("\r\n".join(lines).encode() + b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')

        def answered() -> bytes:
            connection.sendall(b"x")
            try:
                return connection.recv(65536)
            except TimeoutError:
                return b""

        answer = until(answered, "it is given up")
        connection.settimeout(PATIENCE_S)
        while rest := connection.recv(65536):  # the head may come before the body
            answer += rest
    assert b" 408 " in answer.split(b"\r\n", 1)[0]
    assert b"slow-body" in answer
    assert clip_server.send(clip, "?wait=30").status == 200
