"""What a client is told: the server's messages, and what only the client can know of its connection.

Owns those types, the one exception, and how a server's words become either. What a newer server says beyond our words is
ignored where it is a field, and handed on as `Unknown` where it is a message. Does not own when anything is told
(`session.py`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from service.api import messages
from service.api.codes import REGISTRY

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
Json = Mapping[str, Any]
Started = messages.SessionCreated | messages.SessionUpdated


class MienError(Exception):
    """What the server refused, or what became of the connection.

    `code`: the server's (docs/api.md lists them), or of the client's own `unreachable`, `connection-lost`, `not-understood`,
    `unread`, `timeout`, `closed`; `status`: of the HTTP answer, None where there was none; `retryable`: the same may succeed later.
    """

    def __init__(self, code: str, title: str, detail: str, status: int | None = None, *, retryable: bool = False) -> None:
        super().__init__(f"{code}: {detail or title}")
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status
        self.retryable = retryable
        self.retry_after_s = 0.0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A frame that was sent and whose outcome nobody will tell. `id`: what its pusher called it."""

    frame: int
    id: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, and with it what was in flight. `code`, `detail`: why."""

    frames: tuple[Unanswered, ...]
    code: str
    detail: str
    type: Literal["lost"] = "lost"


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A new session: frames count from 1 again, windows and tracks begin anew, settings are those asked for before.

    `attempts` were made in `away_s` seconds; `unsent`: frames pushed meanwhile under policy `latest`, none of which was sent.
    """

    started: Started
    attempts: int
    away_s: float
    unsent: int
    type: Literal["reconnected"] = "reconnected"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a newer server that this client has no words for. `body`: its JSON; `why`: what was not understood."""

    body: Json
    why: str
    type: Literal["unknown"] = "unknown"


Item = messages.ServerMessage | Lost | Reconnected | Unknown
_MODELS: dict[str, TypeAdapter[Any]] = {
    "session.created": TypeAdapter(messages.SessionCreated),
    "session.updated": TypeAdapter(messages.SessionUpdated | messages.SessionLoading),
    "result": TypeAdapter(messages.Result),
    "clip_prediction": TypeAdapter(messages.ClipPrediction),
    "frame.dropped": TypeAdapter(messages.FrameDropped),
    "frame.rejected": TypeAdapter(messages.FrameRejected),
    "source": TypeAdapter(messages.SourceChanged),
    "error": TypeAdapter(messages.Error),
    "draining": TypeAdapter(messages.Draining),
    "session.closed": TypeAdapter(messages.SessionClosed),
}


def understood(text: str | bytes) -> tuple[Json, messages.ServerMessage | Unknown]:
    """Return a message as JSON and as what it means.

    Raises:
        MienError: it is no JSON object: whoever speaks is no mien server.
    """
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise MienError("not-understood", "The server does not speak mien", f"a message is no JSON object: {text[:80]!r}")
    adapter = _MODELS.get(str(body.get("type")))
    if adapter is None:
        return body, Unknown(body, f"type {body.get('type')!r}")
    try:
        return body, adapter.validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return body, Unknown(body, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def refusal(message: messages.Error) -> MienError:
    """Return a server's `error` as an exception."""
    kind = REGISTRY.get(message.code)
    title = message.code if kind is None else kind.title
    return MienError(message.code, title, message.detail, retryable=message.retryable)


def problem(status: int, body: bytes) -> MienError:
    """Return an HTTP answer that is no success as an exception; without a problem document it says only its status."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or "code" not in said:
        detail = "the answer is no problem document: is this a mien server?"
        return MienError(f"http-{status}", f"HTTP status {status}", detail, status, retryable=status == 503)
    retryable = bool(said.get("retryable", status == 503))
    return MienError(str(said["code"]), str(said.get("title", "")), str(said.get("detail", "")), status, retryable=retryable)


def unreachable(url: str, error: BaseException) -> MienError:
    """Return that a server could not be spoken to."""
    why = f"{error}" or type(error).__name__
    return MienError("unreachable", "The server cannot be reached", f"{url}: {why}; is `mien serve` running there?", retryable=True)


def back_off() -> Iterator[float]:
    """Give the seconds to wait before each attempt: 0.1, twice as long every time up to 5, each shortened by up to a half at random."""
    delay_s = FIRST_DELAY_S
    while True:
        # Apart, or all clients of a restarted server would come at once.
        yield delay_s * random.uniform(0.5, 1.0)
        delay_s = min(LONGEST_DELAY_S, 2 * delay_s)
