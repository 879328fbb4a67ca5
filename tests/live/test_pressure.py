"""How the ladder's levels reach feeds, and how they leave them again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.feed import Arrival, Feed, FeedOptions
from service.inputs import Change
from service.perception.synthetic import SyntheticPerception
from service.pressure import Pressure
from service.session import Session
from service.settings import SessionOptions
from tests.session.world import D, bundle, model

MS = 1_000_000
BUDGET = 33 * MS
NOW_NS = 10**12
"""The moment of every test: nothing here depends on how long a test takes."""


def _feed(
    policy: str = "latest", hop: int = 2, window_heavy: bool = True, arrivals: int = 10, every_ns: int = BUDGET,
    **window: float,
) -> Feed:  # fmt: skip
    """A feed to which frames came every `every_ns` up to now."""
    cost = {"gmac_per_frame": 0.001, "gmac_per_window": 1.0} if window_heavy else {"gmac_per_frame": 1.0}
    chosen = model(4, 4, hop, cost=cost, window=window)
    session = Session(chosen, SyntheticPerception(D), SessionOptions())
    feed = Feed("f", session, FeedOptions("m", policy), lambda output: None, lambda: None, ThreadPoolExecutor(1))  # type: ignore[arg-type]
    for i in range(arrivals):
        at_ns = NOW_NS - (arrivals - i) * every_ns
        feed.put(Arrival(feed.receive(), at_ns, at_ns, "arrival", bundle(1, []).frames))
    return feed


def _apply(pressure: Pressure, feeds: list[Feed]) -> int:
    changes = pressure.changes(feeds, NOW_NS)
    for feed, change in changes:
        feed.session.advance(change)
    return len(changes)


def _climb(pressure: Pressure, feeds: list[Feed], to: int) -> list[int]:
    """Slow rounds up to a level; return each feed's hop after every level."""
    hops = []
    while pressure.ladder.level < to:
        before = pressure.ladder.level
        while pressure.ladder.level == before:
            pressure.observe(feeds, 2 * BUDGET, NOW_NS)
        _apply(pressure, feeds)
        hops.append(feeds[0].session.settings.hop)
    return hops


def test_the_hop_is_stretched_from_what_was_asked_for_and_comes_back() -> None:
    pressure, feed = Pressure(), _feed(hop=2)
    assert _climb(pressure, [feed], 4) == [2, 4, 8, 8]
    down = []
    while pressure.ladder.level:
        before = pressure.ladder.level
        while pressure.ladder.level == before:
            pressure.observe([feed], BUDGET // 2, NOW_NS)
        _apply(pressure, [feed])
        down.append(feed.session.settings.hop)
    assert down == [8, 4, 2, 2]


def test_a_frame_heavy_model_gets_a_longer_period_and_its_own_back() -> None:
    pressure, feed = Pressure(), _feed(window_heavy=False)
    _climb(pressure, [feed], 2)
    period_ms = feed.session.settings.period_ms
    assert period_ms is not None
    assert period_ms == pytest.approx(66, abs=1)
    feed.set_policy("all")
    assert _apply(pressure, [feed, _feed()]) == 2, "the new one is stretched, the one that left is not any more"
    assert feed.session.settings.period_ms is None


def test_a_level_that_changes_no_factor_changes_no_feed() -> None:
    pressure, feed = Pressure(), _feed()
    while pressure.ladder.level == 0:
        pressure.observe([feed], 2 * BUDGET, NOW_NS)
    assert _apply(pressure, [feed]) == 0
    assert pressure.degraded(feed) == "rate"


def test_a_feed_that_comes_late_is_stretched_once_its_pace_is_known() -> None:
    pressure, first = Pressure(), _feed()
    _climb(pressure, [first], 2)
    late = _feed(arrivals=3)
    assert _apply(pressure, [first, late]) == 0
    assert pressure.degraded(late) == "rate"
    late = _feed()
    assert _apply(pressure, [first, late]) == 1
    assert late.session.settings.hop == 4


def test_when_nobody_sets_a_pace_nobody_is_behind() -> None:
    pressure, feed = Pressure(), _feed()
    _climb(pressure, [feed], 4)
    assert pressure.ladder.full
    assert _apply(pressure, [_feed(policy="all")]) == 0
    assert not pressure.ladder.full


def test_an_owners_change_is_stretched_again() -> None:
    pressure, feed = Pressure(), _feed(hop=2)
    _climb(pressure, [feed], 2)
    feed.session.advance(Change(hop=3))
    feed.hop, feed.stretch = 3, 1
    assert _apply(pressure, [feed]) == 1
    assert feed.session.settings.hop == 6


def test_the_fastest_live_feed_sets_the_budget() -> None:
    pressure, now = Pressure(), NOW_NS
    fast, slow, clip = _feed(), _feed(every_ns=3 * BUDGET), _feed(policy="all", every_ns=20 * MS)
    assert pressure.budget_ns([slow, fast, clip], now) == BUDGET
    assert pressure.budget_ns([slow, clip], now) == 3 * BUDGET
    assert pressure.budget_ns([clip], now) is None
    assert pressure.budget_ns([], now) is None


def test_a_feed_that_has_been_silent_sets_no_budget() -> None:
    feed = _feed()
    assert feed.last_arrival_ns is not None
    assert Pressure().budget_ns([feed], feed.last_arrival_ns + 2_000 * MS - 1) == BUDGET
    assert Pressure().budget_ns([feed], feed.last_arrival_ns + 2_000 * MS) is None


@pytest.mark.parametrize(
    ("level", "window", "period_ms"),
    [
        (2, {}, 66.0),  # twice the interval of the frames
        (3, {}, 132.0),
        (2, {"period_ms": 100.0}, 200.0),  # twice what the manifest asks for
        (3, {"period_ms": 100.0}, 400.0),
        (2, {"period_ms": 100.0, "max_gap_ms": 240.0}, 160.0),  # a gap may hold one and a half periods
        (1, {"period_ms": 100.0}, 100.0),
    ],
)
def test_a_period_is_stretched_as_far_as_its_gap_allows(level: int, window: dict[str, float], period_ms: float) -> None:
    pressure, feed = Pressure(), _feed(window_heavy=False, **window)
    _climb(pressure, [feed], level)
    assert feed.session.settings.period_ms == pytest.approx(period_ms, abs=0.1)
    assert pressure.degraded(feed) == ("rate" if level == 1 else "period")


def test_nothing_is_said_of_who_is_not_behind_and_of_clips() -> None:
    pressure, feed = Pressure(), _feed()
    assert pressure.degraded(feed) is None
    _climb(pressure, [feed], 2)
    assert pressure.degraded(feed) == "hop"
    assert pressure.degraded(_feed(policy="all")) is None
