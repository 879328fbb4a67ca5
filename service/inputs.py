"""What a session takes: `Bundle | SourceState | Tick | Change`, and what it asks for in return.

Owns the data that passes between sessions, perception and rounds. Does not own any behaviour.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from capture.frame import Bundle, SourceState, Tick
from engines.engine import Arrays
from engines.manifest import CropSpec, Expression
from service.events import Box, NoCallCode, SessionEvent

T = TypeVar("T")


class Keep(Enum):
    """Leave a setting as it is (None is a value of `period_ms`)."""

    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Change:
    """New settings from the next frame on. None, and `Keep.KEEP` for `period_ms`: unchanged."""

    model: str | None = None
    period_ms: float | None | Keep = Keep.KEEP
    hop: int | None = None
    faces: int | None = None


Input = Bundle | SourceState | Tick | Change
GraphKey = tuple[str, str]
"""(model id, part): which graph a request is for."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One row for one graph: arrays by input name **without** the batch axis."""

    graph: GraphKey
    inputs: Arrays


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that got no result; `full`: for want of the device's memory."""

    code: Literal["backend-lost"]
    detail: str
    full: bool = False


Result = Arrays | Failed
"""One row of a graph's outputs, without the batch axis."""
Asking = Generator[Sequence[Request], Sequence[Result], T]
"""A part of a session's work that asks for graph runs on its way to a T."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a session wants run next and what it has to say. No requests: the input is done with."""

    requests: tuple[Request, ...] = ()
    events: tuple[SessionEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """One face as a finder sees it: `box` and named `keypoints` in pixels of the colour frame; `score` in [0, 1]."""

    box: Box
    score: float
    keypoints: dict[str, tuple[float, float]]


class Perception(Protocol):
    """Pixels to rows and back: pure, without state, shared by all sessions of a detector."""

    @property
    def confirm_frames(self) -> int: ...

    def detect(self, bundle: Bundle) -> Request:
        """Return the face finder's request for the bundle's colour frame.

        Raises:
            capture.image.ImageBroken: the frame's packet does not decode.
        """
        ...

    def faces(self, bundle: Bundle, result: Arrays) -> tuple[Detection, ...]:
        """Return the finder's faces, best score first."""
        ...

    def sample(self, bundle: Bundle, face: Detection, manifest: Expression) -> Arrays | NoCallCode:
        """Return the model's crops of a face by graph input name (no batch axis), or the quality gate that refused it."""
        ...

    def crops(self, bundle: Bundle, face: Detection, specs: Mapping[str, CropSpec]) -> Arrays:
        """Return crops of a face by name, without gates; for one of content `flow`, the pixels that its flow is made of."""
        ...

    def flow(self, before: NDArray[np.generic], after: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the optical flow `(2, H, W)` in pixels between two crops of one track, one sample after the other."""
        ...
