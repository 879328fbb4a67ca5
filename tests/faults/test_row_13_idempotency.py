"""Row 13: an Idempotency-Key that comes again."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

from tests.clips import made
from tests.clips.at_work import ClipServer, multipart
from tests.waiting import PATIENCE_S


def test_the_same_body_gets_the_first_answer(clip_server: ClipServer, tmp_path: Path) -> None:
    clip, key = made.clip(tmp_path / "a.mp4"), uuid.uuid4().hex
    first = clip_server.send(clip, key=key, hop=2)
    clip_server.ended(first.json["id"])
    again = clip_server.send(clip, key=key, hop=2)
    assert (again.status, again.body, again.headers["location"]) == (202, first.body, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    result = clip_server.send(clip, "?wait=30", key=key, hop=2)
    assert result.status == 200
    assert result.headers["content-location"] == f"{first.headers['location']}/result.json"


def test_another_body_or_other_options_are_refused(clip_server: ClipServer, tmp_path: Path) -> None:
    clip, other, key = made.clip(tmp_path / "a.mp4"), made.clip(tmp_path / "b.mp4", frames=5), uuid.uuid4().hex
    assert clip_server.send(clip, key=key).status == 202
    for answer in (clip_server.send(other, key=key), clip_server.send(clip, key=key, hop=2)):
        assert (answer.status, answer.code) == (422, "idempotency-key-reused")


def test_a_refused_request_leaves_its_key_free(clip_server: ClipServer, tmp_path: Path) -> None:
    key = uuid.uuid4().hex
    assert clip_server.send(b"nothing we know", key=key).status == 415
    assert clip_server.send(made.clip(tmp_path / "a.mp4"), key=key).status == 202


def test_one_in_progress_is_a_conflict(clip_server: ClipServer, tmp_path: Path) -> None:
    clip, key = made.clip(tmp_path / "a.mp4"), uuid.uuid4().hex
    kind, body = multipart(clip.read_bytes(), "a.mp4")
    lines = (
        "POST /v1/clips HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        f"Idempotency-Key: {key}",
    )
    with socket.create_connection(("127.0.0.1", clip_server.port), timeout=PATIENCE_S) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode() + body[:300])
        clip_server.eventually(lambda: any(entry.startswith("uploads/") for entry in clip_server.files()), "it has begun")
        answer = clip_server.send(clip, key=key)
        assert (answer.status, answer.code) == (409, "idempotency-in-progress")
        connection.sendall(body[300:])
        assert b" 202 " in connection.recv(65536).split(b"\r\n", 1)[0]
    assert clip_server.send(clip, key=key).status == 202


def test_keys_are_checked(clip_server: ClipServer, tmp_path: Path) -> None:
    answer = clip_server.send(made.clip(tmp_path / "a.mp4"), key="k" * 256)
    assert (answer.status, answer.code) == (422, "invalid-parameter")
