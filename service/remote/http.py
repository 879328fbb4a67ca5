"""HTTP with the standard library: one request on one connection, and plans carried out on a thread or in an event loop.

Owns sockets and their errors as `MienError`. No proxy and no redirect: what is sent goes to the server that was named.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import time
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from service.remote.items import MienError, problem, unreachable
from service.remote.rest import Pause, Plan, Request

T = TypeVar("T")
TIMEOUT_S = 30.0
"""For a connection, and for every read and write on it."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is: `http://host:port`, or `https`, with a path before ours if it has one."""

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url!r} is no address of a server; write http://HOST:PORT or https://HOST")

    def websocket(self, path: str) -> str:
        """Return the address of a WebSocket."""
        parts = urlsplit(self.url)
        return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}{path}"

    def ask(self, request: Request) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            MienError: there is no server (`unreachable`), it went away (`connection-lost`), or it refuses.
        """
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise unreachable(self.url, error) from error
            body = None if request.body is None else request.body()
            # A server that refuses a body before its end has said why: the answer is there to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(request.method, parts.path.rstrip("/") + request.path, body, request.headers)
            answer = connection.getresponse()
            data, status = answer.read(), answer.status
        except (OSError, http.client.HTTPException) as error:
            why = f"{request.method} {request.path}: {str(error) or type(error).__name__}"
            raise MienError("connection-lost", "The connection is gone", why, retryable=True) from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            refused = problem(status, data)
            with contextlib.suppress(ValueError):
                refused.retry_after_s = float(answer.headers.get("Retry-After", "0"))
            raise refused
        return data


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a plan has come to."""

    value: T


def carry_out(server: Server, plan: Plan[T]) -> T:
    """Carry out a plan on this thread."""
    step = _next(plan, None)
    while not isinstance(step, Done):
        if isinstance(step, Pause):
            time.sleep(step.s)  # the plan's own pause, between two questions to a server
            step = _next(plan, None)
        else:
            step = _next(plan, _answer(server, step))
    return step.value


async def carry_out_async(server: Server, plan: Plan[T]) -> T:
    """Carry out a plan in an event loop; each request waits on a thread of its default executor."""
    step = _next(plan, None)
    while not isinstance(step, Done):
        if isinstance(step, Pause):
            await asyncio.sleep(step.s)
            step = _next(plan, None)
        else:
            step = _next(plan, await asyncio.to_thread(_answer, server, step))
    return step.value


def _answer(server: Server, request: Request) -> bytes | MienError:
    try:
        return server.ask(request)
    except MienError as error:
        return error


def _next(plan: Plan[T], answer: bytes | MienError | None) -> Request | Pause | Done[T]:
    try:
        return plan.throw(answer) if isinstance(answer, MienError) else plan.send(answer)
    except StopIteration as end:
        return Done(end.value)
