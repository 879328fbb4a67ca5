"""Row 23, for clips: a client that vanishes leaves nothing behind, and loses nothing that it was promised."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from websockets.sync.client import connect

from tests.clips import made
from tests.clips.at_work import ClipServer, multipart
from tests.waiting import PATIENCE_S

WITHIN_S, SLACK = 2.0, 5


def _begin(server: ClipServer, body: bytes, kind: str, query: str, sent: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    lines = (f"POST /v1/clips{query} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "", "")
    connection.sendall("\r\n".join(lines).encode() + body[:sent])
    return connection


def test_half_an_upload_is_erased(clip_server: ClipServer) -> None:
    before = clip_server.files()
    kind, body = multipart(bytes(1_000_000), "a.mp4")
    with _begin(clip_server, body, kind, "", 500_000):
        clip_server.eventually(lambda: clip_server.files() > before, "it is being written")
    clip_server.eventually(lambda: clip_server.files() == before, "it is gone", SLACK * WITHIN_S)


def test_a_clip_whose_client_did_not_wait_is_done_all_the_same(clip_server: ClipServer, tmp_path: Path) -> None:
    before = clip_server.files()
    kind, body = multipart(made.clip(tmp_path / "a.mp4").read_bytes(), "a.mp4")
    with _begin(clip_server, body, kind, "?wait=60", len(body)):
        clip_server.eventually(lambda: clip_server.files() > before, "it was taken")
    clip_server.eventually(
        lambda: len(clip_server.files() - before) == 1 and all(e.startswith("results/") for e in clip_server.files()), "it is done"
    )


def test_followers_may_vanish(clip_server: ClipServer, media: Path) -> None:
    id = clip_server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
    with contextlib.ExitStack() as followers:
        for _ in range(5):
            follower = followers.enter_context(connect(f"ws://127.0.0.1:{clip_server.port}/v1/clips/{id}/events"))
            follower.recv(PATIENCE_S)
            follower.socket.shutdown(socket.SHUT_RDWR)
    assert clip_server.ended(id)["state"] == "done"
    with connect(f"ws://127.0.0.1:{clip_server.port}/v1/clips/{id}/events", max_size=None) as follower:
        assert '"type":"end"' in list(follower)[-1]  # type: ignore[operator]
