"""Row 20: bad UTF-8 is 1007; bad JSON, unknown types and unknown fields are an error, then 1008."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.tiny import Running, rest, running, said

PATHS = ["/v1/live", "/v1/streams/door/events"]
CAMERAS = {"door": "synthetic:?width=64&height=48&fps=5"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(cameras=CAMERAS) as it:
        yield it


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", [b"\xff\xfe", b'{"type":"session.close\xc3"}', b"\xed\xa0\x80"])
def test_bad_utf8_is_1007(server: Running, path: str, text: bytes) -> None:
    with server.connect(path) as socket:
        said(socket)
        socket.send(text, text=True)
        assert rest(socket)[1] == 1007
    server.eventually(lambda: not server.service.connections, "it is freed")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-json"),
        ("{", "bad-json"),
        ("[" * 5000, "bad-json"),
        ("42", "bad-message"),
        ("null", "bad-message"),
        ("[]", "bad-message"),
        ("{}", "bad-message"),
        ('{"type":"session.open"}', "bad-message"),
        ('{"type":"session.update","modell":"tiny"}', "bad-message"),
        ('{"type":"session.close","now":true}', "bad-message"),
        ('{"type":"session.update","hop":"8"}', "bad-message"),
        ('{"type":"session.update","hop":0}', "bad-message"),
        ('{"type":"session.update","hop":NaN}', "bad-message"),
        ('{"type":"session.update","policy":"some"}', "bad-message"),
    ],
)
def test_a_wrong_text_is_an_error_then_1008(server: Running, path: str, text: str, code: str) -> None:
    with server.connect(path) as socket:
        said(socket)
        socket.send(text)
        messages, close = rest(socket)
    assert (messages[-1]["type"], messages[-1]["code"], close) == ("error", code, 1008)
    assert messages[-1]["detail"]


def test_the_error_names_the_field_and_not_its_value(server: Running) -> None:
    with server.connect() as socket:
        said(socket)
        socket.send('{"type":"session.update","password":"hunter2"}')
        (error,), _ = rest(socket)
    assert "password" in error["detail"]
    assert "hunter2" not in error["detail"]
