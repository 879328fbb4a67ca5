"""Who is let in at all: by Host, by Origin, by method; and what every answer carries. Requests are written header by header."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api.boundary import Boundary, origin_allowed
from tests.api.tiny import WAIT_S, Running, refused, running

Answer = tuple[int, http.client.HTTPMessage, Any]


def ask(server: Running, method: str, path: str, *headers: tuple[str, str]) -> Answer:
    """Send exactly these headers, Host among them, and return status, headers, parsed body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, answer.headers, json.loads(body) if body else None
    finally:
        connection.close()


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost", "localhost:8765", "127.0.0.1", "127.0.0.1:1", "127.8.9.10:80", "localhost:", "[::1]", "[::1]:8765",
        "[0:0:0:0:0:0:0:1]",
    ],
)  # fmt: skip
def test_loopback_names_are_ours(server: Running, host: str) -> None:
    assert ask(server, "GET", "/livez", ("Host", host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil.example", "localhost.evil.example:8765", "evil.localhost", "localhostevil", "notlocalhost", "localhost.",
        "127.0.0.1.evil.example", "127.1", "127.0.0.1:80.evil.example", "128.0.0.1", "0.0.0.0", "10.0.0.1", "[::2]", "[::1].evil.example",
        "[::1]:80.evil.example", "[::1", "::1", "localhost@evil.example", "evil.example:localhost", "localhost:80:80", "",
        "kiosk.example.evil.example", "evil.kiosk.example", "kiosk.example:444",
    ],
)  # fmt: skip
def test_other_hosts_are_foreign(server: Running, host: str) -> None:
    """A foreign name may be made to resolve to 127.0.0.1; its page would then be of the same origin as ours."""
    status, _, problem = ask(server, "GET", "/livez", ("Host", host))
    assert (status, problem["code"]) == (421, "foreign-host")


@pytest.mark.parametrize("hosts", [(), ("localhost", "localhost"), ("localhost", "evil.example"), ("evil.example", "localhost")])
def test_there_is_one_host(server: Running, hosts: tuple[str, ...]) -> None:
    """Not one of the several that a proxy and we might each believe. The HTTP parser refuses it, and so does the boundary."""
    status, _, problem = ask(server, "GET", "/livez", *(("Host", host) for host in hosts))
    assert (status, problem["code"]) == (400, "bad-request")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it was let in")

    answered: list[Message] = []

    async def send(message: Message) -> None:
        answered.append(message)

    async def receive() -> Message:
        raise AssertionError("its body was read")

    scope = {
        "type": "http", "method": "GET", "path": "/livez", "raw_path": b"/livez", "query_string": b"", "root_path": "",
        "headers": [(b"host", host.encode()) for host in hosts],
    }  # fmt: skip
    asyncio.run(Boundary(app, ())(scope, receive, send))
    assert answered[0]["status"] == 421


FOREIGN = "https://evil.example"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/clips/0123", "/v1/models/tiny", "/nothing"])
def test_a_foreign_page_changes_nothing(server: Running, method: str, path: str) -> None:
    host = ("Host", f"127.0.0.1:{server.port}")
    status, _, problem = ask(server, method, path, host, ("Origin", FOREIGN))
    assert (status, problem["code"]) == (403, "foreign-origin")
    for own in ((), (("Origin", f"http://127.0.0.1:{server.port}"),), (("Origin", f"HTTP://127.0.0.1:{server.port}"),)):
        status, _, problem = ask(server, method, path, host, *own)
        assert (status, problem["code"]) != (403, "foreign-origin")


