"""Events as if a session had made them, written by hand: for whatever folds, compares or writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.events import (
    Affect,
    ClipPrediction,
    Event,
    FaceEvent,
    ModelName,
    NoCall,
    Prediction,
    Score,
    Sync,
    WindowOf,
)  # fmt: skip

NAME = ModelName("by-hand", "0123456789ab")


def spoken(
    probabilities: Mapping[str, float], candidates: tuple[int, int], affect: tuple[float | None, float | None] | None = None
) -> Prediction:
    """A prediction of a window whose candidates are the frames from the first to the last."""
    scores = tuple(sorted((Score(name, p) for name, p in probabilities.items()), key=lambda score: -score.probability))
    first, last = candidates
    window = WindowOf((first, last), True, candidates, 0.0, 1.0)
    given = None if affect is None else Affect(*affect, derived=False)
    return Prediction(scores, scores[0].name if scores else None, given, window, Sync(("color",), (), {}, "media"), None)


def seen(
    track: int, prediction: Prediction | None = None, *, sampled: bool = True, tentative: bool = False, no_call: NoCall | None = None
) -> FaceEvent:
    """A face of a frame."""
    return FaceEvent(track, (0.0, 0.0, 100.0, 100.0), {}, 1.0, tentative, sampled, prediction, no_call)


def event(frame: int, t_ms: float, faces: Sequence[FaceEvent] = ()) -> Event:
    """A used frame."""
    return Event(frame, round(t_ms * 1e6), any(face.prediction for face in faces), tuple(faces), None, NAME, "by hand")


def clip(
    track: int,
    probabilities: Mapping[str, float],
    affect: tuple[float | None, float | None] | None = None,
    frames: tuple[int, int] = (1, 2),
) -> ClipPrediction:
    """A track's prediction at the end of its clip."""
    said = spoken(probabilities, frames, affect)
    return ClipPrediction(track, said.scores, said.label, said.affect, None, 1, 1.0, frames, NAME, "by hand")
