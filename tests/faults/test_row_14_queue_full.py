"""Row 14: no room in the queue."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from tests.clips import made
from tests.clips.at_work import serving
from tests.waiting import PATIENCE_S


def test_a_full_queue_says_so_before_the_body_is_read(tmp_path: Path, media: Path) -> None:
    clip = made.clip(tmp_path / "a.mp4")
    with serving(tmp_path / "state", queue=2) as server:
        first = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
        server.signal_decoder(signal.SIGSTOP)
        second = server.send(clip).json["id"]
        assert server.state(second)["ahead"] == 1
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            lines = (
                "POST /v1/clips HTTP/1.1",
                "Host: localhost",
                "Content-Type: multipart/form-data; boundary=b",
                "Content-Length: 9000000",
            )
            connection.sendall("\r\n".join((*lines, "", "")).encode())
            head = connection.recv(65536).lower()
        assert head.startswith(b"http/1.1 503 ")
        assert b"retry-after:" in head
        answer = server.send(clip)
        assert (answer.status, answer.code, answer.json["limit"]) == (503, "queue-full", 2)
        server.signal_decoder(signal.SIGCONT)
        assert {server.ended(id)["state"] for id in (first, second)} == {"done"}
        assert server.send(clip, "?wait=30").status == 200


def test_a_repeated_request_needs_no_room(tmp_path: Path, media: Path) -> None:
    with serving(tmp_path / "state", queue=1) as server:
        first = server.send(media / "single_face.mp4", key="k")
        assert server.send(media / "single_face.mp4", key="k").json == first.json
