"""A bounded place between a thread that must not wait and one that takes when it can.

Owns where live frames may be lost, and that each loss is counted. Does not own threads, or what an item is: frames read
together go in as one item, so that a group is lost or kept whole.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Policy = Literal["latest", "all"]
T = TypeVar("T")


class Closed(Exception):
    """The mailbox was closed, and everything in it has been taken."""


class MailboxFull(Exception):
    """A mailbox that may lose nothing has no room; the item was not taken in."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the items put in: `received` = `taken` + `superseded` + `waiting`, at every moment."""

    received: int
    taken: int
    superseded: int
    waiting: int


class Mailbox(Generic[T]):
    """A first-in, first-out queue of at most `capacity` items for any number of threads; no call waits.

    Policy "latest": a full mailbox gives up its oldest item for a new one (with capacity 1: newest wins). "all": it refuses.
    `on_put` is called after each put and after `close`, outside the lock, in the caller's thread: to wake the taker.
    """

    def __init__(self, capacity: int = 1, policy: Policy = "latest", on_put: Callable[[], None] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox of capacity {capacity} can hold nothing; give at least 1")
        if policy not in ("latest", "all"):
            raise ValueError(f"no mailbox policy {policy!r}; there are: latest, all")
        self._capacity, self._policy, self._on_put = capacity, policy, on_put
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._error: BaseException | None = None
        self._received = self._taken = self._superseded = 0

    def put(self, item: T) -> tuple[T, ...]:
        """Add `item` and return those that gave way to it, oldest first.

        Raises:
            MailboxFull: there is no room and the policy is "all".
            Closed: the mailbox was closed.
        """
        gone: tuple[T, ...] = ()
        with self._lock:
            if self._closed:
                raise Closed("put into a closed mailbox")
            if len(self._items) >= self._capacity:
                if self._policy == "all":
                    raise MailboxFull(f"mailbox holds {len(self._items)} items, its capacity; take some or put less often")
                gone = (self._items.popleft(),)
                self._superseded += 1
            self._items.append(item)
            self._received += 1
        if self._on_put is not None:
            self._on_put()
        return gone

    def take(self) -> T | None:
        """Return the oldest item, or None if there is none yet.

        Raises:
            Closed: closed without an error, and empty. Closed with one, it is that error which is raised.
        """
        with self._lock:
            if self._items:
                self._taken += 1
                return self._items.popleft()
            if not self._closed:
                return None
            error = self._error
        raise error if error is not None else Closed("the mailbox is closed and empty")

    def close(self, error: BaseException | None = None) -> None:
        """Take in nothing more; once empty, `take` raises `error`, or Closed. Only the first close counts."""
        with self._lock:
            if self._closed:
                return
            self._closed, self._error = True, error
        if self._on_put is not None:
            self._on_put()

    @property
    def counts(self) -> Counts:
        """Return what became of the items, all read at one moment."""
        with self._lock:
            return Counts(self._received, self._taken, self._superseded, len(self._items))

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)
