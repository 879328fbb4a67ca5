"""What became of every received frame.

Owns the numbers 1, 2, … and the sum that must hold: received = used + dropped + rejected + in flight. Lies beside a
session, for loss happens only before it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


class LedgerError(Exception):
    """A frame was accounted for twice, or never received: a bug in the caller, never bad input."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A reading of a ledger. `dropped` and `rejected` by reason and by code."""

    received: int
    used: int
    dropped: Mapping[str, int]
    rejected: Mapping[str, int]

    @property
    def in_flight(self) -> int:
        """Frames received whose fate is open."""
        return self.received - self.used - sum(self.dropped.values()) - sum(self.rejected.values())


class Ledger:
    """Numbers frames and takes down the one end of each. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._received = 0
        self._used = 0
        self._dropped: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()

    def receive(self) -> int:
        """Return the next number, counting from 1."""
        with self._lock:
            self._received += 1
            self._open.add(self._received)
            return self._received

    def used(self, number: int) -> None:
        """The frame went through detection."""
        with self._lock:
            self._end(number)
            self._used += 1

    def dropped(self, number: int, reason: str) -> None:
        """The frame was left out for want of time or room."""
        with self._lock:
            self._end(number)
            self._dropped[reason] += 1

    def rejected(self, number: int, code: str) -> None:
        """The frame could not be used."""
        with self._lock:
            self._end(number)
            self._rejected[code] += 1

    def counts(self) -> Counts:
        """Return a consistent reading."""
        with self._lock:
            return Counts(self._received, self._used, dict(self._dropped), dict(self._rejected))

    @property
    def in_flight(self) -> int:
        """Frames received whose fate is open."""
        return len(self._open)

    def _end(self, number: int) -> None:
        if number not in self._open:
            raise LedgerError(f"frame {number} has already ended or was never received (received: {self._received})")
        self._open.remove(number)
