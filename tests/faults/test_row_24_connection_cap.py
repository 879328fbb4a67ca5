"""Row 24: more connections than allowed are refused before they are accepted, with a time to try again."""

from __future__ import annotations

from tests.api.tiny import refused, running, said


def test_one_session_too_many_is_503_and_room_comes_back() -> None:
    with running(server={"max_sessions": 1}) as server:
        with server.connect() as socket:
            said(socket)
            status, headers, problem = refused(server)
            assert (status, problem["code"], problem["retryable"]) == (503, "overloaded", True)
            assert headers["Retry-After"] == "1"
        server.eventually(lambda: server.service.loop.stats().sessions == 0, "the session is freed")
        with server.connect() as socket:
            said(socket)


def test_one_subscriber_too_many_is_503() -> None:
    with running(server={"max_sessions": 2}, cameras={"door": "synthetic:?width=64&height=48"}) as server:
        path = "/v1/streams/door/events"
        with server.connect(path), server.connect(path), server.connect(path), server.connect(path) as last:
            said(last)
            status, _, problem = refused(server, path)
    assert (status, problem["code"], problem["limit"]) == (503, "overloaded", 4)