@pytest.mark.parametrize(
    "origins",
    [
        ("http://127.0.0.1:1",), ("http://localhost:{port}",), ("null",), ("",), ("http://127.0.0.1:{port}.evil.example",),
        ("http://127.0.0.1:{port}@evil.example",), ("http://127.0.0.1:{port}", FOREIGN), (FOREIGN, "http://127.0.0.1:{port}"),
        ("http://127.0.0.1:{port}", "http://127.0.0.1:{port}"), ("ws://127.0.0.1:{port}",), ("chrome-extension://127.0.0.1:{port}",),
    ],
)  # fmt: skip
def test_an_origin_is_ours_whole_and_once(server: Running, origins: tuple[str, ...]) -> None:
    headers = [("Origin", origin.format(port=server.port)) for origin in origins]
    status, _, problem = ask(server, "DELETE", "/v1/clips/0123", ("Host", f"127.0.0.1:{server.port}"), *headers)
    assert (status, problem["code"]) == (403, "foreign-origin")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://kiosk.example", "kiosk.example", True),
        ("HTTPS://Kiosk.Example:444", "kiosk.example:444", True),
        ("ftp://kiosk.example", "kiosk.example", False),
        ("http://", "", False),  # no name is nobody's, whoever asks
        ("http:", "", False),
        ("null", "", False),
    ],
)
def test_an_origin_is_allowed_by_scheme_name_and_port(origin: str, host: str, allowed: bool) -> None:
    assert origin_allowed(origin, host, frozenset()) is allowed


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 405), ("OPTIONS", 405)])
def test_a_foreign_page_may_ask_but_is_not_shown_the_answer(server: Running, method: str, status: int) -> None:
    answer = ask(server, method, "/livez", ("Host", "localhost"), ("Origin", FOREIGN))
    assert answer[0] == status
    assert not [name for name in answer[1] if name.lower().startswith("access-control-")]
    assert answer[1]["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_configured_origin_and_its_host_are_ours() -> None:
    with running(server={"origins": ("https://Kiosk.example/", "http://wall.example:8080")}) as server:
        for host, origin in (("kiosk.example", "https://kiosk.example"), ("wall.example:8080", "http://WALL.example:8080")):
            assert ask(server, "GET", "/livez", ("Host", host))[0] == 200
            for our_host in (host, "localhost"):
                status, _, problem = ask(server, "DELETE", "/nothing", ("Host", our_host), ("Origin", origin))
                assert (status, problem["code"]) == (404, "not-found")
        for host in ("wall.example", "evil.kiosk.example", "kiosk.example.evil.example", "kiosk.example:444"):
            assert ask(server, "GET", "/livez", ("Host", host))[2]["code"] == "foreign-host"
        for origin in ("http://kiosk.example", "https://kiosk.example.evil.example", "http://wall.example", "https://wall.example:8080"):
            problem = ask(server, "DELETE", "/nothing", ("Host", "localhost"), ("Origin", origin))[2]
            assert problem["code"] == "foreign-origin", origin


STAMPS = {
    "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/livez", [("Host", "localhost")]),
        ("GET", "/nothing", [("Host", "localhost")]),
        ("DELETE", "/v1/models", [("Host", "localhost")]),
        ("GET", "/livez", [("Host", "evil.example")]),
        ("DELETE", "/nothing", [("Host", "localhost"), ("Origin", FOREIGN)]),
    ],
    ids=["found", "not found", "method", "host", "origin"],
)
def test_every_answer_is_stamped(server: Running, method: str, path: str, headers: list[tuple[str, str]]) -> None:
    _, answered, _ = ask(server, method, path, *headers, ("X-Request-Id", "mine"))
    assert {name: answered.get_all(name) for name in STAMPS} == {name: [value] for name, value in STAMPS.items()}
    assert answered.get_all("X-Request-Id") == ["mine"]


def test_a_socket_that_is_refused_is_stamped_and_one_that_is_opened_has_its_id(server: Running) -> None:
    _, headers, problem = refused(server, Origin=FOREIGN)
    assert {name: headers[name] for name in STAMPS} == STAMPS
    assert headers["X-Request-Id"] == problem["request_id"]
    with server.connect(additional_headers={"X-Request-Id": "mine"}) as socket:
        assert socket.response is not None
        assert socket.response.headers["X-Request-Id"] == "mine"


def test_a_page_keeps_its_own_policy(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    try:
        connection.request("GET", "/")
        headers = connection.getresponse().headers
    finally:
        connection.close()
    assert len(headers.get_all("Content-Security-Policy", [])) == 1
    assert "default-src 'none'; frame-ancestors 'none'" not in headers["Content-Security-Policy"]
