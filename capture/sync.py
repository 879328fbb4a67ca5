"""Frames of several sources to bundles: one bundle per frame of the clock source, with the nearest frame of each other.

Owns the matching, what is held or missing, the deadline and what becomes of frames that no bundle takes. Does not own device clocks
(`clock.py`), the health of sources (`health.py`) or who feeds it (`rig.py`). Pure: host time comes in with frames and ticks.

Each source's frames come in the order of their times. For each frame of the clock source, in order, every other source gives the frame
nearest in time among its newer ones and the one it gave last: so each frame is new in one bundle at most, and bundles never cross. A
frame is *held* if a bundle had it before, or if it is older than the tolerance allows, which it may be up to the source's `hold_ns`. A
choice is final when no nearer frame can come, because a later one is there or the source's least interval rules it out, or when the
deadline has passed for the clock source's frame: then what is there is taken. A frame whose time is not known to within the tolerance
is paired with nothing. The order of arrival matters through the deadline alone.

Source: ROS message_filters' ApproximateTime policy is the model (wiki.ros.org/message_filters/ApproximateTime); ours emits partial sets
at a deadline and gives a bundle to every frame of one source.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from capture.frame import Bundle, Frame

LONGEST_QUEUE = 64


@dataclass(frozen=True, slots=True)
class SyncSource:
    """One source as the synchroniser sees it. `least_interval_ns`: no two of its frames are nearer in time (0: not known, so a choice waits
    for a later frame); `hold_ns`: a frame may be used again up to this far from it in time."""

    name: str
    least_interval_ns: int = 0
    hold_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Stamped:
    """A frame and its time on the host's monotonic clock, known to `doubt_ns`. `usable`: it shows the scene."""

    frame: Frame
    t_ns: int
    doubt_ns: int = 0
    usable: bool = True


@dataclass(slots=True)
class _Lane:
    """What waits of one source. `first_ns`, `newest_ns`: times of its first and newest frame in this time base;
    `broken`: there was one before, and nothing is paired across; `fates`: how many of its frames were used, skipped, late, or unusable."""

    source: SyncSource
    queue: deque[Stamped] = field(default_factory=deque)
    last: Stamped | None = None
    newest_ns: int | None = None
    first_ns: int | None = None
    broken: bool = False
    awaited: bool = True
    fates: Counter[str] = field(default_factory=Counter)


