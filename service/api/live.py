"""`WS /v1/live`: a client's frames in, its results out.

Owns the reading side of one connection: its messages, credit, and what is refused before a frame is queued. Does not own
the sending side (`outbox.py`), framing (`framing.py`), or sessions.
"""

from __future__ import annotations

import time

from fastapi import APIRouter, WebSocket

from service.api import errors, messages, wire
from service.api.conversation import NotUnderstood, converse, deny, protocol, understood, unknown_parameters
from service.api.framing import FramingError, Unusable, color_packet, parse
from service.api.outbox import Outbox
from service.api.service import Service
from service.events import Event, Rejected
from service.feed import Feed, FeedOptions
from service.inputs import Change
from service.live import Overloaded
from service.messages import Output
from service.models import UnknownModel
from service.settings import unusable

router = APIRouter()
BROKEN = frozenset(("not-an-image", "image-broken", "image-too-large"))


@router.websocket("/v1/live")
async def live(websocket: WebSocket) -> None:
    """Take frames, send results."""
    service: Service = websocket.app.state.service
    problem = service.unready() or unknown_parameters(websocket)
    if problem is not None:
        await deny(websocket, problem)
        return
    if (why := unusable(service.models.manifest(service.config.model.id))) is not None:
        # The server's own model is for its rig: a client that sends colour has to be served by another server, or by that rig's stream.
        await deny(websocket, errors.Problem("invalid-parameter", why))
        return
    session = LiveSession(service, websocket)
    try:
        session.open()
    except Overloaded as error:
        await deny(websocket, errors.Problem("overloaded", f"{error}."))
        return
    try:
        await session.run()
    finally:
        session.close()


class LiveSession:
    """One connection and its feed."""

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        self._service = service
        self._websocket = websocket
        self._outbox = Outbox(service.behind_s, service.metrics.age, heard=self._heard)
        self._id = service.new_id()
        self._feed: Feed | None = None
        self._in_a_row = 0
        self._closing = False

    @property
    def feed(self) -> Feed:
        """The session's seat in the rounds."""
        assert self._feed is not None
        return self._feed

    def open(self) -> None:
        """Take a seat in the rounds.

        Raises:
            Overloaded: there is none.
        """
        chosen = self._service.config
        session, server = chosen.session, chosen.server
        options = FeedOptions(chosen.model.id, session.policy, session.faces, session.hop, server.max_in_flight, session.max_fps)
        self._feed = self._service.loop.open(self._id, options, self._outbox.publish)
        self._service.metrics.opened(self.feed.ledger)

    async def run(self) -> None:
        """Accept the socket and converse until it is closed."""
        server = self._service.config.server
        limits = messages.Limits(
            max_message_bytes=server.max_message_bytes, max_pixels=server.max_pixels, max_in_flight=server.max_in_flight
        )
        self._outbox.say(wire.created(self._id, limits, self.feed.session.settings, self.feed.policy))
        await self._websocket.accept(protocol(self._websocket))
        self._service.connections.add(self)
        if self._service.draining:
            self.drain(0.0)
        await converse(self._websocket, self._read(), self._outbox)

    def close(self) -> None:
        """Free everything; what is queued is dropped."""
        self._service.left(self)
        self.feed.close("client-gone", drain=False)
        self._service.metrics.closed(self.feed.ledger)

    def drain(self, deadline_s: float) -> None:
        """Say `draining`, use what was sent, close with 1012."""
        self._outbox.say(messages.Draining(deadline_s=deadline_s).model_dump(mode="json"))
        self._finish("draining")

    def _finish(self, reason: str) -> None:
        self._closing = True
        self.feed.close(reason, drain=True)

    async def _read(self) -> None:
        while True:
            # Not to read is the only brake that a sender feels.
            await self._outbox.moved(self._blocked)
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if self._closing:
                continue
            text = message.get("text")
            if text is not None:
                self._told(text)
            else:
                self._pushed(message["bytes"])

    def _blocked(self) -> bool:
        if self._closing:
            return False
        out_of_credit = self.feed.policy == "all" and self.feed.ledger.in_flight >= self._service.config.server.max_in_flight
        return out_of_credit or self._outbox.full

    def _told(self, text: str) -> None:
        try:
            message = understood(text)
        except NotUnderstood as error:
            self._refuse(error.code, str(error))
            return
        if isinstance(message, messages.SessionAuth):
            self._outbox.fail("auth-not-enabled", "this server has no authentication yet; the token was not looked at")
        elif isinstance(message, messages.SessionUpdate):
            self._update(message)
        else:
            self._finish("client")

    def _update(self, update: messages.SessionUpdate) -> None:
        if update.rig is not None:
            self._outbox.fail("unknown-rig", "this server knows no calibrated rig; nothing was changed")
            return
        if update.notice is not None:
            self._outbox.fail("notice-not-required", "no notice is required here; nothing was changed")
            return
        try:
            self._check_kind(update.model)
            self._service.loop.change(self.feed, Change(model=update.model, hop=update.hop, faces=update.faces), update.policy)
        except UnknownModel as error:
            self._outbox.fail("unknown-model", str(error)[:400])
        except ValueError as error:
            self._outbox.fail("bad-change", str(error)[:400])

    def _check_kind(self, model: str | None) -> None:
        models = self._service.models
        if model is not None and (kind := models.manifest(model).kind) != "expression":
            raise UnknownModel(f"model {model!r} is of kind {kind}; a session needs one of: {', '.join(models.ids('expression'))}")

    def _pushed(self, data: bytes) -> None:
        arrival_ns = time.monotonic_ns()
        try:
            pushed = parse(data)
        except FramingError as error:
            self._refuse("bad-frame", str(error))
            return
        number = self.feed.receive()
        try:
            packet = color_packet(pushed, self._service.config.server.max_pixels)
        except Unusable as error:
            self.feed.reject(number, error.code, str(error), pushed.id)
            return
        self.feed.offer(number, {"color": packet}, arrival_ns, pushed.t_capture_ns, pushed.id)

    def _heard(self, output: Output) -> None:
        """Count, and see whether too many images in a row were unusable."""
        self._service.metrics.said(output)
        said = output.message
        if isinstance(said, Event):
            self._in_a_row = 0
        elif isinstance(said, Rejected) and said.code in BROKEN:
            self._in_a_row += 1
            limit = self._service.config.server.broken_in_a_row
            if self._in_a_row == limit:
                self._refuse("too-many-broken", f"{limit} unusable images in a row, the limit; the last: {said.detail}"[:400])

    def _refuse(self, code: str, detail: str) -> None:
        self._closing = True
        self._outbox.fail(code, detail)
