"""Another machine's monotonic clock as seen from here: four timestamps per exchange, the least delayed of the last ones believed.

Owns the estimate. Does not own the messages (`link.py`) or who sends them. Pure: it reads no clock.
Source: RFC 5905 (NTP), section 8 (offset and delay of an exchange) and section 10 (the clock filter: of eight, the least delayed).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 8
DRIFT_PPM = 100
"""By how much two machines' clocks may drift apart, for what an old exchange is worth; crystals are within ±50 each."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and answer, ns: asked (our clock), heard and answered (theirs), received (ours)."""

    asked_ns: int
    heard_ns: int
    answered_ns: int
    received_ns: int

    @property
    def delay_ns(self) -> int:
        """Return the time on the way, there and back."""
        return (self.received_ns - self.asked_ns) - (self.answered_ns - self.heard_ns)

    @property
    def offset_ns(self) -> int:
        """Return their clock less ours, if both ways took as long."""
        return ((self.heard_ns - self.asked_ns) + (self.answered_ns - self.received_ns)) // 2


@dataclass(frozen=True, slots=True)
class Offset:
    """Their clock less ours, and what it may be off by: half the delay (the two ways may differ), and drift since."""

    offset_ns: int
    uncertainty_ns: int

    def ours(self, theirs_ns: int) -> int:
        """Return our time at their `theirs_ns`."""
        return theirs_ns - self.offset_ns

    def theirs(self, ours_ns: int) -> int:
        """Return their time at our `ours_ns`."""
        return ours_ns + self.offset_ns


class RemoteClock:
    """Follows one other machine's clock, exchange by exchange, in the order they ended."""

    def __init__(self) -> None:
        self._kept: deque[Exchange] = deque(maxlen=KEPT)

    def __len__(self) -> int:
        return len(self._kept)

    def restart(self) -> None:
        """Forget everything: the connection is a new one, and the other machine may have been restarted."""
        self._kept.clear()

    def add(self, exchange: Exchange) -> None:
        """Take in an exchange; one that says its answer came before the question, or took less than no time, is not believed.

        Their clock may run fast by `DRIFT_PPM` while they answer: by so much an honest delay may come out below nothing.
        """
        least = -_drift(exchange.answered_ns - exchange.heard_ns)
        if exchange.received_ns >= exchange.asked_ns and exchange.answered_ns >= exchange.heard_ns and exchange.delay_ns >= least:
            self._kept.append(exchange)

    def offset(self, now_ns: int) -> Offset | None:
        """Return the estimate at our time `now_ns`; None before the first exchange."""
        if not self._kept:
            return None
        best = min(self._kept, key=lambda exchange: _worth(exchange, now_ns))
        return Offset(best.offset_ns, _worth(best, now_ns))


def _worth(exchange: Exchange, now_ns: int) -> int:
    # Drift counts from the question on: the exchange itself took time, too.
    return max(0, exchange.delay_ns) // 2 + _drift(max(now_ns, exchange.received_ns) - exchange.asked_ns)


def _drift(span_ns: int) -> int:
    """Return what two clocks may drift apart in a time, rounded up, and what whole nanoseconds hide."""
    return -(-span_ns * DRIFT_PPM // 1_000_000) + 2
