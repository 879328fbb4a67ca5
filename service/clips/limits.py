"""What a clip may be: size, length, rate; and the refusal of one that is not.

Owns the figures' meaning and where each is checked: from the header before anything is decoded, and while frames are
counted. Does not own their values (`service/config.py`) or how a refusal is said (`service/api/errors.py`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_SLACK = 1.05
"""Stamps are rounded: WebM counts whole milliseconds."""
_ENOUGH = 10
"""Frames from which a rate can be told."""


class ClipRefused(Exception):
    """A clip, or a request for one, that cannot be served. `code` is in the registry; `limit` and `actual` where they apply."""

    def __init__(self, code: str, detail: str, limit: int | None = None, actual: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.limit = limit
        self.actual = actual

    def members(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {"code": self.code, "detail": self.detail, "limit": self.limit, "actual": self.actual}


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_width` bounds the longer side, `max_height` the shorter one (phones record upright), in pixels; rates in frames per s."""

    max_s: float = 600.0
    max_frames: int = 18_000
    max_width: int = 4096
    max_height: int = 2304
    min_fps: float = 1.0
    max_fps: float = 120.0

    def members(self) -> dict[str, Any]:
        """Return the limits as JSON."""
        return asdict(self)

    def check_size(self, width: int, height: int) -> None:
        """Raise ClipRefused if a picture is larger than allowed."""
        for actual, limit in ((max(width, height), self.max_width), (min(width, height), self.max_height)):
            if actual > limit:
                allowed = f"{self.max_width}x{self.max_height}, either way up"
                raise exceeded(f"The picture is {width}x{height} pixels; allowed are {allowed}. Scale it down.", limit, actual)

    def check_header(self, width: int, height: int, frames: int | None, duration_ns: int | None) -> None:
        """Raise ClipRefused if what a container announces is more than allowed (None and 0: it does not say)."""
        self.check_size(width, height)
        if frames:
            self.check_frames(frames)
        if duration_ns:
            self.check_length(duration_ns)
        if frames and frames >= _ENOUGH and duration_ns:
            self.check_rate(frames * 1e9 / duration_ns)

    def check_frames(self, frames: int) -> None:
        """Raise ClipRefused if there are more frames than allowed."""
        if frames > self.max_frames:
            raise exceeded(f"The clip has {frames} frames or more; allowed are {self.max_frames}. Cut it.", self.max_frames, frames)

    def check_length(self, length_ns: int) -> None:
        """Raise ClipRefused if a clip is longer than allowed."""
        if length_ns > self.max_s * 1e9:
            actual = length_ns / 1e9
            text = f"The clip is {actual:.1f} s long or more; allowed are {self.max_s:g} s. Cut it."
            raise exceeded(text, round(self.max_s), round(actual))

    def check_rate(self, fps: float) -> None:
        """Raise ClipRefused if a clip has more or fewer frames per second than allowed."""
        if not self.min_fps / _SLACK <= fps <= self.max_fps * _SLACK:
            limit = self.max_fps if fps > self.max_fps else self.min_fps
            actual = min(fps, 1e9)
            text = f"The clip has {actual:.6g} frames per second; allowed are {self.min_fps:g} to {self.max_fps:g}. Convert it."
            raise exceeded(text, round(limit), round(actual))


@dataclass(slots=True)
class Counted:
    """What was really decoded, checked as it comes: a header may say anything."""

    limits: Limits
    frames: int = 0
    first_ns: int = 0
    last_ns: int = field(default=0)

    def add(self, width: int, height: int, t_ns: int) -> None:
        """Count a frame.

        Raises:
            ClipRefused: with it, the clip is more than allowed.
        """
        self.limits.check_size(width, height)
        self.frames += 1
        self.first_ns = t_ns if self.frames == 1 else min(self.first_ns, t_ns)
        self.last_ns = t_ns if self.frames == 1 else max(self.last_ns, t_ns)
        self.limits.check_frames(self.frames)
        self.limits.check_length(self.last_ns - self.first_ns)
        if self.frames > 2 * self.limits.max_fps:
            self._check_rate()

    def end(self) -> None:
        """Raise ClipRefused if the whole has a rate that is not allowed."""
        if self.frames >= _ENOUGH:
            self._check_rate()

    def _check_rate(self) -> None:
        self.limits.check_rate((self.frames - 1) * 1e9 / max(self.last_ns - self.first_ns, 1))


def exceeded(detail: str, limit: int, actual: int) -> ClipRefused:
    """Return the refusal of a clip that is more than allowed."""
    return ClipRefused("clip-limits-exceeded", detail, limit, actual)
