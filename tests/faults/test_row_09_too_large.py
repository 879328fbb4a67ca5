"""Row 9: a body over the limit, declared or not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips.at_work import ClipServer, serving
from tests.waiting import PATIENCE_S

MIB = 1 << 20
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipServer]:
    with serving(tmp_path_factory.mktemp("small") / "state", max_bytes=2 * MIB) as server:
        yield server


def _begin(server: ClipServer, *headers: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    lines = ("POST /v1/clips HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=b", *headers, "", "")
    connection.sendall("\r\n".join(lines).encode())
    return connection


def _status(connection: socket.socket) -> bytes:
    return connection.recv(65536).split(b"\r\n", 1)[0]


def test_a_declared_length_is_refused_before_the_body(small: ClipServer) -> None:
    with _begin(small, f"Content-Length: {10 * MIB}") as connection:
        assert b"413" in _status(connection), "whoever waited for it would give the body up as slow"


def test_who_waits_to_be_asked_is_not_asked(small: ClipServer) -> None:
    with _begin(small, f"Content-Length: {10 * MIB}", "Expect: 100-continue") as connection:
        assert b"413" in _status(connection)


def test_a_chunked_body_is_refused_when_it_is_too_large(small: ClipServer, tmp_path: Path) -> None:
    chunk = b"%x\r\n" % MIB + bytes(MIB) + b"\r\n"
    with _begin(small, "Transfer-Encoding: chunked") as connection:
        connection.sendall(b"%x\r\n" % len(PART) + PART + b"\r\n" + chunk)
        small.eventually(lambda: any(entry.startswith("uploads/") for entry in small.files()), "it is being written")
        connection.sendall(chunk + chunk)
        assert b"413" in _status(connection)
        small.eventually(lambda: not small.files(), "the upload is gone")


def test_the_answer_arrives_although_the_client_goes_on_sending(small: ClipServer) -> None:
    answer = small.send(bytes(8 * MIB))
    assert (answer.status, answer.code) == (413, "clip-too-large")
    assert answer.json["limit"] == 2 * MIB
