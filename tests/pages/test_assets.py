"""What `/` and `/assets/` give, and with which headers."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from service.pages.serve import FOLDER, TYPES, assets
from tests.waiting import PATIENCE_S

LIMIT_BYTES = 1_000_000


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask without a client's tidying up of the path."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_everything_together_is_small() -> None:
    assert sum(len(asset.content) for asset in assets().values()) < LIMIT_BYTES


def test_every_file_of_the_page_is_served_and_nothing_else() -> None:
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert set(assets()) == {name for name in there if Path(name).suffix in TYPES} | {"lib/chart.js"}
    assert {name for name in there if Path(name).suffix not in TYPES} == {"__init__.py", "serve.py"}


def test_the_chart_library_is_what_was_chosen() -> None:
    assert assets()["lib/chart.js"].content.startswith(b"/*!\n * Chart.js v3.8.2\n")


def test_files_name_no_other_host() -> None:
    for name, asset in assets().items():
        if name.startswith("workbench/"):
            text = asset.content.decode().replace("http://www.w3.org/2000/svg", "")
            assert not any(sign in text for sign in ("https://", "//cdn", "@import", "url(")), name
            assert "feels" not in text.lower(), name


@pytest.mark.parametrize("path", ["/", "/assets/workbench/main.js", "/assets/lib/chart.js", "/assets/page.json"])
def test_headers_keep_the_page_to_itself(port: int, path: str) -> None:
    status, headers, body = get(port, path)
    assert status == 200
    assert body
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert policy["media-src"] == "'self' blob:"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


def test_types(port: int) -> None:
    types = {path: get(port, path)[1]["content-type"] for path in ("/", "/assets/workbench/theme.css", "/assets/workbench/main.js")}
    assert list(types.values()) == ["text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"]


def test_a_file_that_is_known_is_not_sent_again(port: int) -> None:
    status, headers, body = get(port, "/assets/lib/chart.js")
    again, same, nothing = get(port, "/assets/lib/chart.js", If_None_Match=f'"other", {headers["etag"]}')
    assert (status, again, nothing) == (200, 304, b"")
    assert same["etag"] == headers["etag"]
    head, lengths, empty = get(port, "/assets/lib/chart.js", "HEAD")
    assert (head, int(lengths["content-length"]), empty) == (200, len(body), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/serve.py",
        "/assets/../serve.py",
        "/assets/workbench/../serve.py",
        "/assets/%2e%2e/serve.py",
        "/assets/workbench%2f..%2fserve.py",
        "/assets//etc/passwd",
        "/assets/workbench",
        "/assets/",
        "/assets/workbench/main.js%00",
    ],
)
def test_nothing_outside_is_served(port: int, path: str) -> None:
    status, headers, body = get(port, path)
    assert status == 404
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "not-found"


def test_the_demo_clip_is_served_in_parts(port: int, media: Path) -> None:
    whole = (media / "single_face.mp4").read_bytes()
    status, headers, body = get(port, "/assets/demo", Range="bytes=100-299")
    assert (status, headers["content-type"], body) == (206, "video/mp4", whole[100:300])
    assert json.loads(get(port, "/assets/page.json")[2]) == {"demo": True}
