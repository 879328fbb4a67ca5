"""Reading no faster than time passes: what drivers share that give frames when their stamps say.

Owns the nap and its length, and what a source does that has fallen behind. Does not own any stamp.
"""

from __future__ import annotations

import time

NAP_S = 0.25
"""The longest a paced read waits before it says "nothing yet"."""
LATE_NS = 10**9
"""A paced source this far behind goes on from here instead of hurrying."""


def nap_until(host_ns: int) -> bool:
    """Sleep until a host monotonic time, but no longer than a nap; return whether it has come (or will with this nap)."""
    early_s = (host_ns - time.monotonic_ns()) / 1e9
    time.sleep(min(max(early_s, 0.0), NAP_S))
    return early_s <= NAP_S


class Pace:
    """Ties a source's own time to the host's clock, from the first frame asked about."""

    def __init__(self) -> None:
        self._zero_ns: int | None = None

    def due(self, t_ns: int) -> bool:
        """Wait as `nap_until` does for the source's time `t_ns`."""
        now_ns = time.monotonic_ns()
        if self._zero_ns is None or now_ns - (self._zero_ns + t_ns) > LATE_NS:
            self._zero_ns = now_ns - t_ns
        return nap_until(self._zero_ns + t_ns)
