"""A device's clock, mapped to the host's: offset, drift and uncertainty from the stamps of the frames themselves.

Owns the estimate and what is a jump of the device's clock. Does not own frames (`frame.py`) or what a jump means (`rig.py`). Pure: it
reads no clock, and its memory is bounded.

A frame stamped d by its device arrives at a = d + offset + drift·d + delay, where the delay is never below some least one. So
the points (d, a − d) lie above a line, and the best line under them is the edge of their lower convex hull that is over their middle.
Few points allow lines of other drifts as well: the estimate is the mean over all of them, each weighted by how probable it makes the
delays (exponential over the least one, as wide as the points are) and by how probable such a drift is. The least delay is part of
the offset: stamps alone cannot tell them apart, `SourceInfo`'s user may (`latency_ms` of a rig).

Source: Moon, Skelly, Towsley 1999, "Estimation and removal of clock skew from network delay measurements" (the line);
Zhang, Liu, Xia 2002, "Clock synchronization algorithms for network measurements" (the hull). The mean over lines is ours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np

WINDOW_S = 60.0
BUCKET_S = 0.4
"""Of each bucket only the least delayed frame counts."""
USUAL_DRIFT = 70e-6
"""Standard deviation of drifts, before anything is known of a device. Crystals are within it."""
LINES = 61
STEEPEST = 250e-6
STEEPEST_PER_S = 30e-6
"""The steepest drift believed, and what is added per second that the estimate spans."""
LATE_NS = 20_000_000
JUMP_NS = 20_000_000
EARLY_NS = 10_000_000
"""A frame that much earlier than the line allows, after a step of the device that was too long by the half of it at least: a jump."""
CONFIRM_NS = 400_000_000
"""How long all frames must come late after a step of the device that was too short, for its clock to have been set back."""
ESTABLISHED = 16
"""Frames after which a frame that comes much later than the line is taken for a late one, not for a sign of drift."""
FIRST_GUESS_NS = 30_000_000
RECENT = 16
RANK, SHARE = 6, 4
"""How far the last of the least delayed points, a quarter of all and this many at least, lies over the line is part of the uncertainty: a
jitter that hardly ever comes near its least has its points far apart."""

Verdict = Literal["ok", "late", "jump"]


@dataclass(frozen=True, slots=True)
class ClockFix:
    """An estimate. Host time of device time d: d + `offset_ns` + (d − `at_device_ns`)·`drift_ppm`/10⁶.

    `uncertainty_ns`: what the estimate may be off by, by its own lights, the least delay not counted; `frames` seen and `epoch`, the
    number of this time base (a jump or restart begins the next), counting from 1.
    """

    at_device_ns: int
    offset_ns: int
    drift_ppm: float
    uncertainty_ns: int
    frames: int
    epoch: int

    def host_ns(self, device_ns: int) -> int:
        """Return the host's monotonic time at the device's time `device_ns`."""
        return device_ns + self.offset_ns + round((device_ns - self.at_device_ns) * self.drift_ppm * 1e-6)


class DeviceClock:
    """Follows one device's clock, frame by frame, in the order they come."""

    def __init__(self) -> None:
        self._epoch = 0
        self._spread_ns = float(FIRST_GUESS_NS)
        self.restart()

    def restart(self) -> None:
        """Begin a new time base: the device was opened again, or its clock has jumped."""
        self._epoch += 1
        self._points: deque[tuple[float, float]] = deque()
        self._steps: deque[int] = deque(maxlen=RECENT)
        self._over: deque[float] = deque(maxlen=RECENT)
        self._last: tuple[int, int] | None = None
        self._late_from: int | None = None
        self._set_back = False
        self._zero: tuple[int, int] = (0, 0)
        self._slope = self._height = self._doubt = 0.0
        self._frames = 0

    @property
    def fix(self) -> ClockFix | None:
        """Return the estimate at the newest frame, or None before the first."""
        if self._last is None:
            return None
        device_ns = self._last[0]
        x = (device_ns - self._zero[0]) / 1e9
        offset_ns = self._zero[1] + round(self._height + self._slope * x * 1e9)
        return ClockFix(device_ns, offset_ns, self._slope * 1e6, round(self._uncertainty(x)), self._frames, self._epoch)

    def observe(self, device_ns: int, arrival_ns: int) -> Verdict:
        """Take a frame's two stamps. `jump`: the device's clock has jumped and the estimate began anew with this frame; `late`: the
        frame came so late that it says nothing about the clock."""
        over = self._over_line(device_ns, arrival_ns)
        jumped = self._last is not None and self._jumps(device_ns, arrival_ns, over)
        if jumped:
            self.restart()
            over = 0.0
        if self._last is None:
            self._zero = (device_ns, arrival_ns - device_ns)
        else:
            self._steps.append(device_ns - self._last[0])
        self._last = (device_ns, arrival_ns)
        self._frames += 1
        self._over.append(max(0.0, over))
        # Upwards only drift moves the line: a source that has become late for good must not be mapped late.
        if self._late_from is not None:
            return "late"
        x = (device_ns - self._zero[0]) / 1e9
        if self._keep(x, float(arrival_ns - device_ns - self._zero[1])) or over < 0:
            self._fit()
        return "jump" if jumped else "ok"

    def _over_line(self, device_ns: int, arrival_ns: int) -> float:
        """Return how much later than the line says a frame came, ns."""
        x = (device_ns - self._zero[0]) / 1e9
        return float(arrival_ns - device_ns - self._zero[1]) - self._height - self._slope * x * 1e9 if self._frames else 0.0

    def _jumps(self, device_ns: int, arrival_ns: int, over: float) -> bool:
        """Tell a jump from lateness by the steps: a late device goes on stamping at its rate, one whose clock jumped does not."""
        assert self._last is not None
        step, passed = device_ns - self._last[0], arrival_ns - self._last[1]
        if step <= 0:
            return True
        if len(self._steps) < 3:
            return step > passed + 10**9
        usual = median(self._steps)
        if -over > EARLY_NS + self._doubt and step - usual > -over / 2:
            return True
        if step < 0.5 * usual and passed - step > JUMP_NS:
            return True
        return self._stays_late(arrival_ns, over, usual - step)

    def _stays_late(self, arrival_ns: int, over: float, short: float) -> bool:
        """Note whether a frame is late. Tell whether that is the clock: all have been for a while, and the first one's step was `short`."""
        if self._frames <= ESTABLISHED or over <= LATE_NS + self._doubt:
            self._late_from = None
            return False
        if self._late_from is None:
            self._late_from, self._set_back = arrival_ns, short > over / 2
        return self._set_back and arrival_ns - self._late_from >= CONFIRM_NS

    def _keep(self, x: float, y: float) -> bool:
        """Put a point among those kept; return whether a bucket has begun with it."""
        points = self._points
        if points and int(points[-1][0] / BUCKET_S) == int(x / BUCKET_S):
            if y < points[-1][1]:
                points[-1] = (x, y)
            return len(points) == 1
        points.append((x, y))
        while points[0][0] < x - WINDOW_S:
            points.popleft()
        return True

    def _fit(self) -> None:
        points = np.array(self._points)
        x, y = points[:, 0], points[:, 1]
        end, span = float(x[-1]), float(x[-1] - x[0])
        steepest = (STEEPEST + STEEPEST_PER_S * span) * 1e9
        edge = min(max(_edge(self._points), -steepest), steepest)
        # The median: a backlog that drains as a camera opens is no jitter.
        delay = max(float(np.median(y - edge * x) - np.min(y - edge * x)), 1e3) / len(points)
        # Lines that touch the points from below, as far from the hull's edge as the points leave any doubt.
        width = 12 * delay / max(span / 4, BUCKET_S)
        slopes = np.clip(np.linspace(edge - width, edge + width, LINES), -steepest, steepest)
        heights = (y[:, None] - x[:, None] * slopes).min(0)
        likely = (heights + slopes * x.mean()) / delay - 0.5 * (slopes / (USUAL_DRIFT * 1e9)) ** 2
        weights = np.exp(likely - likely.max())
        weights /= weights.sum()
        ends = heights + slopes * end - delay
        here = float(weights @ ends)
        slope = float(weights @ slopes)
        over = np.sort(y - slope * x)
        known = float(over[min(max(RANK, len(over) // SHARE), len(over) - 1)] - over[0])
        self._slope, self._height = slope / 1e9, here - slope * end
        if len(over) > RANK:
            self._spread_ns = float(over[len(over) // 2] - over[0])
            self._doubt = 2 * float(np.sqrt(weights @ (ends - here) ** 2 + delay**2)) + known
        else:
            # The jitter that was seen before the jump, while there are few points.
            self._doubt = max(known, self._spread_ns)

    def _uncertainty(self, x: float) -> float:
        """Return the estimate's doubt, the drift's over the time since the newest point, and how late all recent frames have come."""
        age_s = x - self._points[-1][0] if self._points else 0.0
        late_ns = min(self._over) if len(self._over) == RECENT or self._frames > ESTABLISHED else 0.0
        if self._late_from is not None and self._set_back:
            late_ns = self._over[-1]
        span = max(1.0, self._points[-1][0] - self._points[0][0]) if self._points else 1.0
        return self._doubt * (1 + age_s / span) + (late_ns if late_ns > LATE_NS else 0.0)


def _edge(points: deque[tuple[float, float]]) -> float:
    """Return the slope of the lower hull over the points' middle; 0 for one point."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
                break
            hull.pop()
        hull.append((x, y))
    middle = sum(x for x, _ in points) / len(points)
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x1 >= middle:
            return (y1 - y0) / (x1 - x0)
    return 0.0
