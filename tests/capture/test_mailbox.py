"""No item is lost unseen: at every moment received = taken + superseded + waiting, in order, within bounds."""

from __future__ import annotations

import itertools
import threading
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from capture.mailbox import Closed, Counts, Mailbox, MailboxFull, Policy


class MailboxMachine(RuleBasedStateMachine):
    """A mailbox beside a model of it: a list of all that was put and where each went."""

    @initialize(capacity=st.integers(1, 4), policy=st.sampled_from(["latest", "all"]))
    def make(self, capacity: int, policy: Policy) -> None:
        self.capacity, self.policy = capacity, policy
        self.woken = 0
        self.box: Mailbox[int] = Mailbox(capacity, policy, self.wake)
        self.waiting: deque[int] = deque()
        self.taken: list[int] = []
        self.gone: list[int] = []
        self.next = self.wakes = 0
        self.closed: BaseException | None = None

    def wake(self) -> None:
        self.woken += 1
        len(self.box)  # would wait for ever if the lock were held

    @rule()
    def put(self) -> None:
        item = self.next
        if self.closed is not None:
            with pytest.raises(Closed):
                self.box.put(item)
        elif self.policy == "all" and len(self.waiting) == self.capacity:
            with pytest.raises(MailboxFull):
                self.box.put(item)
        else:
            full = len(self.waiting) == self.capacity
            expected = (self.waiting.popleft(),) if full else ()
            assert self.box.put(item) == expected
            self.waiting.append(item)
            self.gone += expected
            self.next += 1
            self.wakes += 1

    @rule()
    def take(self) -> None:
        if self.waiting:
            assert self.box.take() == self.waiting[0]
            self.taken.append(self.waiting.popleft())
        elif self.closed is None:
            assert self.box.take() is None
        else:
            with pytest.raises(type(self.closed)) as caught:
                self.box.take()
            assert isinstance(self.closed, Closed) or caught.value is self.closed

    @rule(error=st.sampled_from([None, "lost"]))
    def close(self, error: str | None) -> None:
        failure = None if error is None else OSError(error)
        self.box.close(failure)
        if self.closed is None:
            self.closed = failure or Closed()
            self.wakes += 1

    @invariant()
    def nothing_is_lost_unseen(self) -> None:
        assert self.box.counts == Counts(self.next, len(self.taken), len(self.gone), len(self.waiting))
        assert len(self.box) == len(self.waiting) <= self.capacity
        assert self.taken == sorted(self.taken)
        assert sorted([*self.taken, *self.gone, *self.waiting]) == list(range(self.next))
        assert self.woken == self.wakes


TestMailbox = MailboxMachine.TestCase
TestMailbox.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_newest_wins() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.put("a") == ()
    assert box.put("b") == ("a",)
    assert box.take() == "b"
    assert box.take() is None


def test_a_group_is_lost_or_kept_whole() -> None:
    box: Mailbox[list[str]] = Mailbox()
    box.put(["color 1", "depth 1"])
    assert box.put(["color 2", "depth 2"]) == (["color 1", "depth 1"],)
    assert box.take() == ["color 2", "depth 2"]


def test_many_threads_lose_nothing_unseen() -> None:
    arrived, done = threading.Semaphore(0), threading.Event()
    box: Mailbox[int] = Mailbox(8, "latest", arrived.release)
    seen: list[int] = []
    superseded: list[list[int]] = [[] for _ in range(4)]

    def produce(slot: int) -> None:
        for item in range(slot, 4000, 4):
            superseded[slot] += box.put(item)

    def consume() -> None:
        while True:
            last = done.is_set()
            item = box.take()
            if item is not None:
                seen.append(item)
            elif last:
                return
            else:
                arrived.acquire(timeout=0.01)

    consumer = threading.Thread(target=consume)
    producers = [threading.Thread(target=produce, args=(slot,)) for slot in range(4)]
    for thread in (consumer, *producers):
        thread.start()
    for thread in producers:
        thread.join()
    done.set()
    consumer.join()
    assert sorted([*seen, *itertools.chain(*superseded)]) == list(range(4000))
    assert all([item for item in seen if item % 4 == slot] == sorted(item for item in seen if item % 4 == slot) for slot in range(4))


@pytest.mark.parametrize(("capacity", "policy"), [(0, "latest"), (1, "newest")])
def test_a_mailbox_that_cannot_be(capacity: int, policy: Policy) -> None:
    with pytest.raises(ValueError, match=r"mailbox"):
        Mailbox(capacity, policy)
