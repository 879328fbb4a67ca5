"""Every received frame ends exactly once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ledger import Ledger, LedgerError


@given(st.lists(st.sampled_from(["receive", "use", "drop", "reject"]), max_size=80), st.randoms())
def test_the_sum_always_holds(acts: list[str], rng: object) -> None:
    ledger, open_numbers = Ledger(), []
    for act in acts:
        if act == "receive":
            open_numbers.append(ledger.receive())
        elif open_numbers:
            number = open_numbers.pop(rng.randrange(len(open_numbers)))  # type: ignore[attr-defined]
            if act == "use":
                ledger.used(number)
            elif act == "drop":
                ledger.dropped(number, "superseded")
            else:
                ledger.rejected(number, "time-order")
        counts = ledger.counts()
        assert counts.in_flight == len(open_numbers) == ledger.in_flight
        assert counts.received == counts.used + sum(counts.dropped.values()) + sum(counts.rejected.values()) + counts.in_flight


def test_numbers_count_from_one() -> None:
    ledger = Ledger()
    assert [ledger.receive() for _ in range(3)] == [1, 2, 3]


def test_a_second_end_and_an_end_without_a_beginning_are_bugs() -> None:
    ledger = Ledger()
    number = ledger.receive()
    ledger.used(number)
    with pytest.raises(LedgerError, match="frame 1 has already ended"):
        ledger.dropped(number, "superseded")
    with pytest.raises(LedgerError, match="frame 2"):
        ledger.rejected(2, "time-order")
    assert ledger.counts().used == 1


def test_losses_are_counted_by_their_reason() -> None:
    ledger = Ledger()
    assert [ledger.receive() for _ in range(8)] == [1, 2, 3, 4, 5, 6, 7, 8]
    ledger.used(1)
    for number, reason in ((2, "superseded"), (3, "rate"), (4, "rate"), (5, "closed")):
        ledger.dropped(number, reason)
    for number, code in ((6, "time-order"), (7, "image-broken")):
        ledger.rejected(number, code)
    counts = ledger.counts()
    assert (counts.received, counts.used, counts.in_flight, ledger.in_flight) == (8, 1, 1, 1)
    assert counts.dropped == {"superseded": 1, "rate": 2, "closed": 1}
    assert counts.rejected == {"time-order": 1, "image-broken": 1}
