"""A session's one clock: which kind it is, and whether a frame's time may be used.

Owns SEMANTICS' "Time". Does not map device clocks (`capture/`) or know wall time (`api/`).
"""

from __future__ import annotations

from typing import Literal

from capture.frame import Bundle, Clock
from service.events import Rejected

FORWARD_NS = 10_000_000_000
"""A frame further ahead of the last than this starts a new time base."""


class SessionClock:
    """Fixed by the first frame; then every frame's time is in order, rejected, or starts a new time base."""

    __slots__ = ("kind", "last_ns")

    def __init__(self) -> None:
        self.kind: Clock | None = None
        self.last_ns: int | None = None

    def judge(self, bundle: Bundle, gap_ns: int) -> Rejected | Literal["in-order", "reset"]:
        """Judge a bundle's time against the last used one; changes nothing but, at the first frame, the kind."""
        self.kind = self.kind or bundle.clock
        if bundle.clock != self.kind:
            detail = (
                f"frame {bundle.number} has time of clock '{bundle.clock}', but the session's first frame fixed '{self.kind}'; "
                "send t_capture_ns with every frame or with none"
            )
            return Rejected(bundle.number, "clock-mismatch", detail)
        if self.last_ns is None:
            return "in-order"
        step = bundle.t_ns - self.last_ns
        if step < -gap_ns or step > FORWARD_NS:
            return "reset"
        if step <= 0:
            detail = f"frame {bundle.number} is {-step / 1e6:.3f} ms before or at the last used frame; times must increase"
            return Rejected(bundle.number, "time-order", detail)
        return "in-order"
