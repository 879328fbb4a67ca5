"""Every request's first and last station: request id, host and origin checks, headers of every answer.

Owns what is decided before any route is looked up. Browsers send `Origin` with every WebSocket handshake; a page of
another site must not reach a camera. The host is checked because a foreign name that resolves to 127.0.0.1 would make a
foreign page look like ours. Does not own tokens (there is no authentication yet: `config.py` refuses any bind but loopback).
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import errors

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?")
"""A Host header, whole: what follows a loopback name may be another's domain."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_SAFE = ("GET", "HEAD", "OPTIONS")


class Boundary:
    """ASGI middleware. `origins`: of pages that may connect besides our own; their hosts are ours too."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in self._origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not go further; pass on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                stamps = MutableHeaders(raw=message["headers"] if isinstance(message["headers"], list) else list(message["headers"]))
                stamps["X-Request-Id"] = request_id
                if message["type"] != "websocket.accept":
                    for name, value in _HEADERS.items():
                        stamps.setdefault(name, value)
                message["headers"] = stamps.raw
            await send(message)

        problem = self._refused(scope, headers)
        if problem is not None:
            await errors.response(problem, scope)(scope, receive, stamped)
            return
        try:
            await self._app(scope, receive, stamped)
        except Exception:
            # Answered here, so that this answer has its id and headers too; raised again, for the server logs it.
            if scope["type"] == "http" and not started:
                await errors.response(errors.of_status(500), scope)(scope, receive, stamped)
            raise

    def _refused(self, scope: Scope, headers: Headers) -> errors.Problem | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._ours(hosts[0].lower()):
            named = ", ".join(host[:100] for host in hosts) or "none"
            detail = f"The Host header is {named}; this server answers to loopback names and the hosts in `server.origins`."
            return errors.Problem("foreign-host", detail)
        origins = headers.getlist("origin")
        if not origins or (scope["type"] == "http" and scope["method"] in _SAFE):
            return None
        if len(origins) == 1 and origin_allowed(origins[0], hosts[0], self._origins):
            return None
        return errors.Problem("foreign-origin", f"Origin {origins[0][:100]} is not this server's, and not in `server.origins`.")

    def _ours(self, host: str) -> bool:
        return host in self._hosts or _loopback(host)


def origin_allowed(origin: str, host: str, allowed: frozenset[str]) -> bool:
    """Tell whether a page of `origin` may connect to `host`: its own host and port, or one of `allowed` (lower case)."""
    origin = origin.lower()
    parts = urlsplit(origin)
    return origin in allowed or (parts.scheme in ("http", "https") and parts.netloc != "" and parts.netloc == host.lower())


def _loopback(host: str) -> bool:
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    if parts["name"] == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts["name"] or parts["address"]).is_loopback
    except ValueError:
        return False
