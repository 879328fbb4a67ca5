"""What a session says: events, and their JSON.

Owns the words of SEMANTICS' events as frozen data and how they look on the wire. Does not own when they are said
(`session.py`) or how they travel (`api/`). An event is a function of model, configuration and inputs: nothing in this
file knows a wall clock, a duration, a random number or a drop count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from capture.frame import Clock, Modality, State

SCHEMA = "mien.event/1"
GPU_MEMORY = "gpu-memory"
"""Code of a frame or clip that got nothing because the device has no memory left."""
NoCallCode = Literal["face-lost", "too-small", "too-dark", "blurred", "sensor-stale", "window-filling", "not-finite", "backend-lost"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which model spoke: its id and the first 12 hex digits of its manifest's sha256."""

    id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Score:
    """One class and its probability in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class WindowOf:
    """What a prediction was made of: the T frame numbers given to the network, in time order; whether a selector chose
    them; first and last candidate in the buffer; ms from first to last chosen frame; filled: share of T that is real."""

    frames: tuple[int, ...]
    keyframes: bool
    candidates: tuple[int, int]
    span_ms: float
    filled: float


@dataclass(frozen=True, slots=True)
class Sync:
    """Which modalities took part, which were held over, each source's skew to colour in ms, and the session's clock."""

    modalities: tuple[Modality, ...]
    held: tuple[str, ...]
    skew_ms: Mapping[str, float]
    clock: Clock


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Entropy of the probabilities in nats; whether the model's probabilities were calibrated; `set`: the labels that are not ruled
    out, most probable first, of a model that has label sets."""

    entropy: float
    calibrated: bool
    set: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Affect:
    """Valence and arousal in [−1, 1], clamped; the raw pair when clamping changed it; `derived` from label
    probabilities rather than predicted."""

    valence: float | None
    arousal: float | None
    derived: bool
    raw: tuple[float | None, float | None] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one window says: all classes in descending order (none for a pure regressor) and/or valence-arousal."""

    scores: tuple[Score, ...]
    label: str | None
    affect: Affect | None
    window: WindowOf
    sync: Sync
    uncertainty: Uncertainty | None


@dataclass(frozen=True, slots=True)
class NoCall:
    """Why there is no prediction, and how full the window is."""

    code: NoCallCode
    filled: float


@dataclass(frozen=True, slots=True)
class FaceEvent:
    """One reported face. `bbox` in pixels of the colour frame; `score` null while it coasts; `sampled`: its sample
    of this frame entered the buffer."""

    track: int
    bbox: Box
    keypoints: Mapping[str, tuple[float, float]]
    score: float | None
    tentative: bool
    sampled: bool
    prediction: Prediction | None
    no_call: NoCall | None


@dataclass(frozen=True, slots=True)
class Event:
    """One used frame."""

    frame: int
    t_ns: int
    due: bool
    faces: tuple[FaceEvent, ...]
    no_call: Literal["no-face"] | None
    model: ModelName
    backend: str
    weights: Literal["random"] | None = None


@dataclass(frozen=True, slots=True)
class ClipPrediction:
    """One track over a whole input: `frames` first and last frame of the track; `windows`: how many were averaged."""

    track: int
    scores: tuple[Score, ...]
    label: str | None
    affect: Affect | None
    window: WindowOf | None
    windows: int
    filled: float
    frames: tuple[int, int]
    model: ModelName
    backend: str
    weights: Literal["random"] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A received frame that was not used, and why."""

    frame: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """A source's state changed. `since_ns` in the session's time base for `timebase-reset`, else host monotonic."""

    name: str
    state: State
    modality: Modality
    since_ns: int


SessionEvent = Event | ClipPrediction | Rejected | SourceEvent
Json = dict[str, Any]


def wire(event: SessionEvent) -> Json:
    """Return the JSON object of an event: its `type`, then its fields as PROTOCOL.md orders them.

    Pixels are rounded to 0.01, probabilities and affect to 1e-6, so that a line is short; the sum of scores stays 1 within 1e-5.
    """
    if isinstance(event, Event):
        body: Json = {
            "type": "result", "frame": event.frame, "t_ns": event.t_ns, "due": event.due,
            "faces": [_face(face) for face in event.faces], "no_call": event.no_call,
        }  # fmt: skip
        return body | _source(event)
    if isinstance(event, ClipPrediction):
        body = {"type": "clip_prediction", "track": event.track, **_scores(event.scores, event.label), **_affect(event.affect)}
        body["window"] = None if event.window is None else _window(event.window)
        body |= {"windows": event.windows, "filled": _round(event.filled), "frames": list(event.frames)}
        return body | _source(event)
    if isinstance(event, Rejected):
        return {"type": "frame.rejected", "frame": event.frame, "code": event.code, "detail": event.detail}
    return {"type": "source", "name": event.name, "state": event.state, "modality": event.modality, "since_ns": event.since_ns}


def line(event: SessionEvent) -> str:
    """Return an event as one line of NDJSON, without the newline."""
    return json.dumps(wire(event), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _round(value: float) -> float:
    return round(value, 6)


def _source(event: Event | ClipPrediction) -> Json:
    body: Json = {"model": {f.name: getattr(event.model, f.name) for f in fields(event.model)}, "backend": event.backend, "schema": SCHEMA}
    return body if event.weights is None else body | {"weights": event.weights}


def _scores(scores: tuple[Score, ...], label: str | None) -> Json:
    return {"scores": [{"name": s.name, "probability": _round(s.probability)} for s in scores], "label": label}


def _affect(affect: Affect | None) -> Json:
    if affect is None:
        return {}
    body: Json = {}
    for index, name in enumerate(("valence", "arousal")):
        value = getattr(affect, name)
        if value is not None:
            body[name] = _round(value)
            if affect.raw is not None and affect.raw[index] is not None:
                body[f"{name}_raw"] = _round(affect.raw[index] or 0.0)
    return body | {"derived": affect.derived}


def _window(window: WindowOf) -> Json:
    return {
        "frames": list(window.frames), "keyframes": window.keyframes, "candidates": list(window.candidates),
        "span_ms": round(window.span_ms, 3), "filled": _round(window.filled),
    }  # fmt: skip


def _prediction(prediction: Prediction) -> Json:
    sync = prediction.sync
    body: Json = _scores(prediction.scores, prediction.label) | _affect(prediction.affect) | {"window": _window(prediction.window)}
    body["sync"] = {
        "modalities": list(sync.modalities), "held": list(sync.held),
        "skew_ms": {name: round(skew, 3) for name, skew in sync.skew_ms.items()}, "clock": sync.clock,
    }  # fmt: skip
    if prediction.uncertainty is not None:
        body["uncertainty"] = _uncertainty(prediction.uncertainty)
    return body


def _uncertainty(uncertainty: Uncertainty) -> Json:
    body: Json = {"entropy": _round(uncertainty.entropy), "calibrated": uncertainty.calibrated}
    return body if uncertainty.set is None else {"entropy": body["entropy"], "set": list(uncertainty.set), "calibrated": body["calibrated"]}


def _face(face: FaceEvent) -> Json:
    return {
        "track": face.track, "bbox": [round(x, 2) for x in face.bbox],
        "keypoints": {name: [round(x, 2), round(y, 2)] for name, (x, y) in face.keypoints.items()},
        "score": None if face.score is None else _round(face.score), "tentative": face.tentative, "sampled": face.sampled,
        "prediction": None if face.prediction is None else _prediction(face.prediction),
        "no_call": None if face.no_call is None else {"code": face.no_call.code, "filled": _round(face.no_call.filled)},
    }  # fmt: skip
