"""Servers that `mien serve` is not: newer ones, and ones that stop in the middle. Each plays one part over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

CREATED: dict[str, Any] = {
    "type": "session.created", "session_id": "s", "limits": {"max_message_bytes": 10_000_000, "max_pixels": 8_000_000, "max_in_flight": 3},
    "model": {"id": "m", "sha256": "0" * 12}, "labels": ["happy"], "window": {"frames": 1, "buffer": 1, "hop": 1, "period_ms": None},
    "policy": "all", "faces": 1, "notice_required": False,
}  # fmt: skip
CLOSED: dict[str, Any] = {"type": "session.closed", "reason": "client", "received": 0, "used": 0, "dropped": {}, "rejected": 0}


def said(message: dict[str, Any], **others: Any) -> str:
    """A message as text, with some members replaced or added."""
    return json.dumps(message | others)


def dropped(first: int, last: int) -> str:
    """`frame.dropped`."""
    return json.dumps({"type": "frame.dropped", "frames": [first, last], "reason": "overload"})


def gone(socket: ServerConnection) -> None:
    """Break a connection off without a word."""
    socket.transport.abort()


@asynccontextmanager
async def playing(part: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve until the block ends; yield the address. The clients' goodbyes are awaited."""
    async with serve(part, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=1) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.sleep(0)
