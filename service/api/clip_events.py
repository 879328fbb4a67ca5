"""`WS /v1/clips/{id}/events`: a clip's progress and every one of its events, from the first, whenever one joins.

Owns one follower's connection. There is no queue to overflow: a follower has a place in the clip's list of events and reads on
from there. Ends with `end`. What a client sends is not wanted, but for `session.close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.api import errors, messages
from service.api.clip_state import clips_of, problem_of, told_of
from service.api.conversation import NotUnderstood, deny, protocol, understood, unknown_parameters
from service.api.outbox import LAST_TEXT
from service.api.service import Service
from service.clips.limits import ClipRefused
from service.clips.queue import Clips
from service.clips.store import Clip

router = APIRouter()
PROGRESS_S = 0.2
_SAID = ("id", "state", "progress", "frames", "partial")


@router.websocket("/v1/clips/{id}/events")
async def events(websocket: WebSocket, id: str) -> None:
    """Send a clip's progress, events and end."""
    service: Service = websocket.app.state.service
    limit = service.config.server.max_sessions
    try:
        problem = unknown_parameters(websocket) or service.unready()
        clips = clips_of(service)
        clips.find(id)
        if problem is None and len(service.connections) >= 2 * limit:
            problem = errors.Problem("overloaded", f"{len(service.connections)} connections are open, the limit is {2 * limit}.", 2 * limit)
        if problem is not None:
            raise problem
    except ClipRefused as refused:
        await deny(websocket, problem_of(refused))
        return
    except errors.Problem as refusal:
        await deny(websocket, refusal)
        return
    await websocket.accept(protocol(websocket))
    follower = Follower(service, clips, websocket, id)
    service.connections.add(follower)
    try:
        await follower.run()
    finally:
        service.left(follower)


class Follower:
    """One connection."""

    def __init__(self, service: Service, clips: Clips, websocket: WebSocket, id: str) -> None:
        self._service = service
        self._clips = clips
        self._websocket = websocket
        self._id = id
        self._news: asyncio.Event | None = None
        self._draining: float | None = 0.0 if service.draining else None
        self._sent = 0
        self._told: dict[str, Any] = {}
        self._told_at = 0.0

    def drain(self, deadline_s: float) -> None:
        """Say `draining`, then close with 1012."""
        self._draining = deadline_s
        if self._news is not None:
            self._news.set()

    async def run(self) -> None:
        """Send until the end, or until one side closes."""
        reader = asyncio.create_task(self._read(), name="read")
        sender = asyncio.create_task(self._send(), name="send")
        try:
            await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and not sender.done() and (close := reader.result()) is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
                await self._close(*close)
            if sender.done() and not sender.cancelled():
                sender.result()
        except WebSocketDisconnect:
            pass
        finally:
            for task in (reader, sender):
                task.cancel()
            await asyncio.gather(reader, sender, return_exceptions=True)

    async def _read(self) -> tuple[int, str, dict[str, Any] | None] | None:
        """Return how to close, or None when the client has gone."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            text = message.get("text")
            if text is None:
                return 1008, "read-only", errors.message("read-only", "a clip's followers send no frames; send clips to POST /v1/clips")
            try:
                told = understood(text)
            except NotUnderstood as error:
                return 1008, error.code, errors.message(error.code, str(error))
            if isinstance(told, messages.SessionClose):
                return 1000, "client", None
            if not isinstance(told, messages.SessionAuth):
                return 1008, "read-only", errors.message("read-only", "a clip's settings came with it and stay")

    async def _send(self) -> None:
        with self._clips.listeners.listening(self._id) as self._news:
            while True:
                self._news.clear()
                if self._draining is not None:
                    message = messages.Draining(deadline_s=self._draining).model_dump(mode="json")
                    await self._close(1012, "draining", message)
                    return
                try:
                    clip = await asyncio.to_thread(self._clips.find, self._id)
                except ClipRefused as refused:
                    await self._close(1000, refused.code, errors.message(refused.code, refused.detail))
                    return
                if await self._tell(clip):
                    return
                # Progress goes on without events too: while a model loads, or frames wait.
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 1.0)

    async def _tell(self, clip: Clip) -> bool:
        """Say what is new; return whether that was all there will ever be."""
        if clip.state == "done":
            await self._rest(clip)
        else:
            lines = self._clips.progress(clip).lines
            while self._sent < len(lines) and self._draining is None:
                await self._text(lines[self._sent])
                self._sent += 1
                await self._say_progress(clip)
        ended = clip.state in ("done", "failed")
        await self._say_progress(clip, at_once=ended)
        if ended:
            body = told_of(clip, self._clips.progress(clip), self._clips)
            await self._close(1000, "end", {"type": "end", **{name: body[name] for name in (*_SAID, "result", "error")}})
        return ended

    async def _rest(self, clip: Clip) -> None:
        """Send what is left of a finished clip's events, from its file."""
        try:
            path = self._clips.result(clip, "ndjson")
            text = await asyncio.to_thread(path.read_text, "utf-8")
        except OSError:
            return  # deleted at this moment; the next look says so
        for line in text.splitlines()[self._sent :]:
            await self._text(line)
            self._sent += 1

    async def _say_progress(self, clip: Clip, at_once: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if not at_once and now - self._told_at < PROGRESS_S:
            return
        body = told_of(clip, self._clips.progress(clip), self._clips)
        said = {name: body[name] for name in _SAID}
        if said != self._told:
            self._told, self._told_at = said, now
            await self._text(json.dumps({"type": "progress", **said}, separators=(",", ":")))

    async def _text(self, text: str) -> None:
        try:
            await asyncio.wait_for(self._websocket.send_text(text), self._service.behind_s)
        except asyncio.TimeoutError:
            detail = f"a message has waited {self._service.behind_s:g} s to be read, the limit"
            await self._close(4408, "slow-reader", errors.message("slow-reader", detail))
            raise WebSocketDisconnect(4408) from None

    async def _close(self, code: int, reason: str, last: dict[str, Any] | None) -> None:
        close: dict[str, Any] = {"type": "websocket.close", "code": code, "reason": reason}
        text = {} if last is None else {LAST_TEXT: json.dumps(last, separators=(",", ":"), ensure_ascii=False)}
        await self._websocket.send(close | text)
