"""The words of a recording: what stands in an MCAP file beside its pictures, as JSON, and back.

Owns topics, a frame's and a source's facts, the pair of clocks and the consent that every recording names. Does not own
pictures (`foxglove.py`), writing (`tape.py`, `recorder.py`) or reading (`playback.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from capture.frame import Frame, SourceInfo, SourceState

VERSION = 1
PROFILE = "mien"
RECORDING, CONSENT, SOURCE, END = "mien.recording", "mien.consent", "mien.source", "mien.end"
"""Names of metadata records."""
Json = dict[str, Any]
_FACTS = tuple(field.name for field in fields(Frame) if field.name not in ("data", "packet"))
_NEEDED = ("source", "modality", "seq", "device_t_ns", "arrival_t_ns")


class RecordingError(Exception):
    """A recording cannot be written on, or cannot be read. `code` for programs; the text is one line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Consent:
    """Who agreed to be recorded, when (UTC, ISO 8601) and for what purpose; or, `by` being None, why nobody had to be asked."""

    by: str | None
    at: str
    purpose: str

    def __post_init__(self) -> None:
        if not self.purpose.strip() or (self.by is not None and not self.by.strip()):
            raise ValueError("a consent names who gave it and for what purpose; neither may be empty")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One moment on two clocks: UTC and the host's monotonic one. A recording is stamped in UTC; sessions live in monotonic time."""

    utc_ns: int
    monotonic_ns: int

    def utc(self, monotonic_ns: int) -> int:
        """Return the UTC stamp of a monotonic one; never below 0, which MCAP cannot hold."""
        return max(0, self.utc_ns + monotonic_ns - self.monotonic_ns)


def dumped(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def strings(values: Mapping[str, object]) -> dict[str, str]:
    """Return what a metadata record can hold: strings as they are, anything else as JSON."""
    return {key: value if isinstance(value, str) else dumped(value).decode() for key, value in values.items()}


def topic(source: str, what: str) -> str:
    """Return the topic of a source's `image`, `frame`, `state` or `calibration`."""
    return f"/{source}/{what}"


def facts_of(frame: Frame) -> Json:
    """Return all of a frame but its picture; `picture` says how that is kept (None for a colour frame without pixels: a packet)."""
    data, facts = frame.data, {name: getattr(frame, name) for name in _FACTS}
    stored: Json = {} if data is None else {"dtype": data.dtype.name, "shape": list(data.shape)}
    return facts | {"flags": sorted(frame.flags), "picture": stored if frame.packet is None else {"packet": frame.packet.format}}


def frame_of(facts: Json, picture: Frame | None) -> Frame:
    """Return the frame of `facts` with the `picture` that `foxglove.picture_of` read; None: it was recorded without pixels.

    Raises:
        RecordingError: "recording-broken": a fact is missing or of the wrong kind.
    """
    bare = picture or Frame("", "color", 0, None, 0, data=np.zeros((0, 0), np.uint8))
    try:
        # A frame of an older version has fewer facts: the others keep their defaults.
        known = {name: facts[name] for name in _FACTS if name in facts or name in _NEEDED}
        if not all(isinstance(facts[name], int) for name in ("seq", "arrival_t_ns")):
            raise TypeError("seq and arrival_t_ns are whole numbers")
        return replace(bare, **known | {"flags": frozenset(map(str, facts.get("flags", ())))})
    except (KeyError, TypeError) as error:
        raise RecordingError("recording-broken", f"the facts of a frame cannot be read: {error!r}") from None


def info_strings(info: SourceInfo) -> dict[str, str]:
    """Return a source's facts as a metadata record."""
    return {key: dumped(value).decode() for key, value in asdict(replace(info, intrinsics=None)).items()} | {
        "intrinsics": dumped(None if info.intrinsics is None else dict(info.intrinsics)).decode()
    }


def info_of(record: Mapping[str, str]) -> SourceInfo:
    """Return the source's facts that a metadata record holds.

    Raises:
        RecordingError: "recording-broken": it holds something else.
    """
    try:
        known = {field.name for field in fields(SourceInfo)}
        return SourceInfo(**{key: json.loads(value) for key, value in record.items() if key in known})
    except (TypeError, ValueError) as error:
        raise RecordingError("recording-broken", f"the facts of a source cannot be read: {error!r}") from None


def state_of(body: Json) -> SourceState:
    """Return the source's state that a message holds.

    Raises:
        RecordingError: "recording-broken": it holds something else.
    """
    try:
        return SourceState(**body)
    except TypeError as error:
        raise RecordingError("recording-broken", f"a source's state cannot be read: {error}") from None
