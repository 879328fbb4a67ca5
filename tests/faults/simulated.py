"""A rig of virtual sensors in simulated time: hours in seconds, and the truth at hand to compare with."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from capture.drivers.virtual import KINDS, Options, timing
from capture.frame import Bundle, Frame, Modality, SourceState, Tick
from capture.rig import Given, Rig, RigSource, Told
from capture.virtual_sensor import Exposure, Sensor

MS, S = 10**6, 10**9
TICK_NS = 20 * MS
ZERO_NS = 5_000 * S
NOTICED_NS = 30 * MS
"""How long after a sensor is unplugged its reader says so, and after it is back."""
TOLERANCE_NS, DEADLINE_NS = 60 * MS, 80 * MS
USUAL: dict[str, dict[str, object]] = {
    "color": {"fps": 30, "offset_ms": 120, "drift_ppm": 40, "jitter_ms": 6, "exposure_ms": 10, "seed": 1},
    "depth": {"fps": 30, "offset_ms": -340, "drift_ppm": -90, "jitter_ms": 8, "phase": 0.4, "seed": 2},
    "thermal": {"fps": 9, "offset_ms": 480, "drift_ppm": 170, "jitter_ms": 10, "exposure_ms": 0, "seed": 3},
}
"""Three sensors as deploy/rigs/virtual.toml has them."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing the rig said, and the simulated time at which it did."""

    at_ns: int
    what: Told


@dataclass(slots=True)
class Truth:
    """What only tests know: each frame's exposure, by source and seq, of the newest `keep` frames."""

    keep: int = 0
    of: dict[tuple[str, int], Exposure] = field(default_factory=dict)

    def note(self, frame: Frame, exposure: Exposure) -> None:
        self.of[frame.source, frame.seq] = exposure
        if self.keep:
            self.of.pop((frame.source, frame.seq - self.keep), None)

    def away_ns(self, bundle: Bundle, source: str) -> int:
        """How far in truth a source's picture is from the colour picture of the bundle."""
        frames = bundle.frames
        color, other = (self.of[frames[n].source, frames[n].seq] for n in ("color", source))
        return other.picture_t_ns - color.picture_t_ns


@dataclass(slots=True)
class Simulation:
    """Sensors, a rig and the truth. `faults` by source; `sensors`: options instead of the usual."""

    faults: Mapping[str, str] = field(default_factory=dict)
    sensors: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: USUAL)
    hold_ms: int = 500
    latency: bool = True
    truth: Truth = field(default_factory=Truth)
    picture: Callable[[str, Exposure], np.ndarray] | None = None
    given: dict[str, int] = field(default_factory=dict)
    rig: Rig = field(init=False)

    def __post_init__(self) -> None:
        sources = []
        for name in self.sensors:
            options = self._options(name)
            # The delay that no stamp can show is given, so that truth and estimate may be compared; the exposure's second half is in it.
            hidden = round(options.delay_ms * MS) + round(options.exposure_ms * MS) if self.latency else 0
            sources.append(RigSource(name, KINDS[name], options.fps, False, hidden, self.hold_ms * MS))
            self.given[name] = 0
        self.rig = Rig(sources, TOLERANCE_NS, DEADLINE_NS)

    def _options(self, name: str) -> Options:
        return Options(**{**self.sensors[name], "faults": self.faults.get(name, "")})  # type: ignore[arg-type]

    def inputs(self, seconds: float) -> Iterator[Given]:
        """Everything in the order it comes, ticks between."""
        streams = [self._stream(name) for name in self.sensors]
        now_ns, end_ns = ZERO_NS, ZERO_NS + round(seconds * S)
        for at_ns, _, given in heapq.merge(*streams, key=lambda item: item[:2]):
            while now_ns + TICK_NS < at_ns:
                now_ns += TICK_NS
                yield Tick(now_ns)
            if at_ns > end_ns:
                return
            now_ns = max(now_ns, at_ns)
            yield given

    def run(self, seconds: float) -> Iterator[Said]:
        """What the rig says of it."""
        for given in self.inputs(seconds):
            at_ns = given.t_ns if isinstance(given, Tick) else given.arrival_t_ns if isinstance(given, Frame) else given.since_ns
            if isinstance(given, Frame):
                self.given[given.source] += 1
            for told in self.rig.advance(given):
                yield Said(at_ns, told)

    def _stream(self, name: str) -> Iterator[tuple[int, int, Given]]:
        options, modality = self._options(name), KINDS[name]
        sensor, gone = Sensor(timing(options), ZERO_NS), [f for f in timing(options).faults if f.kind == "unplug"]
        rank = list(self.sensors).index(name)
        for seq, exposure in enumerate(sensor.exposures(), start=1):
            while gone and exposure.t_ns >= ZERO_NS + gone[0].at_ns + gone[0].for_ns:
                fault = gone.pop(0)
                at_ns = ZERO_NS + fault.at_ns + NOTICED_NS
                yield at_ns, rank, SourceState(name, modality, "lost", at_ns)
                yield exposure.arrival_ns, rank, SourceState(name, modality, "back", exposure.arrival_ns)
            frame = self._frame(name, modality, exposure, options, seq)
            self.truth.note(frame, exposure)
            yield exposure.arrival_ns, rank, frame

    def _frame(self, name: str, modality: Modality, exposure: Exposure, options: Options, seq: int) -> Frame:
        if self.picture is not None:
            data = self.picture(name, exposure)
        else:
            # Small, and different for every picture that is not the same one.
            data = np.frombuffer(exposure.picture.to_bytes(8, "little"), np.uint16).reshape(2, 2).copy()
        return Frame(
            name,
            modality,
            seq,
            exposure.device_t_ns,
            exposure.arrival_ns,
            data,
            flags=exposure.flags,
            exposure_ns=round(options.exposure_ms * MS),
        )


def bundles(said: list[Said]) -> list[Bundle]:
    return [one.what for one in said if isinstance(one.what, Bundle)]


def states(said: list[Said]) -> list[tuple[str, str, float]]:
    """Source, state and seconds of simulated time, in order."""
    return [(s.what.source, s.what.state, (s.at_ns - ZERO_NS) / S) for s in said if isinstance(s.what, SourceState)]
