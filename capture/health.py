"""Whether a source is well: lost, frozen, back.

Owns the state machine of one source and what counts as the same picture. Does not own the device (`reader.py` says when it is lost and
back), its clock (`clock.py`) or who is told. Pure: time comes in with frames and ticks.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

from capture.frame import Frame, Modality, SourceState

FROZEN_AFTER_NS = 700_000_000
"""How long the same bytes must repeat. A sensor's noise changes some of them in every frame, however still the scene is."""
SILENT_AFTER_NS = 2_500_000_000
"""A source that says nothing for so long is lost, though its driver has not noticed. Longer than a thermal shutter closes for."""
FEWEST = 3


@dataclass(frozen=True, slots=True)
class _Same:
    """A picture's digest, when the first frame with it came, and how many have."""

    digest: int
    since_ns: int
    count: int


class Health:
    """Follows one source and returns a `SourceState` with each change."""

    def __init__(self, source: str, modality: Modality) -> None:
        self._source, self._modality = source, modality
        self._same: _Same | None = None
        self._heard_ns: int | None = None
        self.state: Literal["well", "frozen", "silent", "lost"] = "well"

    def frame(self, frame: Frame) -> SourceState | None:
        """Take a frame as it came."""
        now_ns = frame.arrival_t_ns
        self._heard_ns = now_ns
        if "shutter" in frame.flags:
            # It repeats its last picture by design, and says so.
            self._same = None
            return self._change("well", now_ns) if self.state == "silent" else None
        digest = digest_of(frame)
        same = self._same
        if same is None or same.digest != digest:
            self._same = _Same(digest, now_ns, 1)
            return self._change("well", now_ns) if self.state != "well" else None
        self._same = same = _Same(digest, same.since_ns, same.count + 1)
        if self.state != "frozen" and same.count >= FEWEST and now_ns - same.since_ns >= FROZEN_AFTER_NS:
            return self._change("frozen", now_ns, same.since_ns, f"the same picture {same.count} times")
        return None

    def tick(self, now_ns: int) -> SourceState | None:
        """Note host time `now_ns`."""
        if self._heard_ns is None:
            self._heard_ns = now_ns
        if self.state in ("well", "frozen") and now_ns - self._heard_ns >= SILENT_AFTER_NS:
            return self._change("silent", now_ns, self._heard_ns, f"no frame for {(now_ns - self._heard_ns) / 1e9:.1f} s")
        return None

    def told(self, state: SourceState) -> SourceState | None:
        """Take what the source's reader says; return it if it is a change."""
        if state.state == "lost":
            if self.state in ("lost", "silent"):
                self.state = "lost"
                return None
            self.state, self._same = "lost", None
            return state
        if state.state == "back":
            was, self.state, self._same, self._heard_ns = self.state, "well", None, state.since_ns
            return None if was == "well" else state
        return state

    def _change(
        self, state: Literal["well", "frozen", "silent"], now_ns: int, since_ns: int | None = None, detail: str = ""
    ) -> SourceState:
        self.state = state
        word: Literal["back", "frozen", "lost"] = "back" if state == "well" else "frozen" if state == "frozen" else "lost"
        return SourceState(self._source, self._modality, word, now_ns if since_ns is None else since_ns, detail)


def digest_of(frame: Frame) -> int:
    """Return a number that two frames of the same bytes share, and others but by a chance of 1 in 2³²."""
    if frame.packet is not None:
        return zlib.crc32(frame.packet.data)
    assert frame.data is not None
    pixels = frame.data
    # Every row in turn, but not every byte of a large picture: noise is everywhere.
    step = max(1, pixels.shape[0] // 64)
    return zlib.crc32(pixels[::step].tobytes())
