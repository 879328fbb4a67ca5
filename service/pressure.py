"""What the live loop does about being behind: whose budget counts, and how the ladder's level changes each feed.

Owns the budget (SEMANTICS, "Behind?") and the Changes that stretch period or hop. Does not own the judgement (`ladder.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from statistics import median

from engines.manifest import Expression
from service.feed import Feed
from service.inputs import Change, Keep
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
        """Take in a round of the live feeds."""
        budget_ns = self.budget_ns(feeds, now_ns)
        if budget_ns is not None and self.ladder.observe(round_ns, budget_ns):
            log.warning("the last round took %.1f ms, the budget is %.1f ms: level %d", round_ns / 1e6, budget_ns / 1e6, self.ladder.level)

    def changes(self, feeds: Sequence[Feed], now_ns: int) -> list[tuple[Feed, Change]]:
        """Return the Changes that bring each feed to the level: those that are not there yet, and those that no longer belong.

        Without a feed that sets a pace there is nothing to be behind: the level is 0 again.
        """
        if self.ladder.level and self.budget_ns(feeds, now_ns) is None:
            self.ladder = Ladder()
        found = []
        for feed in feeds:
            factor = self.ladder.factor if _paced(feed) else 1
            if factor != feed.stretch:
                feed.stretch = factor
                found.append((feed, _stretched(feed, factor)))
        return found

    def degraded(self, feed: Feed) -> Degraded | None:
        """Return what a feed's results must say of the level."""
        if feed.policy != "latest" or self.ladder.level == 0:
            return None
        if feed.stretch == 1:
            return "rate"
        return "hop" if _window_heavy(feed.session.settings.manifest) else "period"


def _stretched(feed: Feed, factor: int) -> Change:
    """Return the Change to `factor` times what the feed's owner asked for, or its manifest says."""
    manifest = feed.session.settings.manifest
    if _window_heavy(manifest):
        return Change(hop=(feed.hop or manifest.window.hop) * factor)
    asked_ms = manifest.window.period_ms if isinstance(feed.period_ms, Keep) else feed.period_ms
    if factor == 1:
        return Change(period_ms=asked_ms)
    longest_ms = (asked_ms or median(feed.intervals_ns) / 1e6) * factor
    # A period beyond gap/1.5 would clear the buffer at every second sample; a fixed max_gap_ms limits the stretch.
    fixed = manifest.window.max_gap_ms
    return Change(period_ms=longest_ms if fixed is None else min(longest_ms, fixed / 1.5))


def _paced(feed: Feed) -> bool:
    return feed.policy == "latest" and len(feed.intervals_ns) >= ENOUGH


def _window_heavy(manifest: Expression) -> bool:
    return manifest.cost.gmac_per_window > manifest.cost.gmac_per_frame * manifest.window.hop
