"""How connections begin badly and end well: uvicorn's protocols with our answers.

Owns what uvicorn decides below the application: refusals of malformed requests and handshakes as problem documents, and
closes that reach the client. uvicorn closes a socket at once after a close frame of its own; if the client's message is
still arriving, the kernel then answers with a reset, which takes the close code with it. Here such a socket lingers until
the client is done, or for `LINGER_S`.
"""

from __future__ import annotations

import http
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Response
from websockets.server import ServerProtocol

from service.api import errors
from service.api.outbox import LAST_TEXT

LINGER_S = 3.0


class Handshake(ServerProtocol):
    """Refuses handshakes with problem documents."""

    def reject(self, status: http.HTTPStatus | int, text: str) -> Response:
        """Return the refusal of a handshake; `text` is the library's and not repeated."""
        status = http.HTTPStatus(status)
        answer = super().reject(status, _problem(status))
        del answer.headers["Content-Type"]
        answer.headers["Content-Type"] = "application/problem+json"
        return answer


class LiveSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose last words arrive, and whose client is alive while it sends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Handshake(max_size=self.config.ws_max_size, logger=self.conn.logger)
        self._lingering = False
        self._heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client; after our own close they are read and forgotten."""
        self._heard_at = self.loop.time()
        if not self._lingering:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """Close with the code of what the client got wrong (1002, 1007, 1009), and linger so that it arrives."""
        assert self.conn.close_sent is not None
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._lingering = True
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            # A client that has understood hangs up now.
            self.transport.write_eof()
        # Set, it tells uvicorn that somebody waits for the client's own close.
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Give up a client that sent neither a pong nor anything else; a pong may wait behind what we have not read yet."""
        if self.read_paused or self._heard_at > self.ping_sent_at:
            self.ping_sent_at = self.loop.time()
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0.0, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self.transport.abort()

    async def send(self, message: Any) -> None:
        """Send; a close does not wait for a client that does not read, and may bring a last text with it."""
        if message["type"] == "websocket.close" and self.handshake_complete:
            self.writable.set()
            if LAST_TEXT in message:
                await super().send({"type": "websocket.send", "text": message[LAST_TEXT]})
                self.writable.set()
            self.loop.call_later(LINGER_S, self.transport.abort)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # An answer in place of a WebSocket is a complete handshake too.
            self.handshake_complete = True


class LiveHttp(H11Protocol):
    """HTTP whose malformed requests are answered with problem documents."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; `msg` is the library's and not repeated."""
        text = _problem(http.HTTPStatus.BAD_REQUEST).encode()
        lines = ("HTTP/1.1 400 Bad Request", "Content-Type: application/problem+json", f"Content-Length: {len(text)}", "Connection: close")
        self.transport.write("\r\n".join((*lines, "", "")).encode() + text)
        self.transport.close()


def _problem(status: int) -> str:
    # Before a request could be read it has neither an address nor an id.
    return json.dumps(errors.body(errors.of_status(status), "about:blank", ""))