class Synchroniser:
    """Matches frames of `sources`, the first of which is the clock source. `tolerance_ns`: how far a frame may be from the clock source's;
    `deadline_ns`: how long after its arrival a frame of the clock source waits for the others."""

    def __init__(self, sources: Sequence[SyncSource], tolerance_ns: int, deadline_ns: int) -> None:
        self._clock, *others = sources
        self._lanes = {source.name: _Lane(source) for source in others}
        self._tolerance_ns, self._deadline_ns = tolerance_ns, deadline_ns
        self._waiting: deque[Stamped] = deque()
        self._now_ns = self._last_ns = 0
        self._number = 0
        self._fates: Counter[str] = Counter()

    @property
    def fates(self) -> Mapping[str, Mapping[str, int]]:
        """Return, by source, what became of its frames: used, skipped (a nearer one was taken), late (its time had been dealt with),
        unusable, or waiting. Their sum is what was put in."""
        told = {self._clock.name: Counter(self._fates)}
        told[self._clock.name]["waiting"] = len(self._waiting)
        for name, lane in self._lanes.items():
            told[name] = Counter(lane.fates)
            told[name]["waiting"] = len(lane.queue)
        return told

    def put(self, stamped: Stamped) -> list[Bundle]:
        """Take a frame and return the bundles that are complete with it, in order."""
        frame = stamped.frame
        self._now_ns = max(self._now_ns, frame.arrival_t_ns)
        if frame.source == self._clock.name:
            self._waiting.append(stamped)
        else:
            self._enter(self._lanes[frame.source], stamped)
        return self._complete()

    def tick(self, now_ns: int) -> list[Bundle]:
        """Note host time `now_ns` and return the bundles whose deadline has passed."""
        self._now_ns = max(self._now_ns, now_ns)
        return self._complete()

    def await_source(self, name: str, awaited: bool) -> list[Bundle]:
        """Wait for a source's frames, or do so no longer: it is lost. Return what is complete with that."""
        if name in self._lanes:
            self._lanes[name].awaited = awaited
        return self._complete()

    def forget(self, name: str) -> list[Bundle]:
        """Break with a source's past, its clock having jumped: nothing from before is paired with anything after.

        What waits of the clock source is given out first.
        """
        done = self.flush()
        for lane in self._lanes.values() if name == self._clock.name else (self._lanes[name],):
            lane.last, lane.newest_ns, lane.first_ns, lane.broken = None, None, None, lane.source.name == name
            lane.fates["skipped"] += len(lane.queue)
            lane.queue.clear()
        return done

    def flush(self) -> list[Bundle]:
        """Return a bundle for each frame of the clock source that waits, with what is there."""
        return [self._bundle(self._waiting.popleft()) for _ in range(len(self._waiting))]

    # Matching.

    def _enter(self, lane: _Lane, stamped: Stamped) -> None:
        if not stamped.usable or self._is_doubtful(stamped):
            lane.fates["unusable"] += 1
            return
        if lane.newest_ns is not None and stamped.t_ns <= lane.newest_ns:
            lane.fates["late"] += 1
            return
        lane.newest_ns = stamped.t_ns
        lane.first_ns = stamped.t_ns if lane.first_ns is None else lane.first_ns
        if self._number and stamped.t_ns < self._last_ns - self._reach_ns(lane):
            lane.fates["late"] += 1
            return
        lane.queue.append(stamped)
        if len(lane.queue) > LONGEST_QUEUE:
            lane.queue.popleft()
            lane.fates["skipped"] += 1

    def _complete(self) -> list[Bundle]:
        done = []
        while self._waiting and self._is_final(self._waiting[0]):
            done.append(self._bundle(self._waiting.popleft()))
        return done

    def _is_final(self, clock: Stamped) -> bool:
        if self._now_ns >= clock.frame.arrival_t_ns + self._deadline_ns or len(self._waiting) > LONGEST_QUEUE or self._is_doubtful(clock):
            return True
        return all(self._is_settled(lane, clock.t_ns) for lane in self._lanes.values())

    def _is_doubtful(self, stamped: Stamped) -> bool:
        return stamped.doubt_ns > self._tolerance_ns

    def _is_settled(self, lane: _Lane, t_ns: int) -> bool:
        """Tell whether no frame that may still come could be a better choice than what is there."""
        if not lane.awaited:
            return True
        if lane.newest_ns is None:
            return False
        soonest_ns = lane.newest_ns + max(1, lane.source.least_interval_ns)
        if soonest_ns > t_ns + self._tolerance_ns:
            return True
        best = self._nearest(lane, t_ns)
        return best is not None and soonest_ns > t_ns and soonest_ns - t_ns >= abs(best.t_ns - t_ns)

    def _nearest(self, lane: _Lane, t_ns: int) -> Stamped | None:
        """Return the frame nearest to `t_ns` that may be given: a new one or the last; of two equally near the earlier."""
        best: Stamped | None = None
        if lane.broken and (lane.first_ns is None or t_ns < lane.first_ns):
            return None
        for stamped in (*(() if lane.last is None else (lane.last,)), *lane.queue):
            older_ns = t_ns - stamped.t_ns
            if -self._tolerance_ns <= older_ns <= self._reach_ns(lane) and (best is None or abs(older_ns) < abs(best.t_ns - t_ns)):
                best = stamped
        return best

    def _reach_ns(self, lane: _Lane) -> int:
        return max(self._tolerance_ns, lane.source.hold_ns)

    def _bundle(self, clock: Stamped) -> Bundle:
        self._number += 1
        self._last_ns = clock.t_ns
        self._fates["used"] += 1
        given = [(name, (None, False) if self._is_doubtful(clock) else self._give(lane, clock.t_ns)) for name, lane in self._lanes.items()]
        there = {name: stamped for name, (stamped, _) in given if stamped is not None}
        frames = {clock.frame.source: clock.frame} | {name: stamped.frame for name, stamped in there.items()}
        return Bundle(
            self._number, clock.t_ns, "host", max(frame.arrival_t_ns for frame in frames.values()), frames,
            {name: stamped.t_ns - clock.t_ns for name, stamped in there.items()},
            tuple(name for name, (stamped, _) in given if stamped is None),
            tuple(name for name, (stamped, held) in given if stamped is not None and held),
        )  # fmt: skip

    def _give(self, lane: _Lane, t_ns: int) -> tuple[Stamped | None, bool]:
        """Take the lane's frame for the clock's time `t_ns`; return it and whether it is held. What is older than it is done with."""
        best = self._nearest(lane, t_ns)
        held = best is not None and (best is lane.last or t_ns - best.t_ns > self._tolerance_ns)
        done_ns = t_ns - self._reach_ns(lane) - 1 if best is None else best.t_ns
        while lane.queue and lane.queue[0].t_ns <= done_ns:
            lane.fates["used" if lane.queue.popleft() is best else "skipped"] += 1
        lane.last = best or lane.last
        return best, held
