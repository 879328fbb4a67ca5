"""How long a finished clip is kept, and when its time is over.

Owns the clocks that the life of clips is measured on, and their disagreements: a wall clock may be set at any moment, so
once a clip's age is known it is counted on the monotonic clock. Does not own erasing (`queue.py`) or rows (`store.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service.clips.store import Clip


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds of UTC, which may jump, and of a clock that does not."""

    wall_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic


class Expiry:
    """Keeps each finished clip for `ttl_h` hours after its end."""

    def __init__(self, ttl_h: float, clocks: Clocks) -> None:
        self.ttl_s = ttl_h * 3600
        self._clocks = clocks
        self._until: dict[str, float] = {}

    def expires_s(self, clip: Clip) -> float | None:
        """Return when a clip's time is over, UTC seconds; None: it has not ended."""
        return None if clip.ended_s is None else clip.ended_s + self.ttl_s

    def over(self, clips: Iterable[Clip]) -> list[Clip]:
        """Return those whose time is over now."""
        now_s, wall_s = self._clocks.monotonic_s(), self._clocks.wall_s()
        over = []
        for clip in clips:
            expires_s = self.expires_s(clip)
            if expires_s is None:
                continue
            left_s = min(expires_s - wall_s, self.ttl_s)
            if self._until.setdefault(clip.id, now_s + left_s) <= now_s:
                over.append(clip)
        return over

    def forget(self, id: str) -> None:
        """Keep nothing of a clip that is erased."""
        self._until.pop(id, None)
