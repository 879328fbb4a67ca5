"""What a camera hands on: frames, bundles of frames, facts and states of sources.

Owns the data types of capture and when an encoded packet becomes pixels. Does not own how (`image.py`), devices
(`drivers/`), threads (`reader.py`), loss (`mailbox.py`) or what a frame means to a session (`service/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["color", "depth", "thermal", "ir"]
Clock = Literal["host", "media", "client", "arrival"]
State = Literal["lost", "frozen", "back", "timebase-reset"]
PacketFormat = Literal["jpeg", "png"]


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded image exactly as its source produced it (`data`: bytes of a whole JPEG or PNG)."""

    format: PacketFormat
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one source.

    `data` is read-only: colour `(H, W, 3)` uint8 **RGB**; depth, thermal and infra-red `(H, W)` uint16 or float32 raw counts,
    where physical value = counts·`scale` + `offset` in `unit` (`"m"`, `"K"`). It is None while only the `packet` is known:
    a source that delivers JPEG keeps its bytes, and `decoded` makes the pixels when, and only if, somebody uses them.
    `device_t_ns`: the device's own stamp in its own clock (for media: the PTS), None when it has none.
    `arrival_t_ns`: host monotonic time at which the host got it. `seq` counts the source's reads from 1;
    `dropped_before`: frames the device says it lost just before this one. `exposure_ns`: how long it was exposed (None: not told).
    `flags`: `corrupt`, the decoder covered up damage; `shutter`, a thermal camera's shutter was closed;
    `frozen`, the same picture as before (put there by `rig.py`). Such a picture shows no scene of now.
    """

    source: str
    modality: Modality
    seq: int
    device_t_ns: int | None
    arrival_t_ns: int
    data: NDArray[np.generic] | None = None
    packet: Packet | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    dropped_before: int = 0
    flags: frozenset[str] = frozenset()
    exposure_ns: int | None = None

    def __post_init__(self) -> None:
        if self.data is None and self.packet is None:
            raise ValueError(f"frame {self.seq} of {self.source!r} has neither pixels nor a packet")
        if self.data is not None:
            self.data.flags.writeable = False


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What `Driver.open` learned of a source.

    `width`, `height` in pixels; `fps` as announced (None: unknown); `clock`: what `device_t_ns` means;
    `ends`: the source has an end (a clip) rather than running until it is closed; `frames` and `duration_ns` as its
    container announces them (None: unknown; never trusted for allocation). `mid_exposure`: the device stamps the middle of the
    exposure, not its start.
    """

    name: str
    driver: str
    modality: Modality
    width: int
    height: int
    fps: float | None
    clock: Clock
    ends: bool
    serial: str | None = None
    frames: int | None = None
    duration_ns: int | None = None
    mid_exposure: bool = False
    trigger: str | None = None
    intrinsics: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """A change in a source's health, as an input of sessions. `since_ns`: host monotonic time it began."""

    source: str
    modality: Modality
    state: State
    since_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Host monotonic time passed with nothing arriving."""

    t_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Frames taken together: one numbered input of a session.

    `number` counts from 1 and is given before any loss can happen; `t_ns` is the session time in `clock`;
    `arrival_ns` host monotonic time of the newest frame in it; `skew_ns` per source against the colour frame;
    `missing` and `held` name sources that gave nothing, or a frame that an earlier bundle had already, for this instant.
    """

    number: int
    t_ns: int
    clock: Clock
    arrival_ns: int
    frames: Mapping[str, Frame] = field(default_factory=dict)
    skew_ns: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", MappingProxyType(dict(self.frames)))
        object.__setattr__(self, "skew_ns", MappingProxyType(dict(self.skew_ns)))

    def frame(self, modality: Modality) -> Frame | None:
        """Return the bundle's frame of `modality`, or None."""
        return next((f for f in self.frames.values() if f.modality == modality), None)


def decoded(frame: Frame) -> Frame:
    """Return `frame` with pixels, decoding its packet if it has none yet.

    Raises:
        ImageBroken: the packet's bytes do not decode.
    """
    if frame.data is not None:
        return frame
    # Here, so that who needs only the words of this file (a client) needs no decoder.
    from capture.image import decode_color

    assert frame.packet is not None
    return replace(frame, data=decode_color(frame.packet.data))
