"""`/` and `/assets/…`: the pages' files, and the chart library from the package that ships it.

Owns which files there are, their types and the headers a browser needs to keep a page to itself. All names are known at
the start: a request's path is looked up among them and never becomes a path of this machine. Does not own what the pages
do (`workbench/`).
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, JSONResponse, Response

from service.api.errors import Problem
from service.api.service import Service

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).resolve().parent
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGES = {"/": "workbench/index.html"}
CHARTS = ("django-admincharts", "admincharts/static/admincharts/chart.min.js")
"""Distribution and file of Chart.js. The distribution needs nothing else, and nothing of it is imported."""

POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'",
    "media-src 'self' blob:",  # a clip that was chosen plays from memory
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
))  # fmt: skip
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Kept, but asked for again at every load: after an update of the server the page is the new one.
    "Cache-Control": "no-cache",
}


class PageFilesMissing(RuntimeError):
    """A package that ships a part of the pages is not installed."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    media_type: str
    etag: str


@cache
def assets() -> Mapping[str, Asset]:
    """Return every file of the pages by its address below `/assets/`.

    Raises:
        PageFilesMissing: the chart library's package is not installed.
    """
    # A page is a folder here; `serve.py` itself lies beside them.
    found = {
        path.relative_to(FOLDER).as_posix(): _asset(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(FOLDER.glob("*/*"))
        if path.suffix in TYPES
    }
    return found | {"lib/chart.js": _asset(_charts(), TYPES[".js"])}


def _charts() -> bytes:
    name, file = CHARTS
    try:
        path = Path(str(distribution(name).locate_file(file)))
        return path.read_bytes()
    except (PackageNotFoundError, FileNotFoundError):
        raise PageFilesMissing(f"the workbench's charts need {file} of the package {name}: pip install {name}==0.4.1") from None


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:24]}"')


@router.api_route("/", methods=["GET", "HEAD"])
def page(request: Request) -> Response:
    """Give the workbench."""
    return _answer(request, assets()[PAGES["/"]])


@router.get("/assets/page.json")
def facts(request: Request) -> Response:
    """Say what the page cannot know: whether there is a demo clip."""
    return JSONResponse({"demo": _demo(request) is not None}, headers=dict(HEADERS))


@router.api_route("/assets/demo", methods=["GET", "HEAD"])
def demo(request: Request) -> Response:
    """Give the clip that the operator offers as demo, in parts if asked."""
    path = _demo(request)
    if path is None:
        raise Problem("not-found", "This server offers no demo clip.")
    return FileResponse(path, headers=dict(HEADERS), media_type=mimetypes.guess_type(path.name)[0] or "video/mp4")


@router.api_route("/assets/{name:path}", methods=["GET", "HEAD"])
def asset(request: Request, name: str) -> Response:
    """Give one of the pages' files."""
    found = assets().get(name)
    if found is None:
        raise Problem("not-found", "The pages have no such file.")
    return _answer(request, found)


def _demo(request: Request) -> Path | None:
    service: Service = request.app.state.service
    path = service.config.server.demo
    return path if path is not None and path.is_file() else None


def _answer(request: Request, found: Asset) -> Response:
    headers = {**HEADERS, "ETag": found.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if found.etag in known:
        return Response(status_code=304, headers=headers)
    body = b"" if request.method == "HEAD" else found.content
    headers["Content-Length"] = str(len(found.content))
    return Response(body, headers=headers, media_type=found.media_type)
