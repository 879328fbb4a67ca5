"""A client of a mien server, for programs with threads (`Mien`) and with an event loop (`AsyncMien`).

Owns what users import. Needs websockets and pydantic; OpenCV only to push pixels rather than JPEG or PNG. How conversations,
requests and reconnecting work is in `service/remote/`; docs/client.md shows their use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from service.api.messages import (
    ClipPrediction,
    Draining,
    Error,
    Face,
    FrameDropped,
    FrameRejected,
    Limits,
    Prediction,
    Result,
    SessionClosed,
    SessionCreated,
    SessionLoading,
    SessionUpdated,
    SourceChanged,
)
from service.messages import Policy
from service.remote import rest
from service.remote.clips import ClipResult, ClipState, ModelDetails, ModelEntry, ModelList, StreamState
from service.remote.http import Server, carry_out, carry_out_async
from service.remote.items import Item, Lost, MienError, Reconnected, Unanswered, Unknown
from service.remote.pictures import Encoding, Image
from service.remote.pushing import AsyncLive
from service.remote.rest import Format, Plan, Told
from service.remote.session import AsyncSubscription
from service.remote.threads import Live, Subscription

__all__ = [
    "Mien", "Live", "Subscription", "AsyncMien", "AsyncLive", "AsyncSubscription", "MienError",
    "Item", "Result", "Face", "Prediction", "FrameDropped", "FrameRejected", "SourceChanged", "ClipPrediction", "Error", "Draining",
    "SessionCreated", "SessionUpdated", "SessionLoading", "SessionClosed", "Limits", "Lost", "Unanswered", "Reconnected", "Unknown",
    "ClipState", "ClipResult", "ModelList", "ModelEntry", "ModelDetails", "StreamState", "Image", "Encoding", "Policy", "Format",
]  # fmt: skip

URL = "http://127.0.0.1:8765"
T = TypeVar("T")


class _Address:
    """Where a server is; nothing is connected yet, and nothing has to be closed. `retry_s`: how long one that went away is waited for."""

    def __init__(self, url: str = URL, *, retry_s: float = 60.0) -> None:
        self._server = Server(url)
        self._retry_s = retry_s

    @property
    def url(self) -> str:
        """The server's address."""
        return self._server.url

    def _live(self, model: str | None, policy: Policy | None, faces: int | None, hop: int | None, encoding: Encoding) -> AsyncLive:
        wanted = {"model": model, "policy": policy, "faces": faces, "hop": hop}
        return AsyncLive(self._server.websocket("/v1/live"), self._retry_s, encoding, wanted)

    def _stream(self, name: str) -> AsyncSubscription:
        return AsyncSubscription(self._server.websocket(f"/v1/streams/{quote(name, safe='')}/events"), self._retry_s)


class Mien(_Address):
    """A server, for programs with threads. `retry_s`: how long one that went away is waited for. Any method may raise `MienError`.

    Nothing is connected before it is used, and there is nothing to close but what `live` and `stream` return.
    """

    def live(
        self, *, model: str | None = None, policy: Policy | None = None, faces: int | None = None, hop: int | None = None,
        encoding: Encoding = "jpeg",
    ) -> Live:  # fmt: skip
        """Return a live session, to be entered by `with`. What is left out is the server's; `encoding`: of pixels."""
        return Live(lambda: self._live(model, policy, faces, hop, encoding), encoding)

    def stream(self, name: str) -> Subscription:
        """Return a subscription to one of the server's cameras, to be entered by `with`."""
        return Subscription(lambda: self._stream(name))

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until there is a server and it takes work."""
        self._do(rest.ready(timeout_s))

    def models(self) -> ModelList:
        """List the models."""
        return self._do(rest.models(self._retry_s))

    def model(self, id: str) -> ModelDetails:
        """Return one model's manifest and card."""
        return self._do(rest.model(id, self._retry_s))

    def streams(self) -> tuple[StreamState, ...]:
        """List the server's cameras."""
        return self._do(rest.streams(self._retry_s)).streams

    def analyze(
        self, file: str | Path, *, model: str | None = None, faces: int | None = None, hop: int | None = None, allow_partial: bool = False,
        timeout_s: float = 600.0, on_progress: Told | None = None, keep: bool = False,
    ) -> ClipResult:  # fmt: skip
        """Upload a clip or image, wait for its result, and erase it from the server unless it is to be kept there."""
        options = {"model": model, "faces": faces, "hop": hop, "allow_partial": allow_partial}
        return self._do(rest.analyzed(file, options, timeout_s, on_progress, keep, self._retry_s))

    def submit(
        self, file: str | Path, *, model: str | None = None, faces: int | None = None, hop: int | None = None, allow_partial: bool = False,
        key: str | None = None,
    ) -> ClipState:  # fmt: skip
        """Upload a clip or image and return when it is durably queued. `key`: the same one queues the same clip once."""
        options = {"model": model, "faces": faces, "hop": hop, "allow_partial": allow_partial}
        return self._do(rest.submit(file, options, key, self._retry_s))

    def clip(self, id: str) -> ClipState:
        """Ask how far a clip is."""
        return self._do(rest.clip(id, self._retry_s))

    def wait(self, id: str, *, timeout_s: float = 600.0, on_progress: Told | None = None) -> ClipState:
        """Wait until a clip is done; one that failed raises its `MienError`."""
        return self._do(rest.ended(id, timeout_s, on_progress, self._retry_s))

    def result(self, id: str) -> ClipResult:
        """Fetch a clip's result."""
        return self._do(rest.result(id, self._retry_s))

    def result_as(self, id: str, format: Format) -> bytes:
        """Fetch a clip's result as a file's bytes."""
        return self._do(rest.result_as(id, format, self._retry_s))

    def delete(self, id: str) -> None:
        """Erase a clip, its input and its results."""
        self._do(rest.delete(id, self._retry_s))

    def _do(self, plan: Plan[T]) -> T:
        return carry_out(self._server, plan)


