"""The end: not ready at once, everybody told, what was sent is used, 1012."""

from __future__ import annotations

import signal

from tests.api.tiny import WAIT_S, Shelf, picture, refused, rest, running, said


def test_a_server_told_to_stop_is_unready_and_drains() -> None:
    with running(Shelf(slow_s=0.002), session={"policy": "all"}, cameras={"door": "synthetic:?width=64&height=48&fps=50"}) as server:
        with server.connect() as client, server.connect("/v1/streams/door/events") as subscriber:
            said(client)
            said(subscriber)
            for _ in range(20):
                client.send(picture())
            said(client, "result")
            # What a signal's handler does; signals themselves are for a process of its own (tests/served).
            server.server.handle_exit(signal.SIGTERM, None)
            unready = server.service.unready()
            assert unready is not None
            assert unready.kind.code == "draining"
            messages, code = rest(client)
            heard, subscribers_code = rest(subscriber)
        server.thread.join(WAIT_S)
    assert code == subscribers_code == 1012
    kinds = [m["type"] for m in messages]
    assert kinds.count("draining") == 1
    assert kinds[-1] == "session.closed"
    assert messages[-1]["reason"] == "draining"
    assert messages[-1]["received"] == messages[-1]["used"] + sum(messages[-1]["dropped"].values())
    assert messages[-1]["used"] == 1 + kinds.count("result")
    assert heard[-1]["type"] == "draining"


def test_while_draining_nobody_new_gets_in() -> None:
    with running() as server:
        server.service.draining = True
        status, headers, problem = refused(server)
        assert (status, headers["Retry-After"], problem["code"], problem["retryable"]) == (503, "1", "draining", True)
        assert server.json("/readyz")[0] == 503
        assert server.json("/livez")[0] == 200
