"""What REST answers, as pydantic models for clients: models, cameras, clips and their results.

Owns their shape as far as a client needs it: fields of newer servers are ignored. Does not own asking (`rest.py`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from service.api.messages import (
    ClipPrediction,
    Count,
    Face,
    FrameNumber,
    FrameRejected,
    ModelRef,
    Probability,
    Said,
    Score,
    SourceChanged,
    Spoken,
)


class ModelEntry(Said):
    """One model. If its folder cannot be used there is an `error` code and nothing else."""

    id: str
    kind: str | None = None
    title: str | None = None
    sha256: str | None = None
    precision: str | None = None
    weights: str | None = None
    licence: str | None = None
    cost: dict[str, Any] | None = None
    error: str | None = None


class ModelList(Said):
    """All models, and the id of the one that sessions begin with."""

    default: str
    models: tuple[ModelEntry, ...]


class ModelDetails(ModelEntry):
    """One model with its manifest as JSON and its card as Markdown."""

    manifest: dict[str, Any]
    card: str


class StreamState(Said):
    """One of the server's cameras."""

    name: str
    state: str
    fps: float | None
    drops: dict[str, Count]
    subscribers: Count
    width: int | None
    height: int | None
    model: ModelRef | None


class StreamList(Said):
    """All of the server's cameras."""

    streams: tuple[StreamState, ...]


class ClipFrames(Said):
    """Frames announced (None: unknown), decoded, damaged or rejected, and with a face; the last two once it is done."""

    expected: int | None
    decoded: Count
    errors: Count | None = None
    with_face: Count | None = None


class ClipOptions(Said):
    """How a clip is analysed."""

    model: str
    faces: int
    hop: int | None
    allow_partial: bool


class ClipError(Said):
    """Why a clip failed."""

    code: str
    title: str
    status: int
    detail: str


class ClipState(Said):
    """How far a clip is. `progress` in [0, 1]; times are ISO 8601 in UTC; `partial`: it was cut off, and allowed to be."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    progress: Probability
    frames: ClipFrames | None
    partial: bool
    name: str
    bytes: Count
    options: ClipOptions
    created_utc: str
    ended_utc: str | None
    expires_utc: str | None
    error: ClipError | None
    ahead: Count | None = None


class ClipEvent(Spoken):
    """One frame of a clip: a result that did not travel, so it has no `delivery`."""

    type: Literal["result"]
    frame: FrameNumber
    t_ns: int
    due: bool
    faces: tuple[Face, ...]
    no_call: Literal["no-face"] | None


class Traced(Said):
    """A track's value at one frame: the mean of the `windows` that hold it. `final`: no later window could change it;
    `interpolated`: none holds it."""

    track: FrameNumber
    frame: FrameNumber
    t_ns: int
    scores: tuple[Score, ...]
    label: str | None
    valence: float | None = None
    arousal: float | None = None
    windows: Count
    final: bool
    interpolated: bool


class ClipResult(Said):
    """The whole of a clip, as `mien analyze --format json` writes it."""

    schema_: str = Field(alias="schema")
    input: str
    model: ModelRef
    backend: str
    weights: Literal["random"] | None = None
    notes: tuple[str, ...] = ()
    frames: ClipFrames
    partial: bool = False
    events: tuple[ClipEvent | FrameRejected | SourceChanged, ...]
    trace: tuple[Traced, ...]
    clip_prediction: tuple[ClipPrediction, ...]