class AsyncMien(_Address):
    """A server, for programs with an event loop; as `Mien`, but to be awaited."""

    def live(
        self, *, model: str | None = None, policy: Policy | None = None, faces: int | None = None, hop: int | None = None,
        encoding: Encoding = "jpeg",
    ) -> AsyncLive:  # fmt: skip
        """Return a live session, to be entered by `async with`. What is left out is the server's; `encoding`: of pixels."""
        return self._live(model, policy, faces, hop, encoding)

    def stream(self, name: str) -> AsyncSubscription:
        """Return a subscription to one of the server's cameras, to be entered by `async with`."""
        return self._stream(name)

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until there is a server and it takes work."""
        await self._do(rest.ready(timeout_s))

    async def models(self) -> ModelList:
        """List the models."""
        return await self._do(rest.models(self._retry_s))

    async def model(self, id: str) -> ModelDetails:
        """Return one model's manifest and card."""
        return await self._do(rest.model(id, self._retry_s))

    async def streams(self) -> tuple[StreamState, ...]:
        """List the server's cameras."""
        return (await self._do(rest.streams(self._retry_s))).streams

    async def analyze(
        self, file: str | Path, *, model: str | None = None, faces: int | None = None, hop: int | None = None, allow_partial: bool = False,
        timeout_s: float = 600.0, on_progress: Told | None = None, keep: bool = False,
    ) -> ClipResult:  # fmt: skip
        """Upload a clip or image, wait for its result, and erase it from the server unless it is to be kept there."""
        options = {"model": model, "faces": faces, "hop": hop, "allow_partial": allow_partial}
        return await self._do(rest.analyzed(file, options, timeout_s, on_progress, keep, self._retry_s))

    async def submit(
        self, file: str | Path, *, model: str | None = None, faces: int | None = None, hop: int | None = None, allow_partial: bool = False,
        key: str | None = None,
    ) -> ClipState:  # fmt: skip
        """Upload a clip or image and return when it is durably queued. `key`: the same one queues the same clip once."""
        options = {"model": model, "faces": faces, "hop": hop, "allow_partial": allow_partial}
        return await self._do(rest.submit(file, options, key, self._retry_s))

    async def clip(self, id: str) -> ClipState:
        """Ask how far a clip is."""
        return await self._do(rest.clip(id, self._retry_s))

    async def wait(self, id: str, *, timeout_s: float = 600.0, on_progress: Told | None = None) -> ClipState:
        """Wait until a clip is done; one that failed raises its `MienError`."""
        return await self._do(rest.ended(id, timeout_s, on_progress, self._retry_s))

    async def result(self, id: str) -> ClipResult:
        """Fetch a clip's result."""
        return await self._do(rest.result(id, self._retry_s))

    async def result_as(self, id: str, format: Format) -> bytes:
        """Fetch a clip's result as a file's bytes."""
        return await self._do(rest.result_as(id, format, self._retry_s))

    async def delete(self, id: str) -> None:
        """Erase a clip, its input and its results."""
        await self._do(rest.delete(id, self._retry_s))

    async def _do(self, plan: Plan[T]) -> T:
        return await carry_out_async(self._server, plan)
