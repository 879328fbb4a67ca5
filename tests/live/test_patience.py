"""Bundles that come several at once are all used, if they can be used in time; else the newest win."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.frame import Frame
from service.feed import PATIENT, Arrival, Feed, FeedOptions
from service.perception.synthetic import SyntheticPerception
from service.session import Session
from service.settings import SessionOptions
from tests.session.world import D, model

MS = 1_000_000
PIXELS = np.zeros((2, 2, 3), np.uint8)


def _feed(patience_ns: int) -> Feed:
    session = Session(model(4, 4, 2), SyntheticPerception(D), SessionOptions())
    options = FeedOptions("m", patience_ns=patience_ns, max_fps=10_000)
    return Feed("f", session, options, lambda output: None, lambda: None, ThreadPoolExecutor(1))


def _put(feed: Feed, ages_ms: list[int]) -> list[int]:
    """Put in frames that came so long ago, together, and return the numbers of those that can be taken."""
    now = time.monotonic_ns()
    for age_ms in ages_ms:
        number, arrival_ns = feed.receive(), now - age_ms * MS
        feed.put(Arrival(number, arrival_ns, arrival_ns, "host", {"color": Frame("c", "color", number, None, arrival_ns, PIXELS)}))
    taken = []
    while (arrival := feed.take()) is not None:
        taken.append(arrival.number)
    return taken


def _superseded(feed: Feed) -> int:
    return sum(count for reason, count in feed.ledger.counts().dropped.items() if reason == "superseded")


@pytest.mark.parametrize(("patience_ms", "ages_ms", "taken"), [
    (0, [99, 66, 33, 0], [4]),  # the newest wins
    (10_000, [99, 66, 33, 0], [1, 2, 3, 4]),
    (10_000, [90_000, 80_000, 33, 0], [3, 4]),
    (10_000, [90_000, 80_000], [2]),  # too old, and still the newest there is
])  # fmt: skip
def test_what_is_used_of_frames_that_come_together(patience_ms: int, ages_ms: list[int], taken: list[int]) -> None:
    feed = _feed(patience_ms * MS)
    assert _put(feed, ages_ms) == taken
    assert _superseded(feed) == len(ages_ms) - len(taken)


@given(st.lists(st.integers(0, 400), max_size=3 * PATIENT, unique=True))
def test_each_ends_as_one_thing_and_no_more_wait_than_may(ages_s: list[int]) -> None:
    feed = _feed(200_000 * MS)
    taken = _put(feed, [age * 1000 for age in sorted(ages_s, reverse=True)])
    assert taken == sorted(taken)
    assert len(taken) <= PATIENT
    assert len(taken) + _superseded(feed) == len(ages_s)
    young = sum(age < 200 for age in ages_s)
    assert min(young, PATIENT) <= len(taken) <= max(1, young)
