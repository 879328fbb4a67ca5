"""Row 12, for the API: a model's name is looked up and never becomes a path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.tiny import Running, picture, running, said, tell

NAMES = ["../../etc/passwd", "%2e%2e", "..", ".", "/etc/passwd", "tiny\0", "tiny/../tiny", "TINY", "", "tiny\n", "x" * 250]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as it:
        yield it


@pytest.mark.parametrize("name", NAMES)
def test_a_session_update_with_such_a_name_is_unknown_model_and_nothing_else(server: Running, name: str) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", model=name)
        error = said(socket)
        assert (error["type"], error["code"]) == ("error", "unknown-model")
        socket.send(picture())
        assert said(socket)["model"]["id"] == "tiny"


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "tiny%00", "nope", "TINY", "tiny%2f..%2ftiny"]
)
def test_an_address_with_such_a_name_is_422(server: Running, path: str) -> None:
    status, problem = server.json(f"/v1/models/{path}")
    assert (status, problem["code"]) == (422, "unknown-model")
    assert "tiny" in problem["detail"]
