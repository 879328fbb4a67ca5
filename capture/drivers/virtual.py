"""Sensors that are none: `virtual:color?clip=face.mp4`, `virtual:depth?…`, `virtual:thermal?offset_ms=-300&drift_ppm=120&faults=…`.

Owns the options, a sensor's noise and counts, and handing frames on when their time has come. Does not own the scene
(`virtual_world.py`) or the lies (`virtual_sensor.py`). All virtual sources of one clip, or of none, see one scene at one time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from capture import virtual_world as worlds
from capture.driver import DriverOptions, SourceError
from capture.frame import Frame, Modality, SourceInfo
from capture.pacing import nap_until
from capture.virtual_sensor import Exposure, Sensor, Timing, faults

_MS = 1_000_000
DEPTH_SCALE_M, HEAT_SCALE_K = 0.001, 0.01
KINDS: dict[str, Modality] = {"color": "color", "depth": "depth", "thermal": "thermal"}


class Options(DriverOptions):
    """`clip`, `faces`: what is seen (none: a drawn head) and where its faces are (default: CLIP.faces.json). `width`, `height`, `fps` of
    this sensor. Its clock: `offset_ms`, `drift_ppm`; its frames: `delay_ms`, `jitter_ms`, `exposure_ms`; `phase` in parts of a period;
    `stamp`: what is stamped, the start or the middle of the exposure; `noise` in its usual strengths; `faults`: see `virtual_sensor.py`."""

    clip: str = ""
    faces: str = ""
    width: int = Field(default=0, ge=0, le=8192)
    height: int = Field(default=0, ge=0, le=8192)
    fps: float = Field(default=30.0, gt=0, le=1000)
    offset_ms: float = 0.0
    drift_ppm: float = Field(default=0.0, ge=-1000, le=1000)
    delay_ms: float = Field(default=15.0, ge=0, le=10_000)
    jitter_ms: float = Field(default=5.0, ge=0, le=10_000)
    exposure_ms: float = Field(default=8.0, ge=0, le=1000)
    phase: float = Field(default=0.0, ge=0, lt=1)
    stamp: Literal["start", "middle"] = "start"
    noise: float = Field(default=1.0, ge=0, le=100)
    seed: int = Field(default=0, ge=0)
    faults: str = ""

    @field_validator("faults")
    @classmethod
    def _faults(cls, text: str) -> str:
        faults(text)
        return text


SIZES = {"color": (360, 640), "depth": (180, 320), "thermal": (90, 160)}


def create(address: str, options: Options, name: str) -> VirtualDriver:
    """Return the driver of an imaginary colour, depth or thermal sensor."""
    if address not in KINDS:
        there = ", ".join(f"virtual:{kind}" for kind in KINDS)
        raise SourceError("bad-uri", f"camera driver 'virtual' has no sensor {address[:40]!r}; there are: {there}")
    return VirtualDriver(KINDS[address], options, name)


class VirtualDriver:
    """An imaginary sensor. Its first open is second 0 of its faults."""

    def __init__(self, modality: Modality, options: Options, name: str) -> None:
        self.name = name
        self._modality, self._options = modality, options
        default = SIZES[modality]
        self._size = (options.height or default[0], options.width or default[1])
        self._world: worlds.World | None = None
        self._sensor: Sensor | None = None
        self._exposures: Iterator[Exposure] | None = None
        self._next: Exposure | None = None
        self._seq = 0

    def open(self) -> SourceInfo:
        """Switch on.

        Raises:
            SourceError: the clip or its sidecar cannot be used; "no-such-device" while unplugged.
        """
        options, now_ns = self._options, time.monotonic_ns()
        if self._world is None:
            self._world = self._scene()
            now_ns = time.monotonic_ns()
        if self._sensor is None:
            self._sensor = Sensor(timing(options), now_ns)
        if not self._sensor.plugged(now_ns):
            raise SourceError("no-such-device", f"virtual {self._modality} sensor {self.name!r} is unplugged, as its faults say")
        self._exposures, self._next = self._sensor.exposures(self._sensor.index_at(now_ns)), None
        height, width = self._size
        return SourceInfo(
            self.name, "virtual", self._modality, width, height, options.fps, "host", ends=False,
            serial=f"virtual-{self._modality}-{options.seed}", mid_exposure=options.stamp == "middle",
        )  # fmt: skip

    def read(self) -> list[Frame]:
        """Return the next frame, alone; nothing yet if it is not due.

        Raises:
            SourceError: "source-lost": it was unplugged, as its faults say.
        """
        assert self._sensor is not None
        assert self._exposures is not None, "read before open"
        if not self._sensor.plugged(time.monotonic_ns()):
            raise SourceError("source-lost", f"virtual {self._modality} sensor {self.name!r} was unplugged, as its faults say")
        if self._next is None:
            self._next = next(self._exposures)
        if not nap_until(self._next.arrival_ns):
            return []
        exposure, self._next = self._next, None
        self._seq += 1
        assert self._world is not None
        return [frame(self._world, exposure, self.name, self._modality, self._size, self._options, self._seq)]

    def close(self) -> None:
        """Switch off."""
        self._exposures = self._next = None

    def _scene(self) -> worlds.World:
        options = self._options
        if not options.clip:
            return worlds.DrawnWorld()
        return worlds.clip_world(Path(options.clip), Path(options.faces or f"{options.clip}.faces.json"))


def timing(options: Options) -> Timing:
    """Return how a sensor of these options keeps time."""
    return Timing(
        options.fps, round(options.offset_ms * _MS), options.drift_ppm, round(options.delay_ms * _MS), round(options.jitter_ms * _MS),
        round(options.exposure_ms * _MS), options.phase, options.seed, faults(options.faults),
    )  # fmt: skip


def frame(
    world: worlds.World, exposure: Exposure, name: str, modality: Modality, size: tuple[int, int], options: Options, seq: int,
    arrival_ns: int | None = None,
) -> Frame:  # fmt: skip
    """Return what the sensor hands on of an exposure: no word of the truth. `arrival_ns`: instead of this moment."""
    head, moment = world.head(exposure.picture_t_ns), exposure.picture_t_ns
    draw = np.random.default_rng((options.seed, exposure.picture))
    scale, unit = 1.0, None
    data: NDArray[np.generic]
    if modality == "color":
        noise = _noise(size, draw) * (1.5 * options.noise)
        data = np.clip(world.color(moment, size) + noise[..., None], 0, 255).astype(np.uint8)
    elif modality == "depth":
        metres = worlds.depth(head, size)
        metres += _noise(size, draw) * (0.0015 * options.noise) * metres**2
        data, scale, unit = np.round(metres / DEPTH_SCALE_M).astype(np.uint16), DEPTH_SCALE_M, "m"
        holes = draw.integers(0, data.size, max(1, data.size // 400))
        data.reshape(-1)[holes] = 0
    else:
        kelvin = worlds.heat(head, size, moment) + _noise(size, draw) * (0.05 * options.noise)
        data, scale, unit = np.round(kelvin / HEAT_SCALE_K).astype(np.uint16), HEAT_SCALE_K, "K"
    stamp_ns = exposure.device_t_ns + (round(options.exposure_ms * _MS) // 2 if options.stamp == "middle" else 0)
    now_ns = time.monotonic_ns() if arrival_ns is None else arrival_ns
    return Frame(
        name, modality, seq, stamp_ns, now_ns, data, None, scale, 0.0, unit, 0, exposure.flags, round(options.exposure_ms * _MS),
    )  # fmt: skip


def _noise(size: tuple[int, int], draw: np.random.Generator) -> NDArray[np.float32]:
    """Return normal noise of standard deviation 1: a part of a table, for drawing it anew would cost more than the picture."""
    table = _table(size)
    top, left = draw.integers(0, 64, 2)
    return table[top : top + size[0], left : left + size[1]]


@lru_cache(maxsize=8)
def _table(size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((size[0] + 64, size[1] + 64), np.float32)
