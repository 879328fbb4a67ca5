"""Row 18: a message over the limit ends the connection with 1009, and the code arrives although the message was on its way."""

from __future__ import annotations

import contextlib

import pytest
from websockets.exceptions import ConnectionClosed

from tests.api.tiny import picture, rest, running, said

LIMIT = 65_536


@pytest.mark.parametrize("size", [LIMIT + 1, 16 * 2**20])
@pytest.mark.parametrize("text", [False, True])
def test_a_message_over_the_limit_is_1009(size: int, text: bool) -> None:
    with running(server={"max_message_bytes": LIMIT}) as server:
        with server.connect() as socket:
            assert said(socket)["limits"]["max_message_bytes"] == LIMIT
            with contextlib.suppress(ConnectionClosed):  # it may be refused before it was sent to its end
                socket.send(b"x" * size, text=text)
            messages, code = rest(socket)
            assert (messages, code) == ([], 1009)
        server.eventually(lambda: server.service.loop.stats().sessions == 0, "the session is freed")


def test_a_message_at_the_limit_is_read() -> None:
    with running(server={"max_message_bytes": LIMIT}) as server, server.connect() as socket:
        said(socket)
        socket.send(picture() + bytes(LIMIT - len(picture())))
        # Behind the end of a JPEG anything may stand.
        assert said(socket)["type"] in ("result", "frame.rejected")


def test_in_fragments_too_the_sum_counts() -> None:
    with running(server={"max_message_bytes": LIMIT}) as server, server.connect() as socket:
        said(socket)
        with contextlib.suppress(ConnectionClosed):
            socket.send([b"x" * 1000] * 100)
        assert rest(socket)[1] == 1009
