"""A live session: frames out, and what the server says of each of them back.

Owns numbering, credit and what is in flight, so that every frame that was sent has one outcome: a result, a drop, a
rejection, or `Lost`. Does not own connections (`session.py`) or encoding (`pictures.py`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection

from service.api import messages
from service.messages import Policy
from service.remote.items import Item, Json, MienError, Started, Unanswered, refusal, understood
from service.remote.pictures import Encoding, Image, encoded, framed
from service.remote.session import ANSWER_S, AsyncSubscription, first_word, send

_REFUSED_UPDATES = frozenset(("unknown-model", "model-not-loaded", "model-broken", "bad-change", "unknown-rig", "notice-not-required"))


class AsyncLive(AsyncSubscription):
    """A live session, as an async iterator of what is said and a context manager.

    `settings`: in force; `closed`: the server's account of the session, once it is closed.
    """

    room = 10_000

    def __init__(self, address: str, retry_s: float, encoding: Encoding, wanted: dict[str, Any]) -> None:
        super().__init__(address, retry_s)
        self.settings: Started
        self.limits: messages.Limits
        self.closed: messages.SessionClosed | None = None
        self._encoding = encoding
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        self._in_flight: dict[int, str | None] = {}
        self._number = 0
        self._unsent = 0
        self._sending: asyncio.Task[None] | None = None
        self._updating = asyncio.Lock()
        self._answer: asyncio.Future[messages.SessionUpdated] | None = None

    @property
    def in_flight(self) -> int:
        """How many frames were sent and have no outcome yet."""
        return len(self._in_flight)

    async def push(self, image: Image, *, id: str | None = None, t_capture_ns: int | None = None) -> int | None:
        """Send a frame and return its number in the session; None: it was not sent.

        Under policy `all` this waits for a connection and while `limits.max_in_flight` frames have no outcome. Under `latest`
        it never waits: while there is no connection, or the frame before is still on its way out, the frame is not sent.

        Raises:
            MienError: the conversation has failed or is closed, or too much waits to be read (`unread`).
            ValueError: no JPEG, PNG or RGB pixels, or longer than `limits.max_message_bytes`.
        """
        self._check()
        if self._must_skip():
            return None
        if isinstance(image, np.ndarray):
            image = await asyncio.to_thread(encoded, image, self._encoding)
        message = framed(encoded(image, self._encoding), id, t_capture_ns)
        if len(message) > self.limits.max_message_bytes:
            raise ValueError(f"the frame's message is {len(message)} bytes, {self.limits.max_message_bytes} are allowed; scale it down")
        while self.settings.policy == "all" and (self._busy() or len(self._in_flight) >= self.limits.max_in_flight):
            await self._wait(None)
            self._check()
        if self._must_skip():
            return None
        self._check()
        socket = self._socket
        assert socket is not None
        self._number += 1
        self._in_flight[self._number] = id
        self._sending = asyncio.create_task(send(socket, message), name="mien-send")
        self._sending.add_done_callback(lambda _: self._notify())
        return self._number

    async def update(
        self, *, model: str | None = None, hop: int | None = None, policy: Policy | None = None, faces: int | None = None
    ) -> messages.SessionUpdated:
        """Change settings, and wait until they are in force; what is left out stays. They are kept when connecting again.

        Raises:
            MienError: they were refused, and nothing has changed; or the connection was lost meanwhile.
        """
        wanted = {name: value for name, value in _settings(model, hop, policy, faces).items() if value is not None}
        async with self._updating:
            while self._socket is None:
                self._check()
                await self._wait(None)
            self._check()
            self._answer = asyncio.get_running_loop().create_future()
            try:
                await send(self._socket, _update(wanted))
                updated = await self._answer
            finally:
                self._answer = None
        self._wanted |= wanted
        return updated

    async def close(self, timeout_s: float = ANSWER_S) -> messages.SessionClosed:  # type: ignore[override]  # has more to say
        """End the session, and wait until every frame sent has its outcome; what was said can be read afterwards.

        Raises:
            MienError: the conversation had failed, there was no connection to end it on, or the server did not finish in time.
        """
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=timeout_s)
        await super().close(timeout_s)
        if self.closed is None:
            detail = "there was no connection to end it on; what had been in flight was reported as lost"
            self._error = MienError("closed", "Closed without a connection", detail, retryable=True)
            self._raise_failure()
        assert self.closed is not None
        return self.closed

    async def _begin(self, socket: ClientConnection) -> Started:
        created = await first_word(socket, messages.SessionCreated)
        self._number, self.limits, self.settings, self._sending = 0, created.limits, created, None
        if self._wanted:
            await socket.send(_update(self._wanted))
            while True:
                _, item = understood(await socket.recv())
                if isinstance(item, messages.Error):
                    raise refusal(item)
                if isinstance(item, messages.SessionUpdated):
                    self.settings = item
                    break
        return created

    def _account(self, item: Item, body: Json) -> bool:
        # By the JSON, not the type: an outcome is one even where its words are newer than ours.
        numbers: range | tuple[()] = ()
        match body:
            case {"type": "result" | "frame.rejected", "frame": int(frame)}:
                numbers = range(frame, frame + 1)
            case {"type": "frame.dropped", "frames": [int(first), int(last)]}:
                numbers = range(first, last + 1)
        for number in numbers:
            self._in_flight.pop(number, None)
        waiting = self._answer is not None and not self._answer.done()
        if isinstance(item, messages.SessionUpdated):
            self.settings = item
            if self._answer is not None and waiting:
                self._answer.set_result(item)
        elif isinstance(item, messages.SessionClosed):
            self.closed = item
        elif isinstance(item, messages.Error) and item.code in _REFUSED_UPDATES and self._answer is not None and waiting:
            self._answer.set_exception(refusal(item))
            return False
        return True

    def _forget(self, loss: MienError) -> tuple[Unanswered, ...]:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(loss)
        frames = tuple(Unanswered(number, id) for number, id in self._in_flight.items())
        self._in_flight.clear()
        if loss.code != "closed":
            self.closed = None  # there will be another session
        return frames

    def _missed(self) -> int:
        unsent, self._unsent = self._unsent, 0
        return unsent

    def _busy(self) -> bool:
        return self._socket is None or (self._sending is not None and not self._sending.done())

    def _must_skip(self) -> bool:
        skipped = self.settings.policy == "latest" and self._busy()
        if skipped and self._socket is None:
            self._unsent += 1
        return skipped

    def _check(self) -> None:
        self._raise_failure()
        if self._closing or self._ended():
            raise MienError("closed", "The session is closed", "it takes no more frames and no changes")
        if len(self._items) >= self.room:
            detail = f"{len(self._items)} items wait, the limit; iterate over the session, or call poll() now and then"
            raise MienError("unread", "What the server said is not read", detail)


def _settings(model: str | None, hop: int | None, policy: Policy | None, faces: int | None) -> dict[str, Any]:
    return {"model": model, "hop": hop, "policy": policy, "faces": faces}


def _update(wanted: dict[str, Any]) -> str:
    return messages.SessionUpdate(type="session.update", **wanted).model_dump_json(exclude_none=True)
