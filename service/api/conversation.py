"""What all WebSockets share: refusal before they are accepted, reading a client's words, and two sides that end together.

Owns none of the addresses (`live.py`, `streams.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from fastapi import WebSocket
from pydantic import ValidationError

from service.api import errors, messages
from service.api.framing import explained
from service.api.outbox import Outbox

log = logging.getLogger("mien.api")


class NotUnderstood(ValueError):
    """A text message that is no message of ours. `code` is in the registry of errors."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def understood(text: str) -> messages.ClientMessage:
    """Return a client's message.

    Raises:
        NotUnderstood: it is not JSON, or not one of our messages.
    """
    try:
        return messages.CLIENT.validate_json(text)
    except ValidationError as error:
        code = "bad-json" if error.errors(include_url=False)[0]["type"] == "json_invalid" else "bad-message"
        raise NotUnderstood(code, explained(error)) from None


def unknown_parameters(websocket: WebSocket) -> errors.Problem | None:
    """Return what is wrong with a handshake's query: there is nothing to be asked there."""
    names = ", ".join(sorted(websocket.query_params))[:100]
    return errors.Problem("invalid-parameter", f"This address takes no query parameters; given: {names}.") if names else None


def protocol(websocket: WebSocket) -> str | None:
    """Return the subprotocol to accept with."""
    return messages.SUBPROTOCOL if messages.SUBPROTOCOL in websocket.scope["subprotocols"] else None


async def deny(websocket: WebSocket, problem: errors.Problem) -> None:
    """Answer a handshake with a problem document in place of a WebSocket."""
    await websocket.send_denial_response(errors.response(problem, websocket.scope))


async def converse(websocket: WebSocket, reading: Coroutine[None, None, None], outbox: Outbox) -> None:
    """Run the reading side and the sending side of a socket until one of them is at its end."""
    reader = asyncio.create_task(reading, name="read")
    sender = asyncio.create_task(outbox.run(websocket), name="send")
    try:
        await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
        if reader.done() and (error := reader.exception()) is not None:
            log.error("a connection has failed", exc_info=error)
            outbox.fail("internal", "the server has failed; its log has the cause")
            await sender
        if sender.done():
            sender.result()
    finally:
        for task in (reader, sender):
            task.cancel()
        await asyncio.gather(reader, sender, return_exceptions=True)
