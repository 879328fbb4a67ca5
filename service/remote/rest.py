"""Requests and their answers: models, cameras, clips.

Owns what is asked, in which order, and when it is asked again. Everything here is a plan: it yields requests and pauses and
is sent the answers, so that the same lines serve threads and event loops (`http.py` carries plans out).
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from service.remote.clips import ClipResult, ClipState, ModelDetails, ModelList, StreamList
from service.remote.items import MienError, back_off

CHUNK_BYTES = 262_144
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 1.0
Format = Literal["json", "ndjson", "csv", "vtt"]
Told = Callable[[ClipState], None]
AnswerT = TypeVar("AnswerT", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `body` is made anew for every attempt."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Callable[[], Iterator[bytes]] | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    s: float


Plan = Generator[Request | Pause, Any, T]


def ready(timeout_s: float) -> Plan[None]:
    """Wait until the server takes work."""
    yield from _asked(Request("GET", "/readyz"), timeout_s, met=True)


def models(retry_s: float) -> Plan[ModelList]:
    """Ask for all models."""
    return _read(ModelList, (yield from _asked(Request("GET", "/v1/models"), retry_s)))


def model(id: str, retry_s: float) -> Plan[ModelDetails]:
    """Ask for one model's manifest and card."""
    return _read(ModelDetails, (yield from _asked(Request("GET", f"/v1/models/{quote(id)}"), retry_s)))


def streams(retry_s: float) -> Plan[StreamList]:
    """Ask for the server's cameras."""
    return _read(StreamList, (yield from _asked(Request("GET", "/v1/streams"), retry_s)))


def submit(file: str | Path, options: dict[str, Any], key: str | None, retry_s: float) -> Plan[ClipState]:
    """Upload a clip. Sent again under the same key when the connection is lost, so it is queued once."""
    path, boundary = Path(file), uuid.uuid4().hex
    size = os.stat(path).st_size
    head, tail = _form(path.name, {name: value for name, value in options.items() if value is not None}, boundary)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + size + len(tail)),
        "Idempotency-Key": key or uuid.uuid4().hex,
        "Accept": "application/json",
    }
    request = Request("POST", "/v1/clips", headers, lambda: _body(head, path, size, tail))
    return _read(ClipState, (yield from _asked(request, retry_s)))


def clip(id: str, retry_s: float, *, met: bool = False) -> Plan[ClipState]:
    """Ask how far a clip is."""
    return _read(ClipState, (yield from _asked(Request("GET", f"/v1/clips/{quote(id, safe='')}"), retry_s, met=met)))


def ended(id: str, timeout_s: float, on_progress: Told | None, retry_s: float) -> Plan[ClipState]:
    """Ask until a clip is done, and hand every answer to `on_progress`. MienError if it failed, or is not done in time."""
    until, pause_s = time.monotonic() + timeout_s, FIRST_LOOK_S
    while True:
        state = yield from clip(id, retry_s, met=True)
        if on_progress is not None:
            on_progress(state)
        if state.error is not None:
            raise MienError(state.error.code, state.error.title, state.error.detail, state.error.status)
        if state.state == "done":
            return state
        if time.monotonic() + pause_s > until:
            detail = f"clip {id} is {state.state}, progress {state.progress:.0%}, after {timeout_s:g} s"
            raise MienError("timeout", "The clip is not done yet", detail, retryable=True)
        yield Pause(pause_s)
        pause_s = min(LONGEST_LOOK_S, 1.5 * pause_s)


def result(id: str, retry_s: float) -> Plan[ClipResult]:
    """Fetch a clip's result."""
    return _read(ClipResult, (yield from result_as(id, "json", retry_s)))


def result_as(id: str, format: Format, retry_s: float) -> Plan[bytes]:
    """Fetch a clip's result in one of its formats."""
    return (yield from _asked(Request("GET", f"/v1/clips/{quote(id, safe='')}/result.{format}"), retry_s))


def delete(id: str, retry_s: float) -> Plan[None]:
    """Erase a clip and its results."""
    yield from _asked(Request("DELETE", f"/v1/clips/{quote(id, safe='')}"), retry_s)


def analyzed(
    file: str | Path, options: dict[str, Any], timeout_s: float, on_progress: Told | None, keep: bool, retry_s: float
) -> Plan[ClipResult]:
    """Upload a clip, wait for it, fetch its result, and erase it unless it is to be kept."""
    state = yield from submit(file, options, None, retry_s)
    yield from ended(state.id, timeout_s, on_progress, retry_s)
    found = yield from result(state.id, retry_s)
    if not keep:
        yield from delete(state.id, retry_s)
    return found


def _asked(request: Request, retry_s: float, *, met: bool = False) -> Plan[bytes]:
    """Ask, and ask again while the server is away or busy. `met`: it is known to be there, so its absence will pass."""
    until = time.monotonic() + retry_s
    for attempt, delay_s in enumerate(back_off()):
        try:
            answer: bytes = yield request
            return answer
        except MienError as error:
            if request.method == "DELETE" and attempt and error.code == "unknown-clip":
                return b""  # the answer to an earlier attempt was lost
            passes = error.status in (None, 429, 503) or error.code == "idempotency-in-progress"
            if not (error.retryable and passes) or (error.code == "unreachable" and not met):
                raise
            pause_s = max(delay_s, error.retry_after_s)
            if time.monotonic() + pause_s > until:
                raise
            met = True
        yield Pause(pause_s)
    raise AssertionError("back_off() has no end")


def _read(kind: type[AnswerT], body: bytes) -> AnswerT:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise MienError("not-understood", "The server does not speak as this client does", f"{kind.__name__}: {why}") from error


def _form(name: str, options: dict[str, Any], boundary: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the file. Source: RFC 7578; names are escaped as HTML's form submission does."""
    safe = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="options"\r\nContent-Type: application/json\r\n\r\n'
        f"{json.dumps(options)}\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{safe}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode(errors="replace"), f"\r\n--{boundary}--\r\n".encode()


def _body(head: bytes, path: Path, size: int, tail: bytes) -> Iterator[bytes]:
    yield head
    left = size
    with path.open("rb") as file:
        while left:
            data = file.read(min(CHUNK_BYTES, left))
            if not data:
                raise ValueError(f"{path.name} had {size} bytes, and {left} of them have gone while it was sent")
            left -= len(data)
            yield data
    yield tail
