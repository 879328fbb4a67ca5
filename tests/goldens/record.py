"""What a golden keeps of a clip: labels and frame numbers exactly, numbers to compare within a tolerance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.analyze import Analyser, analyse
from service.config import Config
from service.events import ClipPrediction, Event, SessionEvent
from service.intake import Source

HERE = Path(__file__).parent
CLIPS: dict[str, dict[str, Any]] = {
    "single_face.mp4": {},
    "no_face.mp4": {},
    "WolfgangLanger_Pexels.mp4": {},
    "face_noface.mov": {},
    "multi_face.jpg": {"detector": "blazeface-back", "faces": 5},
    "single_face.jpg": {},
}


def analyser(detector: str = "blazeface-front", faces: int = 1, model: str = "fer-small") -> Analyser:
    """The composition `mien analyze` makes of these flags."""
    return Analyser.create(Config.model_validate({"model": {"id": model, "detector": detector}, "session": {"faces": faces}}))


def run(media: Path, clip: str) -> list[SessionEvent]:
    """Everything said of a clip."""
    with analyser(**CLIPS[clip]) as composed:
        return list(analyse(Source(media / clip, clip), composed))


def golden(said: Sequence[SessionEvent]) -> dict[str, Any]:
    """The golden of a clip: used frames with faces in short, due frames in full, clip predictions."""
    events = [event for event in said if isinstance(event, Event)]
    due = [
        {
            "frame": event.frame,
            "no_call": event.no_call,
            "faces": [
                {
                    "track": face.track,
                    "tentative": face.tentative,
                    "no_call": face.no_call.code if face.no_call else None,
                    "label": face.prediction.label if face.prediction else None,
                    "window": list(face.prediction.window.frames) if face.prediction else None,
                    "probability": face.prediction.scores[0].probability if face.prediction else None,
                    "bbox": list(face.bbox),
                }
                for face in event.faces
            ],
        }
        for event in events
        if event.due
    ]
    clips = [
        {
            "track": c.track,
            "label": c.label,
            "windows": c.windows,
            "filled": c.filled,
            "frames": list(c.frames),
            "probability": c.scores[0].probability,
        }
        for c in said
        if isinstance(c, ClipPrediction)
    ]
    return {"used": len(events), "with_face": sum(bool(e.faces) for e in events), "due": due, "clip": clips}


def path(clip: str) -> Path:
    """Where a clip's golden stands."""
    return HERE / f"{clip}.json"


def text(body: dict[str, Any]) -> str:
    """A golden as text: one due frame a line, so that a difference can be read."""
    lines = ",\n".join("  " + json.dumps(row) for row in body["due"])
    rest = json.dumps({key: value for key, value in body.items() if key != "due"})
    return f'{rest[:-1]}, "due": [\n{lines}\n]}}\n'
