"""Behind? The steps by which the live loop does less.

Owns the judgement (SEMANTICS, "Behind?") and the order of steps. Does not act: `live.py` does, by Changes.
"""

from __future__ import annotations

from collections import deque
from statistics import median

RECENT = 20
CALM = 100
CALM_SHARE = 0.7
LEVELS = 4
"""1: frames are being left out (newest wins), said; 2, 3: period or hop ×2, ×4; 4: new sessions are refused."""


class Ladder:
    """Climbs one level when the median of the last 20 rounds exceeds the budget, and steps back after 100 rounds in a
    row under 70 % of it. After each step it looks at 20 new rounds before the next."""

    def __init__(self) -> None:
        self.level = 0
        self._rounds: deque[int] = deque(maxlen=RECENT)
        self._calm = 0

    def observe(self, round_ns: int, budget_ns: int) -> bool:
        """Take in one round; return whether the level changed."""
        self._rounds.append(round_ns)
        self._calm = self._calm + 1 if round_ns < CALM_SHARE * budget_ns else 0
        if len(self._rounds) == RECENT and median(self._rounds) > budget_ns and self.level < LEVELS:
            return self._step(1)
        if self._calm >= CALM and self.level > 0:
            return self._step(-1)
        return False

    def _step(self, by: int) -> bool:
        self.level += by
        self._rounds.clear()
        self._calm = 0
        return True

    @property
    def factor(self) -> int:
        """By how much period or hop is stretched."""
        return {2: 2, 3: 4, 4: 4}.get(self.level, 1)

    @property
    def full(self) -> bool:
        """Whether new sessions are refused."""
        return self.level >= LEVELS

    @property
    def median_ns(self) -> int:
        """The median of the rounds since the last step; 0 before any."""
        return round(median(self._rounds)) if self._rounds else 0
