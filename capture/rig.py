"""Several sources as one: each frame's time on the host's clock, their health, and bundles of them.

Owns the composition, per source, of `clock.py`, `health.py` and the one `sync.py`. Does not own devices or threads (`ensemble.py`), or what
is done with bundles. Pure: `advance` takes frozen inputs one at a time, in the order they came, so that a log of them is the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from capture.clock import ClockFix, DeviceClock
from capture.frame import Bundle, Frame, Modality, SourceInfo, SourceState, Tick
from capture.health import Health
from capture.sync import Stamped, Synchroniser, SyncSource

Given = Frame | SourceState | Tick
"""What a rig takes: each frame as it came, what a reader says of its source, host time when nothing comes."""
Told = Bundle | SourceState
STALE = frozenset({"shutter", "frozen", "corrupt"})
"""A frame with one of these flags does not show the scene."""
SLACK = 0.75
"""Of the announced interval between two frames, what is relied upon."""


@dataclass(frozen=True, slots=True)
class RigSource:
    """A source of a rig. `mid_exposure`, `fps` as its driver says (`SourceInfo`); `latency_ns`: the least time from the instant stamped to
    the frame's arrival, if known; `hold_ns`: how long a frame may be used again."""

    name: str
    modality: Modality
    fps: float | None = None
    mid_exposure: bool = False
    latency_ns: int = 0
    hold_ns: int = 0

    def learned(self, info: SourceInfo) -> RigSource:
        """Return the source as its driver found it."""
        return RigSource(self.name, info.modality, info.fps or self.fps, info.mid_exposure, self.latency_ns, self.hold_ns)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How a source has been. `fates`: what became of its frames (`Synchroniser.fates`); `skew_ns`: of the newest bundle that had it."""

    state: str
    frames: int
    device_drops: int
    fix: ClockFix | None
    skew_ns: int | None
    fates: Mapping[str, int]


@dataclass(slots=True)
class _Kept:
    source: RigSource
    clock: DeviceClock
    health: Health
    frames: int = 0
    device_drops: int = 0
    last_ns: int | None = None
    skew_ns: int | None = None
    expects_restart: bool = False


class Rig:
    """Takes what sources give and says bundles and states. The first source is the clock source: a bundle for each of its frames."""

    def __init__(self, sources: Sequence[RigSource], tolerance_ns: int, deadline_ns: int) -> None:
        self._clock_name = sources[0].name
        self._kept = {s.name: _Kept(s, DeviceClock(), Health(s.name, s.modality)) for s in sources}
        lanes = [SyncSource(s.name, 0 if s.fps is None else round(SLACK * 1e9 / s.fps), s.hold_ns) for s in sources]
        self._sync = Synchroniser(lanes, tolerance_ns, deadline_ns)

    @property
    def reports(self) -> dict[str, SourceReport]:
        """Return how each source has been, by name."""
        fates = self._sync.fates
        return {
            name: SourceReport(kept.health.state, kept.frames, kept.device_drops, kept.clock.fix, kept.skew_ns, fates[name])
            for name, kept in self._kept.items()
        }

    def advance(self, given: Given) -> list[Told]:
        """Take one input; return the bundles and states it led to, in order."""
        if isinstance(given, Frame):
            return self._frame(given)
        if isinstance(given, Tick):
            return self._tick(given.t_ns)
        kept = self._kept[given.source]
        change = kept.health.told(given)
        if given.state == "lost":
            # What comes after may be another device's clock, or the same one's from zero.
            kept.expects_restart = True
        return self._changed(change)

    def flush(self) -> list[Bundle]:
        """Return bundles for the frames of the clock source that still wait: the end."""
        return self._noted(self._sync.flush())

    def _tick(self, now_ns: int) -> list[Told]:
        said: list[Told] = []
        for kept in self._kept.values():
            said += self._changed(kept.health.tick(now_ns))
        return said + self._noted(self._sync.tick(now_ns))

    def _frame(self, frame: Frame) -> list[Told]:
        kept = self._kept[frame.source]
        kept.frames += 1
        kept.device_drops += frame.dropped_before
        said = self._changed(kept.health.frame(frame))
        if kept.health.state == "frozen":
            frame = replace(frame, flags=frame.flags | {"frozen"})
        if kept.expects_restart:
            kept.expects_restart = False
            kept.clock.restart()
            said += self._noted(self._sync.forget(frame.source))
        if frame.device_t_ns is not None and kept.clock.observe(frame.device_t_ns, frame.arrival_t_ns) == "jump":
            said += self._noted(self._sync.forget(frame.source))
            said.append(SourceState(frame.source, frame.modality, "timebase-reset", frame.arrival_t_ns, "the device's clock jumped"))
        return said + self._noted(self._sync.put(self._stamped(kept, frame)))

    def _stamped(self, kept: _Kept, frame: Frame) -> Stamped:
        """Return the frame at the middle of its exposure in host time, as far as that is known; without a stamp, at its arrival."""
        fix, doubt_ns = kept.clock.fix, 0
        t_ns = frame.arrival_t_ns
        if frame.device_t_ns is not None and fix is not None:
            t_ns, doubt_ns = min(fix.host_ns(frame.device_t_ns), t_ns), fix.uncertainty_ns
        t_ns -= kept.source.latency_ns
        if frame.device_t_ns is not None and not kept.source.mid_exposure and frame.exposure_ns is not None:
            t_ns += frame.exposure_ns // 2
        if kept.last_ns is not None and frame.source == self._clock_name:
            # A better estimate may lie further back: a session's time never runs back for it.
            t_ns = max(t_ns, kept.last_ns + 1)
        kept.last_ns = t_ns
        return Stamped(frame, t_ns, doubt_ns, not frame.flags & STALE)

    def _changed(self, change: SourceState | None) -> list[Told]:
        """Return a change of health, and what is complete because of it."""
        if change is None:
            return []
        said: list[Told] = [change]
        if change.state in ("lost", "back"):
            said += self._noted(self._sync.await_source(change.source, change.state == "back"))
        return said

    def _noted(self, bundles: list[Bundle]) -> list[Bundle]:
        for bundle in bundles:
            for name, skew_ns in bundle.skew_ns.items():
                self._kept[name].skew_ns = skew_ns
        return bundles
