"""Row 16: a page of another site reaches neither a camera nor a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.tiny import Running, refused, running, said


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as it:
        yield it


@pytest.mark.parametrize("path", ["/v1/live", "/v1/streams/door/events"])
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "http://localhost:{port}.evil.example", "file://", ""],
)
def test_a_foreign_origin_is_403(server: Running, origin: str, path: str) -> None:
    status, _, problem = refused(server, path, Origin=origin.format(port=server.port))
    assert (status, problem["code"]) == (403, "foreign-origin")


def test_our_own_a_configured_and_no_origin_are_let_in() -> None:
    with running(server={"origins": ("https://kiosk.example",)}) as server:
        for origin in (f"http://127.0.0.1:{server.port}", "https://kiosk.example", "HTTPS://KIOSK.example", None):
            with server.connect(origin=origin) as socket:  # type: ignore[arg-type]
                assert said(socket)["type"] == "session.created"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "[::2]:80"])
def test_a_foreign_name_that_resolves_to_loopback_is_421(server: Running, host: str) -> None:
    status, problem = server.json("/v1/models", Host=host)
    assert (status, problem["code"]) == (421, "foreign-host")


def test_a_page_may_read_but_not_change_across_origins(server: Running) -> None:
    status, problem = server.json("/v1/models", method="POST", Origin="https://evil.example")
    assert (status, problem["code"]) == (403, "foreign-origin")
    status, headers, _ = server.request("/v1/models", Origin="https://evil.example")
    assert status == 200
    assert "Access-Control-Allow-Origin" not in headers
