"""What the live loop does about being behind: whose budget counts, and how the ladder's level changes each feed.

Owns the budget (SEMANTICS, "Behind?") and the Changes that stretch period or hop. Does not own the judgement (`ladder.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from statistics import median

from engines.manifest import Expression
from service.feed import Feed
from service.inputs import Change
from service.ladder import Ladder
from service.messages import Degraded

log = logging.getLogger("mien.live")
RECENT_NS = 2_000_000_000
"""A feed that got nothing for longer does not set the budget."""
ENOUGH = 5
"""Arrivals it takes to know a feed's interval."""


class Pressure:
    """Watches rounds against the median arrival interval of the fastest live feed of policy `latest`."""

    def __init__(self) -> None:
        self.ladder = Ladder()

    def budget_ns(self, feeds: Sequence[Feed], now_ns: int) -> int | None:
        """Return what a round may take; None while no live feed sets a pace."""
        paced = (feed for feed in feeds if _paced(feed) and now_ns - (feed.last_arrival_ns or 0) < RECENT_NS)
        return min((round(median(feed.intervals_ns)) for feed in paced), default=None)

    def observe(self, feeds: Sequence[Feed], round_ns: int, now_ns: int) -> None:
        """Take in a round; if that changes the level, queue each paced feed's Change."""
        budget_ns = self.budget_ns(feeds, now_ns)
        if budget_ns is None or not self.ladder.observe(round_ns, budget_ns):
            return
        log.warning("the last round took %.1f ms, the budget is %.1f ms: level %d", round_ns / 1e6, budget_ns / 1e6, self.ladder.level)
        for feed in feeds:
            if _paced(feed):
                feed.inputs.append(self._stretch(feed))

    def degraded(self, feed: Feed) -> Degraded | None:
        """Return what a feed's results must say of the level."""
        if feed.policy != "latest" or self.ladder.level == 0:
            return None
        if self.ladder.factor == 1:
            return "rate"
        return "hop" if _window_heavy(feed.session.settings.manifest) else "period"

    def _stretch(self, feed: Feed) -> Change:
        """Return the Change that brings a feed to the level, from its own settings."""
        manifest, factor = feed.session.settings.manifest, self.ladder.factor
        if _window_heavy(manifest):
            return Change(hop=(feed.base_hop or manifest.window.hop) * factor)
        if factor == 1:
            return Change(period_ms=manifest.window.period_ms)
        base_ms = manifest.window.period_ms or median(feed.intervals_ns) / 1e6
        # A period beyond gap/1.5 would clear the buffer at every second sample; a fixed max_gap_ms limits the stretch.
        fixed = manifest.window.max_gap_ms
        return Change(period_ms=base_ms * factor if fixed is None else min(base_ms * factor, fixed / 1.5))


def _paced(feed: Feed) -> bool:
    return feed.policy == "latest" and len(feed.intervals_ns) >= ENOUGH


def _window_heavy(manifest: Expression) -> bool:
    return manifest.cost.gmac_per_window > manifest.cost.gmac_per_frame * manifest.window.hop
