"""Row 17, as far as there are no tokens yet: a token is never taken for one that was checked, and nobody else gets in."""

from __future__ import annotations

import pytest

from service.config import ConfigError, load
from tests.api.tiny import Running, picture, running, said, tell


def test_a_token_is_answered_by_an_error_and_the_session_goes_on() -> None:
    with running() as server:
        _converse(server)


def _converse(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.auth", token="expired")
        error = said(socket)
        assert (error["type"], error["code"]) == ("error", "auth-not-enabled")
        socket.send(picture())
        assert said(socket)["type"] == "result"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_without_tokens_only_loopback_is_bound(host: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        load(None, {"server": {"host": host}})
