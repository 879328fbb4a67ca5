"""Conversations for programs without an event loop: each has one, on a thread of its own, from `with` to its end.

Owns that thread and waiting for it. What is said and done is `session.py`'s and `pushing.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from service.api import messages
from service.messages import Policy
from service.remote.items import Item, Started
from service.remote.pictures import Encoding, Image, encoded
from service.remote.pushing import AsyncLive
from service.remote.session import ANSWER_S, AsyncSubscription

T = TypeVar("T")
TalkT = TypeVar("TalkT", bound=AsyncSubscription)


class LoopThread:
    """An event loop on a thread."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="mien-client", daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._ready.set()
        await self._end.wait()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine there and wait for it; an interrupt of the waiting cancels it."""
        if not self._thread.is_alive():
            raise RuntimeError("this session's `with` block has ended")
        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread."""
        with contextlib.suppress(RuntimeError):  # it has ended before
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


class Conversation(Generic[TalkT]):
    """What live sessions and subscriptions have in common. One thread pushes, others may read."""

    def __init__(self, make: Callable[[], TalkT]) -> None:
        self._make = make
        self._talk: TalkT
        self._thread: LoopThread

    def __enter__(self) -> Self:
        self._thread = LoopThread()
        try:
            self._talk = self._thread.call(self._open)
        except BaseException:
            self._thread.stop()
            raise
        return self

    async def _open(self) -> TalkT:
        return await self._make().__aenter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._do(lambda: self._talk.__aexit__(kind, error, trace))
        finally:
            self._thread.stop()

    def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if not hasattr(self, "_talk"):
            raise RuntimeError("not open yet: enter it by `with`")
        return self._thread.call(work)

    @property
    def started(self) -> Started:
        """The first message of the connection there is, or was last."""
        return self._talk.started

    def recv(self, timeout_s: float | None = None) -> Item | None:
        """Wait for the next item; None after the last.

        Raises:
            MienError: the conversation has failed.
            TimeoutError: nothing came in `timeout_s` seconds.
        """
        return self._do(lambda: self._talk.recv(timeout_s))

    def poll(self) -> list[Item]:
        """Take what has come, without waiting.

        Raises:
            MienError: nothing has, because the conversation has failed.
        """
        return self._do(self._poll)

    async def _poll(self) -> list[Item]:
        return await self._talk.poll()

    def __iter__(self) -> Iterator[Item]:
        while (item := self.recv()) is not None:
            yield item


class Subscription(Conversation[AsyncSubscription]):
    """What a server-side camera's subscribers are told. Iteration ends after `close`; `AsyncSubscription` says more."""

    def close(self, timeout_s: float = ANSWER_S) -> None:
        """Say goodbye, and wait until everything the server still has to say has come; it can be read afterwards."""
        self._do(lambda: self._talk.close(timeout_s))


class Live(Conversation[AsyncLive]):
    """A live session. `AsyncLive` says what its methods promise and raise."""

    def __init__(self, make: Callable[[], AsyncLive], encoding: Encoding) -> None:
        super().__init__(make)
        self._encoding = encoding

    def push(self, image: Image, *, id: str | None = None, t_capture_ns: int | None = None) -> int | None:
        """Send a frame and return its number in the session; None: policy is `latest` and it could not be sent at once."""
        # Here, so that an event loop is not needed to make a ValueError of it, nor blocked by encoding.
        data = encoded(image, self._encoding)
        return self._do(lambda: self._talk.push(data, id=id, t_capture_ns=t_capture_ns))

    def run(self, images: Iterable[Image]) -> Iterator[Item]:
        """Push all images, give what is said as it comes, close, and give the rest."""
        for image in images:
            self.push(image)
            yield from self.poll()
        self.close()
        yield from self

    def update(
        self, *, model: str | None = None, hop: int | None = None, policy: Policy | None = None, faces: int | None = None
    ) -> messages.SessionUpdated:
        """Change settings, and wait until they are in force; what is left out stays."""
        return self._do(lambda: self._talk.update(model=model, hop=hop, policy=policy, faces=faces))

    def close(self, timeout_s: float = ANSWER_S) -> messages.SessionClosed:
        """End the session, and wait until every frame sent has its outcome; what was said can be read afterwards."""
        return self._do(lambda: self._talk.close(timeout_s))

    @property
    def settings(self) -> Started:
        """Settings in force."""
        return self._talk.settings

    @property
    def limits(self) -> messages.Limits:
        """What the server takes."""
        return self._talk.limits

    @property
    def in_flight(self) -> int:
        """How many frames were sent and have no outcome yet."""
        return self._talk.in_flight

    @property
    def closed(self) -> messages.SessionClosed | None:
        """The server's account of the session, once it is closed."""
        return self._talk.closed
