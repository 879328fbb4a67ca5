"""The words of the WebSocket: every message a client may send and every one it may get, as pydantic models.

Owns their shape, and so docs/live.schema.json (`reference.py`). What clients send is refused with unknown fields; what
the server says may grow by fields that clients must ignore. Results are made by `service.events.wire` and described here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from capture.frame import Clock, Modality, State
from service.events import NoCallCode
from service.messages import Degraded, DropReason, Policy

SUBPROTOCOL = "mien.v1"
Name = Annotated[str, StringConstraints(max_length=256)]
Probability = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]
FrameNumber = Annotated[int, Field(ge=1)]
Range = tuple[FrameNumber, FrameNumber]


class Sent(BaseModel):
    """From the client: strict types, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Said(BaseModel):
    """From the server."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class SessionAuth(Sent):
    """A token. This server has no authentication yet: it answers `error` `auth-not-enabled` and goes on."""

    type: Literal["session.auth"]
    token: Annotated[str, StringConstraints(max_length=4096)]


class SessionUpdate(Sent):
    """New settings from the next frame on. What is left out stays."""

    type: Literal["session.update"]
    model: Name | None = None
    hop: Annotated[int, Field(ge=1, le=100_000)] | None = None
    policy: Policy | None = None
    faces: Annotated[int, Field(ge=1, le=64)] | None = None
    rig: Name | None = None
    notice: Name | None = None


class SessionClose(Sent):
    """Use what was sent, then say `session.closed`."""

    type: Literal["session.close"]


ClientMessage = SessionAuth | SessionUpdate | SessionClose
CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


class Part(Sent):
    """One encoded image behind a frame header; the parts follow the header in this order, without gaps."""

    modality: Literal["color", "depth", "thermal"]
    format: Literal["jpeg", "png"]
    bytes: Annotated[int, Field(ge=1)]
    scale: float | None = None
    offset: float | None = None
    unit: Literal["m", "K"] | None = None


class FrameHeader(Sent):
    """What stands before the parts of a binary message: u32 little-endian length of this JSON, this JSON, the parts."""

    id: Annotated[str, StringConstraints(max_length=128)] | None = None
    t_capture_ns: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=8, strict=False)]


class Limits(Said):
    """What a client must keep to."""

    max_message_bytes: Count
    max_pixels: Count
    max_in_flight: Count


class ModelRef(Said):
    """A model: its id, and the first 12 hex digits of its manifest's sha256."""

    id: str
    sha256: str


class WindowSettings(Said):
    """T and B of the model, and the hop and sampling period in force (`period_ms` null: every frame)."""

    frames: FrameNumber
    buffer: FrameNumber
    hop: FrameNumber
    period_ms: float | None


class SessionCreated(Said):
    """The first message."""

    type: Literal["session.created"] = "session.created"
    session_id: str
    limits: Limits
    model: ModelRef
    labels: tuple[str, ...]
    window: WindowSettings
    policy: Policy
    faces: FrameNumber
    notice_required: bool


class SessionUpdated(Said):
    """Settings in force from frame `from_frame` on; windows restart there only if the model changed."""

    type: Literal["session.updated"] = "session.updated"
    loading: Literal[False] = False
    model: ModelRef
    labels: tuple[str, ...]
    window: WindowSettings
    policy: Policy
    faces: FrameNumber
    from_frame: FrameNumber


class ModelId(Said):
    """A model that is not loaded yet."""

    id: str


class SessionLoading(Said):
    """The update waits for its model to load; the old one goes on."""

    type: Literal["session.updated"] = "session.updated"
    loading: Literal[True] = True
    model: ModelId


class Score(Said):
    """One class."""

    name: str
    probability: Probability


class Window(Said):
    """What a prediction was made of."""

    frames: tuple[FrameNumber, ...]
    keyframes: bool
    candidates: Range
    span_ms: float
    filled: Probability


