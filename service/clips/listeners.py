"""Who waits for news of which clip: from the worker's thread into the event loop.

Owns the events that are set. There is no news in them: who is woken looks for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager


class Listeners:
    """Events by clip. Before `begin` nobody can listen, and `ring` does nothing."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, bool], set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def listening(self, id: str, only_end: bool = False) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever there is something new of a clip, or only when it has ended or is gone."""
        event, key = asyncio.Event(), (id, only_end)
        self._events.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]

    def ring(self, id: str, end: bool) -> None:
        """Tell all who listen to a clip; `end`: those too who wait for its end only. May be called on any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._rung, id, end)

    def _rung(self, id: str, end: bool) -> None:
        for key in ((id, False), (id, True))[: 1 + end]:
            for event in self._events.get(key, ()):
                event.set()
