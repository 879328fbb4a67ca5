"""Server-side cameras on the wire: `GET /v1/streams` and `WS /v1/streams/{name}/events`.

Owns the addresses and one subscriber's connection. Does not own cameras or who listens to which (`hub.py`). A subscriber
cannot change anything.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, WebSocket

from service.api import errors, messages, wire
from service.api.conversation import NotUnderstood, converse, deny, protocol, understood, unknown_parameters
from service.api.hub import Stream
from service.api.outbox import Outbox
from service.api.service import Service

router = APIRouter()


@router.get("/v1/streams")
async def streams(request: Request) -> dict[str, Any]:
    """List the cameras of this machine and how they are."""
    service: Service = request.app.state.service
    return {"streams": [stream.state() for stream in service.streams.by_name.values()]}


@router.websocket("/v1/streams/{name}/events")
async def events(websocket: WebSocket, name: str) -> None:
    """Send a camera's events: `session.updated` with what is in force, then as they come."""
    service: Service = websocket.app.state.service
    problem = unknown_parameters(websocket)
    if name not in service.streams.by_name:
        there = ", ".join(service.streams.by_name) or "none"
        problem = errors.Problem("unknown-stream", f"There is no camera {name[:64]!r}; there are: {there}.")
    problem = problem or service.unready()
    limit = service.config.server.max_sessions
    if problem is None and len(service.connections) >= 2 * limit:
        problem = errors.Problem("overloaded", f"{len(service.connections)} connections are open, the limit is {2 * limit}.", 2 * limit)
    if problem is not None:
        await deny(websocket, problem)
        return
    stream = service.streams.by_name[name]
    await websocket.accept(protocol(websocket))
    subscriber = Subscriber(service, websocket, stream)
    service.connections.add(subscriber)
    try:
        await subscriber.run()
    finally:
        stream.remove(subscriber.outbox)
        service.left(subscriber)


class Subscriber:
    """One reader of a camera's events."""

    def __init__(self, service: Service, websocket: WebSocket, stream: Stream) -> None:
        self.outbox = Outbox(service.behind_s, service.metrics.age, newest_wins=True)
        self._websocket = websocket
        self._stream = stream
        self._draining = service.draining

    async def run(self) -> None:
        """Send until one side closes."""
        camera = self._stream.camera
        assert camera is not None
        self.outbox.say(wire.subscribed(camera.feed.session.settings, camera.feed.policy, camera.feed.last_taken + 1))
        self._stream.add(self.outbox)
        if self._draining:
            self.drain(0.0)
        await converse(self._websocket, self._read(), self.outbox)

    def drain(self, deadline_s: float) -> None:
        """Say `draining`, then close with 1012."""
        self.outbox.say(messages.Draining(deadline_s=deadline_s).model_dump(mode="json"))
        self.outbox.end(1012, "draining")

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            self._told(message.get("text"))

    def _told(self, text: str | None) -> None:
        if text is None:
            self.outbox.fail("read-only", "a camera's subscribers send no frames; push them to /v1/live")
            return
        try:
            message = understood(text)
        except NotUnderstood as error:
            self.outbox.fail(error.code, str(error))
            return
        if isinstance(message, messages.SessionClose):
            self.outbox.end(1000, "client")
        elif isinstance(message, messages.SessionAuth):
            self.outbox.fail("auth-not-enabled", "this server has no authentication yet; the token was not looked at")
        else:
            self.outbox.fail("read-only", "a camera's settings cannot be changed by its subscribers")
