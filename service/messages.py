"""What the live loop says beyond a session's events: drops, changes, ends; and how each message is stamped.

Owns data only. `api/` makes wire messages of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from service.events import SessionEvent

if TYPE_CHECKING:  # clients import the words of this file without engines
    from service.models import Model

Policy = Literal["latest", "all"]
DropReason = Literal["superseded", "rate", "overload", "closed"]
Degraded = Literal["rate", "period", "hop"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """An inclusive range of frames that were left out."""

    frames: tuple[int, int]
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Updated:
    """Settings in force from frame `from_frame` on."""

    model: Model
    hop: int
    period_ms: float | None
    faces: int
    policy: Policy
    from_frame: int


@dataclass(frozen=True, slots=True)
class Loading:
    """A Change waits for this model to load; the old one goes on."""

    model: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Something failed that is tied to no frame."""

    code: str
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The last message of a feed, and its ledger."""

    received: int
    used: int
    dropped: Mapping[str, int]
    rejected: int
    reason: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Host monotonic ns of arrival and of the end of the round; durations in ns of the frame's own decode, of its wait
    for a round, and of the rest of the round."""

    arrival_ns: int
    decode_ns: int
    wait_ns: int
    infer_ns: int
    done_ns: int


Message = SessionEvent | Dropped | Updated | Loading | Failure | Closed


@dataclass(frozen=True, slots=True)
class Output:
    """One message to a feed's owner. `id`: what the client called the frame."""

    message: Message
    id: str | None = None
    timing: Timing | None = None
    degraded: Degraded | None = None
    dropped_since_last: int = 0
