"""Which used frames are sampled.

Owns the target-time rule of SEMANTICS ("Sampling"). Causal, per session, and it never resamples: a period of 250 ms
gives 4.00 Hz from any source of 4.1–60 fps, and every per-frame result stays valid.
"""

from __future__ import annotations

EARLY = 0.25
"""A frame this share of a period before its target is taken: the next would be further from it."""


class Sampler:
    """Decides for each used frame whether it is sampled. `period_ns` None: every one."""

    __slots__ = ("_period_ns", "_target_ns")

    def __init__(self, period_ns: int | None) -> None:
        if period_ns is not None and period_ns <= 0:
            raise ValueError(f"sampling period {period_ns} ns must be greater than 0, or None for every frame")
        self._period_ns = period_ns
        self._target_ns: int | None = None

    def restart(self) -> None:
        """Forget the target: the next frame is sampled."""
        self._target_ns = None

    def admit(self, t_ns: int) -> bool:
        """Return whether the frame at `t_ns` is sampled, and move the target on if it is."""
        period, target = self._period_ns, self._target_ns
        if period is None:
            return True
        if target is not None and t_ns < target - EARLY * period:
            return False
        self._target_ns = t_ns + period if target is None or t_ns > target + period else target + period
        return True
