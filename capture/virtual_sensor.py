"""A sensor that lies as real ones do: its own rate and clock, delays, and scripted faults.

Owns when an imaginary sensor exposes, what it stamps, when the host gets the frame, and what is wrong with it. Does not own what it sees
(`virtual_world.py`) or waiting for it (`drivers/virtual.py`). Pure: a sensor is a function of its options and a number.

Faults are written KIND@AT+FOR:BY, seconds, separated by commas: `unplug@10+3` is gone for 3 s from second 10 on and comes back with its
clock at zero; `freeze@20+2` repeats one picture; `shutter@30+1.5` does and says so (a thermal camera's shutter); `late@40+5:2` hands its
frames on 2 s late for 5 s; `jump@50:-0.7` sets its clock back by 0.7 s for good.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

Kind = Literal["unplug", "freeze", "shutter", "late", "jump"]
_FAULT = re.compile(r"(unplug|freeze|shutter|late|jump)@([0-9.]+)(?:\+([0-9.]+))?(?::(-?[0-9.]+))?")
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One scripted fault: from `at_ns`, for `for_ns`, by `by_ns`."""

    kind: Kind
    at_ns: int
    for_ns: int = 0
    by_ns: int = 0

    def holds(self, t_ns: int) -> bool:
        """Tell whether the fault is on at `t_ns` after the start."""
        return self.at_ns <= t_ns < self.at_ns + self.for_ns


@dataclass(frozen=True, slots=True)
class Timing:
    """How a sensor keeps time. `offset_ns`, `drift_ppm`: of its clock against the host's; a frame arrives `delay_ns` and up to `jitter_ns`
    after the end of its exposure; `phase`: of its first frame, in parts of a period."""

    fps: float
    offset_ns: int = 0
    drift_ppm: float = 0.0
    delay_ns: int = 0
    jitter_ns: int = 0
    exposure_ns: int = 0
    phase: float = 0.0
    seed: int = 0
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure, truth and lie: `t_ns`, the true host time of its middle; `device_t_ns`, what the sensor stamps (its start, by its
    clock); `picture_t_ns`, `picture`: of which moment and number the picture is; `arrival_ns`."""

    index: int
    t_ns: int
    device_t_ns: int
    arrival_ns: int
    picture_t_ns: int
    picture: int
    flags: frozenset[str]


def faults(text: str) -> tuple[Fault, ...]:
    """Return the faults that `text` describes.

    Raises:
        ValueError: it describes none that there are.
    """
    found = []
    # In a URI's query a + is read as a blank.
    for part in filter(None, (part.strip().replace(" ", "+") for part in text.split(","))):
        match = _FAULT.fullmatch(part)
        if match is None or (match[1] == "jump") == (match[3] is not None) or (match[1] in ("late", "jump")) != (match[4] is not None):
            raise ValueError(f"fault {part[:40]!r} is not like unplug@10+3, freeze@20+2, shutter@30+1.5, late@40+5:2 or jump@50:-0.7")
        at, length, by = (round(float(word or 0) * 1e9) for word in match.groups()[1:])
        found.append(Fault(cast(Kind, match[1]), at, length, by))
    return tuple(found)


class Sensor:
    """A sensor switched on at host time `zero_ns`."""

    def __init__(self, timing: Timing, zero_ns: int) -> None:
        self._timing, self._zero_ns = timing, zero_ns
        self._of = {kind: [f for f in timing.faults if f.kind == kind] for kind in ("unplug", "freeze", "shutter", "late", "jump")}

    def plugged(self, t_ns: int) -> bool:
        """Tell whether the sensor is there at host time `t_ns`."""
        return not any(fault.holds(t_ns - self._zero_ns) for fault in self._of["unplug"])

    def exposures(self, first: int = 0) -> Iterator[Exposure]:
        """Yield the exposures from number `first` on, in order; none while it is unplugged."""
        newest_ns, index = 0, first
        while True:
            exposure = self._exposure(index)
            index += 1
            # One cable: a frame never overtakes the one before.
            newest_ns = max(newest_ns + 1, exposure.arrival_ns)
            if self.plugged(exposure.t_ns):
                yield replace(exposure, arrival_ns=newest_ns)

    def index_at(self, t_ns: int) -> int:
        """Return the number of the first exposure at or after host time `t_ns`."""
        return max(0, math.ceil((t_ns - self._zero_ns) * self._timing.fps / 1e9 - self._timing.phase - 1e-6))

    def _exposure(self, index: int) -> Exposure:
        timing = self._timing
        t_ns = self._start_ns(index)
        since_ns = t_ns - self._zero_ns
        half_ns = timing.exposure_ns // 2
        late_ns = sum(fault.by_ns for fault in self._of["late"] if fault.holds(since_ns))
        jitter_ns = round(timing.jitter_ns * _even(timing.seed, index))
        stuck = next((fault for kind in ("freeze", "shutter") for fault in self._of[kind] if fault.holds(since_ns)), None)
        seen = self.index_at(self._zero_ns + stuck.at_ns) if stuck is not None else index
        flags = frozenset({"shutter"}) if stuck is not None and stuck.kind == "shutter" else frozenset[str]()
        return Exposure(
            index, t_ns, self._stamp_ns(t_ns - half_ns), t_ns + half_ns + timing.delay_ns + jitter_ns + late_ns,
            self._start_ns(seen), seen, flags,
        )  # fmt: skip

    def _start_ns(self, index: int) -> int:
        return self._zero_ns + round((index + self._timing.phase) * 1e9 / self._timing.fps)

    def _stamp_ns(self, t_ns: int) -> int:
        """Return what the sensor's clock shows at host time `t_ns`."""
        since_ns = t_ns - self._zero_ns
        drifted = since_ns + round(since_ns * self._timing.drift_ppm * 1e-6)
        plugged = max((fault.at_ns + fault.for_ns for fault in self._of["unplug"] if fault.at_ns + fault.for_ns <= since_ns), default=None)
        jumped = sum(fault.by_ns for fault in self._of["jump"] if fault.at_ns <= since_ns and (plugged is None or fault.at_ns > plugged))
        if plugged is not None:
            # Power was gone: its clock began anew.
            return drifted - plugged + jumped
        return self._zero_ns + drifted + self._timing.offset_ns + jumped


def _even(seed: int, index: int) -> float:
    """Return a number in [0, 1) that depends on both and looks like chance.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64's finaliser).
    """
    z = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xD1B54A32D192ED03) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) / 2**64