class Sync(Said):
    """Which modalities took part, which were held over, and the session's clock."""

    modalities: tuple[Modality, ...]
    held: tuple[str, ...]
    skew_ms: dict[str, float]
    clock: Clock


class Uncertainty(Said):
    """Entropy in nats; the labels not ruled out, most probable first, where the model has label sets; whether probabilities were
    calibrated."""

    entropy: float
    set: tuple[str, ...] | None = None
    calibrated: bool


class Labelled(Said):
    """All classes, most probable first, and/or valence and arousal (`derived`: from the probabilities)."""

    scores: tuple[Score, ...]
    label: str | None
    valence: Signed | None = None
    arousal: Signed | None = None
    valence_raw: float | None = None
    arousal_raw: float | None = None
    derived: bool | None = None


class Prediction(Labelled):
    """What one window says."""

    window: Window
    sync: Sync
    uncertainty: Uncertainty | None = None


class NoCall(Said):
    """Why there is no prediction, and how full the window is."""

    code: NoCallCode
    filled: Probability


class Face(Said):
    """One reported face; `bbox` x0, y0, x1, y1 in pixels of the colour frame."""

    track: FrameNumber
    bbox: tuple[float, float, float, float]
    keypoints: dict[str, tuple[float, float]]
    score: Probability | None
    tentative: bool
    sampled: bool
    prediction: Prediction | None
    no_call: NoCall | None


class DeliveryTiming(Said):
    """Milliseconds: decoding the frame, waiting for a round, the round, and from its end to sending."""

    decode: float
    wait: float
    infer: float
    send: float


class Delivery(Said):
    """How this message travelled: UTC of sending, ms since the frame arrived, and frames lost since the last result."""

    t_utc: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
    age_ms: float
    timing: DeliveryTiming
    dropped_since_last: Count
    degraded: Degraded | None = None


class Spoken(Said):
    """Which model spoke, on what. `weights` `random`: the model was never trained."""

    model: ModelRef
    backend: str
    schema_: Literal["mien.event/1"] = Field(alias="schema")
    weights: Literal["random"] | None = None


class Result(Spoken):
    """One used frame. On due frames every face has a prediction or a `no_call`."""

    type: Literal["result"]
    frame: FrameNumber
    id: str | None = None
    t_ns: int
    due: bool
    faces: tuple[Face, ...]
    no_call: Literal["no-face"] | None
    delivery: Delivery


class ClipPrediction(Labelled, Spoken):
    """One track over a whole input; only where the input has an end."""

    type: Literal["clip_prediction"]
    track: FrameNumber
    window: Window | None
    windows: Count
    filled: Probability
    frames: Range


class FrameDropped(Said):
    """Frames first to last were left out."""

    type: Literal["frame.dropped"] = "frame.dropped"
    frames: Range
    reason: DropReason


class FrameRejected(Said):
    """A frame could not be used; the connection goes on."""

    type: Literal["frame.rejected"]
    frame: FrameNumber
    id: str | None = None
    code: str
    detail: str


class SourceChanged(Said):
    """A camera's state changed."""

    type: Literal["source"]
    name: str
    state: State
    modality: Modality
    since_ns: int


class Error(Said):
    """Something went wrong that is tied to no frame."""

    type: Literal["error"]
    code: str
    detail: str
    retryable: bool


class Draining(Said):
    """The server is shutting down; close code 1012 follows within `deadline_s`."""

    type: Literal["draining"] = "draining"
    deadline_s: float


class SessionClosed(Said):
    """The last message: received = used + dropped + rejected."""

    type: Literal["session.closed"] = "session.closed"
    reason: str
    received: Count
    used: Count
    dropped: dict[DropReason, Count]
    rejected: Count


ServerMessage = (
    SessionCreated | SessionUpdated | SessionLoading | Result | ClipPrediction | FrameDropped | FrameRejected | SourceChanged
    | Error | Draining | SessionClosed
)  # fmt: skip
SERVER: TypeAdapter[ServerMessage] = TypeAdapter(ServerMessage)
