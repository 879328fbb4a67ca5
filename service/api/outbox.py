"""What waits to be sent on one socket: one sender, one bounded queue, one rule for slow readers.

Owns order, the age of what waits, coalescing for subscribers, and the close at the end. Messages come from any thread and
keep the order they came in. Does not own their form (`wire.py`) or the reading side, which must stop while `full`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.websockets import WebSocket, WebSocketDisconnect

from service.api import errors
from service.api.codes import REGISTRY
from service.api.wire import Json, message_of
from service.events import Event
from service.messages import Closed, Failure, Output

ROOM = 64
"""Messages that may wait before the owner must stop reading."""
RESULTS = 8
"""Results that may wait for a subscriber; then the oldest gives way."""
HARD_LIMIT = 1024
"""A subscriber that lets so many messages wait that are no results is as good as gone."""
LAST_TEXT = "mien.text"
"""Key of a close message that carries a last text, sent with it although the socket is stuck (`sockets.py`)."""


@dataclass(frozen=True, slots=True)
class End:
    """Close with this code; `text`: the message that goes first."""

    code: int
    reason: str
    text: Json | None = None


Item = Output | Json | End


class Outbox:
    """`behind_s`: how long a message may wait; `newest_wins`: results give way to newer ones (subscribers of a camera);
    `heard`: called with every output, in the event loop, before it is queued; `age`: with each due result's age in seconds."""

    def __init__(
        self, behind_s: float, age: Callable[[float], None], *, newest_wins: bool = False, heard: Callable[[Output], None] | None = None
    ) -> None:
        self._age = age
        self._loop = asyncio.get_running_loop()
        self._behind_s = behind_s
        self._newest_wins = newest_wins
        self._heard = heard
        self._queue: deque[tuple[float, Item]] = deque()
        self._filled = asyncio.Event()
        self._moved = asyncio.Event()
        self._ended = False

    # From any thread.

    def publish(self, output: Output) -> None:
        """Queue what the live loop says."""
        self._soon(output)

    def say(self, message: Json) -> None:
        """Queue a message of the connection's own."""
        self._soon(message)

    def fail(self, code: str, detail: str) -> None:
        """Queue an `error`; and the close that its code asks for, after which nothing is sent."""
        self._soon(errors.message(code, detail) if REGISTRY[code].close is None else _end(code, detail))

    def end(self, code: int, reason: str) -> None:
        """Close when everything queued before has been sent."""
        self._soon(End(code, reason))

    def _soon(self, item: Item) -> None:
        # A late word of the rounds thread to a server whose event loop has ended is nobody's loss.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._put, item)

    # In the event loop.

    @property
    def full(self) -> bool:
        """Whether the owner must stop reading."""
        return len(self._queue) > ROOM

    async def moved(self, blocked: Callable[[], bool]) -> None:
        """Wait until `blocked` is false; it is asked again whenever a message came or went."""
        while blocked():
            self._moved.clear()
            await self._moved.wait()

    async def run(self, websocket: WebSocket) -> None:
        """Send until an `End`, which is sent too, or until the client is gone."""
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                while not self._queue:
                    self._filled.clear()
                    await self._filled.wait()
                since, item = self._queue.popleft()
                self._moved.set()
                if isinstance(item, End):
                    await self._close(websocket, item)
                    return
                # Not less than a moment, or a stall of our own would be blamed on the reader.
                patience_s = max(since + self._behind_s - self._loop.time(), min(0.2, self._behind_s))
                try:
                    await asyncio.wait_for(websocket.send_text(self._rendered(item)), patience_s)
                except asyncio.TimeoutError:
                    detail = f"a message has waited {self._behind_s:g} s to be read, the limit; {len(self._queue)} more wait"
                    await self._close(websocket, _end("slow-reader", detail))
                    return

    def _rendered(self, item: Output | Json) -> str:
        if not isinstance(item, Output):
            return _text(item)
        message = message_of(item)
        if message.get("due") and "delivery" in message:
            self._age(message["delivery"]["age_ms"] / 1e3)
        return _text(message)

    async def _close(self, websocket: WebSocket, end: End) -> None:
        self._ended = True
        self._queue.clear()
        close = {"type": "websocket.close", "code": end.code, "reason": end.reason}
        await websocket.send(close if end.text is None else close | {LAST_TEXT: _text(end.text)})

    def _put(self, item: Item) -> None:
        if self._ended:
            return
        if isinstance(item, Output):
            if self._heard is not None:
                self._heard(item)
            if isinstance(item.message, Failure) and REGISTRY[item.message.code].close is not None:
                item = _end(item.message.code, item.message.detail)
            elif self._newest_wins and isinstance(item.message, Event):
                self._make_room()
        self._queue.append((self._loop.time(), item))
        if isinstance(item, Output) and isinstance(item.message, Closed):
            code = 1012 if item.message.reason in ("draining", "shutdown") else 1000
            self._queue.append((self._loop.time(), End(code, item.message.reason)))
        if self._newest_wins and len(self._queue) > HARD_LIMIT:
            self._queue.clear()
            self._queue.append((self._loop.time(), _end("slow-reader", "too many messages wait to be read")))
        self._filled.set()
        self._moved.set()

    def _make_room(self) -> None:
        """Take the oldest waiting result out when there are too many; the next says how many frames are missing."""
        waiting = [index for index, (_, item) in enumerate(self._queue) if isinstance(item, Output) and isinstance(item.message, Event)]
        if len(waiting) < RESULTS:
            return
        first, second = waiting[:2]
        _, oldest = self._queue[first]
        since, following = self._queue[second]
        assert isinstance(oldest, Output)
        assert isinstance(following, Output)
        missing = oldest.dropped_since_last + 1 + following.dropped_since_last
        self._queue[second] = (since, replace(following, dropped_since_last=missing))
        del self._queue[first]


def _end(code: str, detail: str) -> End:
    close = REGISTRY[code].close
    assert close is not None, f"{code} closes nothing"
    return End(close, code, errors.message(code, detail))


def _text(message: Json) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
