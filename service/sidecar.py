"""Where the face is in each frame of a clip, as a file beside it: what the virtual rig draws depth and heat from.

Owns the file's making. Does not own finding faces (`analyze.py`) or reading it back (`capture/virtual_world.py`).
"""

from __future__ import annotations

from typing import Any

from service.analyze import Analyser
from service.events import Event
from service.intake import Source


def sidecar(analyser: Analyser, source: Source) -> dict[str, Any]:
    """Return the first face of every frame; null where there is none, or where the frame could not be used.

    Raises:
        SourceError: the clip cannot be read, or not to its end.
    """
    analysis = analyser.open(source)
    found: dict[int, dict[str, Any]] = {}
    for event, _ in analysis:
        if isinstance(event, Event):
            face = next((face for face in event.faces if face.score is not None), None)
            box = None if face is None else [round(v, 1) for v in face.bbox]
            points = {} if face is None else {name: [round(v, 1) for v in at] for name, at in (face.keypoints or {}).items()}
            found[event.frame] = {"t_ns": event.t_ns, "box": box, "keypoints": points}
    none: dict[str, Any] = {"t_ns": None, "box": None, "keypoints": {}}
    faces = [found.get(number, none) for number in range(1, analysis.tally.decoded + 1)]
    return {"width": analysis.info.width, "height": analysis.info.height, "faces": faces}
