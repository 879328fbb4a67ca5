"""A conversation over a WebSocket that outlives its connections.

Owns connecting, connecting again with back-off, what is told of it (`Lost`, `Reconnected`), and what waits to be read. A
reader that falls behind is felt by the server, as if there were no client in between. Does not own pushing (`pushing.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TypeVar

from typing_extensions import Self
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from service.api import messages
from service.remote.items import (
    Item,
    Json,
    Lost,
    MienError,
    Reconnected,
    Started,
    Unanswered,
    Unknown,
    back_off,
    problem,
    refusal,
    understood,
    unreachable,
)

ANSWER_S = 60.0
"""How long the server may take for its first word, or for settings to be in force: a model may have to be loaded."""
CLOSE_S = 2.0
_SOON = frozenset(("loading", "draining"))
StartedT = TypeVar("StartedT", messages.SessionCreated, messages.SessionUpdated)
_TRANSIENT = frozenset((None, 1000, 1001, 1006, 1012, 1013, 4408, 4429))
_UNCLEAR = frozenset((None, 1000, 1001, 1006, 1012))


class AsyncSubscription:
    """What a server-side camera's subscribers are told, as an async iterator and context manager.

    `started`: settings in force when the connection was made. Iteration ends after `close`, and raises the `MienError` that
    ended the conversation: a refusal that another try would not change, or a server gone for more than `retry_s`.
    """

    room = 64
    """Items that may wait to be read before the socket is not read either."""

    def __init__(self, address: str, retry_s: float) -> None:
        self.started: Started
        self._address = address
        self._retry_s = retry_s
        self._socket: ClientConnection | None = None
        self._items: deque[Item] = deque()
        self._moved = asyncio.Event()
        self._closing = False
        self._following: asyncio.Task[None] | None = None
        self._error: MienError | None = None
        self._told = False

    async def __aenter__(self) -> Self:
        try:
            self.started = await self._connect()
        except MienError as error:
            if error.code not in _SOON:
                raise
            await self._persist(error)
        self._following = asyncio.create_task(self._follow(), name="mien-follow")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None and not self._told:
                await self.close()
        finally:
            await self._abandon()

    async def close(self, timeout_s: float = ANSWER_S) -> None:
        """Say goodbye, and wait until everything the server still has to say has come; it can be read afterwards.

        Raises:
            MienError: the conversation had failed, or the server did not finish in time (`timeout`).
        """
        self._closing = True
        self._notify()
        if self._following is not None and not self._following.done():
            if self._socket is None:  # on the way to a new one, which nobody wants any more
                await self._abandon()
            else:
                await self._ask_to_end(self._socket)
                done, _ = await asyncio.wait({self._following}, timeout=timeout_s)
                if not done:
                    await self._abandon()
                    self._error = MienError("timeout", "The server did not finish", f"no goodbye within {timeout_s:g} s", retryable=True)
        self._raise_failure()

    async def recv(self, timeout_s: float | None = None) -> Item | None:
        """Wait for the next item; None after the last.

        Raises:
            MienError: the conversation has failed.
            TimeoutError: nothing came in `timeout_s` seconds.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._items:
            if self._ended():
                self._raise_failure()
                return None
            await self._wait(until)
        self._notify()
        return self._items.popleft()

    async def poll(self) -> list[Item]:
        """Take what has come, without waiting.

        Raises:
            MienError: nothing has, because the conversation has failed.
        """
        if not self._items:
            self._raise_failure()
        items = list(self._items)
        self._items.clear()
        self._notify()
        return items

    async def __aiter__(self) -> AsyncIterator[Item]:
        while (item := await self.recv()) is not None:
            yield item

    # What pushing adds to.

    async def _begin(self, socket: ClientConnection) -> Started:
        return await first_word(socket, messages.SessionUpdated)

    async def _ask_to_end(self, socket: ClientConnection) -> None:
        await send(socket, messages.SessionClose(type="session.close").model_dump_json())

    def _account(self, item: Item, body: Json) -> bool:
        """Look at what the server said; return whether it is for the user."""
        return True

    def _forget(self, loss: MienError) -> tuple[Unanswered, ...]:
        """Return what was in flight on the connection that is gone."""
        return ()

    def _missed(self) -> int:
        """Return how many frames were pushed while there was no connection."""
        return 0

    # The life of connections.

    async def _connect(self) -> Started:
        socket = await dial(self._address)
        try:
            started = await asyncio.wait_for(self._begin(socket), ANSWER_S)
        except BaseException as error:
            await socket.close()
            if isinstance(error, ConnectionClosed | asyncio.TimeoutError):
                raise unreachable(self._address, error) from error
            raise
        self._socket = socket
        self._notify()
        return started

    async def _follow(self) -> None:
        try:
            while True:
                loss = await self._listen()
                frames = self._forget(loss)
                if loss.code == "closed":
                    if not frames:
                        return
                    loss = MienError(
                        "closed", "The server has closed without an outcome for every frame", f"{len(frames)} frame(s) have none"
                    )
                self._items.append(Lost(frames, loss.code, loss.detail))
                self._notify()
                if self._closing or not loss.retryable:
                    raise loss
                began = time.monotonic()
                attempts = await self._persist(loss)
                self._items.append(Reconnected(self.started, attempts, time.monotonic() - began, self._missed()))
                self._notify()
        except MienError as error:
            self._error = error
        finally:
            self._notify()

    async def _listen(self) -> MienError:
        """Read until the connection is gone, and return why it is."""
        socket, said, ended = self._socket, None, False
        assert socket is not None
        try:
            while True:
                body, item = understood(await socket.recv())
                said = refusal(item) if isinstance(item, messages.Error) else None
                ended = isinstance(item, messages.SessionClosed)
                if self._account(item, body):
                    self._items.append(item)
                    self._notify()
                while len(self._items) >= self.room and not self._closing:
                    await self._wait(None)
        except ConnectionClosed:
            pass
        except MienError as error:
            await socket.close()
            return error
        finally:
            self._socket = None
        code, why = socket.close_code, socket.close_reason
        if self._closing and (ended or code == 1000):
            return MienError("closed", "Closed by this client", "")
        if said is not None and code not in _UNCLEAR:
            return said
        detail = f"close code {code or 'missing'}" + (f", {why}" if why else "")
        return MienError("connection-lost", "The connection is gone", detail, retryable=code in _TRANSIENT)

    async def _persist(self, loss: MienError) -> int:
        """Connect again and again, less and less often; return how many attempts it took."""
        began, attempts = time.monotonic(), 0
        for delay_s in back_off():
            if time.monotonic() + delay_s > began + self._retry_s:
                break
            await asyncio.sleep(delay_s)
            attempts += 1
            try:
                self.started = await self._connect()
                return attempts
            except MienError as error:
                if not error.retryable:
                    raise
                loss = error
        detail = f"given up after {attempts} attempts in {time.monotonic() - began:.1f} s; the last: {loss}"
        raise MienError("unreachable", "The server has not come back", detail, loss.status, retryable=True)

    async def _abandon(self) -> None:
        socket = self._socket
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if socket is not None:
            await socket.close()
        self._notify()

    def _raise_failure(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _ended(self) -> bool:
        return self._following is None or self._following.done() or self._error is not None

    def _notify(self) -> None:
        self._moved.set()

    async def _wait(self, until: float | None) -> None:
        """Wait until anything has changed; the caller looks again whether it is what it waits for."""
        self._moved.clear()
        try:
            await asyncio.wait_for(self._moved.wait(), None if until is None else max(0.0, until - time.monotonic()))
        except asyncio.TimeoutError:
            raise TimeoutError("nothing came in time") from None


async def dial(address: str) -> ClientConnection:
    """Open a WebSocket.

    Raises:
        MienError: there is no server, or it refuses.
    """
    try:
        # No proxy: frames go to the server that was named, or nowhere. No compression: images are compressed.
        return await connect(
            address, subprotocols=[Subprotocol(messages.SUBPROTOCOL)], compression=None, proxy=None, max_size=2**24, close_timeout=CLOSE_S
        )
    except InvalidStatus as error:
        raise problem(error.response.status_code, bytes(error.response.body or b"")) from error
    except (OSError, asyncio.TimeoutError, InvalidHandshake) as error:
        raise unreachable(address, error) from error


async def send(socket: ClientConnection, message: str | bytes) -> None:
    """Send unless the connection is gone: its reader finds out, and says what that means."""
    try:
        await socket.send(message)
    except ConnectionClosed:
        return


async def first_word(socket: ClientConnection, kind: type[StartedT]) -> StartedT:
    """Return a conversation's first message.

    Raises:
        MienError: it is an error, or none of ours.
    """
    body, item = understood(await socket.recv())
    if isinstance(item, messages.Error):
        raise refusal(item)
    if not isinstance(item, kind):
        why = item.why if isinstance(item, Unknown) else "another message was expected first"
        raise MienError("not-understood", "The server does not speak as this client does", f"{body.get('type')!r}: {why}")
    return item
