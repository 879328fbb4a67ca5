"""What is recorded of a clip: everything that mien says of it, and what its keyframes were chosen by.

Owns how a clip is run, and the two files of its golden: `CLIP.ndjson`, the events as users get them, and `CLIP.codes`,
a line per sample. Does not own what must be equal (`compare.py`), what a clip shows (`CLIP.toml`) or when a golden may
change (`rewrite.py`).

`python -m tests.goldens.record CLIP [FRAMES]` prints the events of a clip, or of its first frames, after a line on the
CPU.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from service.analyze import Analyser
from service.config import Config
from service.events import Event, SessionEvent, wire
from service.intake import Source
from service.settings import Taken
from service.windows.keyframes import Itq
from tests.media import ensure

Json = dict[str, Any]
HERE = Path(__file__).parent
CLIPS: dict[str, dict[str, Any]] = {
    "single_face.mp4": {},
    "no_face.mp4": {},
    "WolfgangLanger_Pexels.mp4": {},
    "face_noface.mov": {},
    "multi_face.jpg": {"detector": "blazeface-back", "faces": 5},
    "single_face.jpg": {},
}
CPU = ("CPUExecutionProvider",)
_SAME = ("model", "backend", "schema")


@dataclass(frozen=True, slots=True)
class Code:
    """What a sample's distance comes from: its 16-bit code, and how far its features are from the track's sample
    before, in millionths (0 for a track's first)."""

    frame: int
    track: int
    code: int
    move: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One run of a clip."""

    events: tuple[SessionEvent, ...]
    codes: tuple[Code, ...]

    @property
    def wired(self) -> list[Json]:
        """The events as users get them."""
        return [wire(event) for event in self.events]


def config(
    detector: str = "blazeface-front", faces: int = 1, model: str = "fer-small", providers: Sequence[str] | None = None
) -> Config:  # fmt: skip
    """What `mien analyze` makes of these flags."""
    sections = {
        "model": {"id": model, "detector": detector},
        "session": {"faces": faces},
        "engine": {"providers": providers},
    }
    return Config.model_validate(sections)


def analyser(detector: str = "blazeface-front", faces: int = 1, model: str = "fer-small") -> Analyser:
    """The composition that `mien analyze` makes of these flags."""
    return Analyser.create(config(detector, faces, model))


def run(media: Path, clip: str, frames: int | None = None) -> Recording:
    """Run a clip, or its first `frames`, on the CPU, wherever there is a GPU too."""
    events: list[SessionEvent] = []
    with Analyser.create(config(**CLIPS[clip], providers=CPU)) as composed:
        assert composed.model.itq is not None
        codes = _Codes(composed.model.itq)
        for event, _ in composed.open(Source(media / clip, clip), on_sample=codes.take):
            events.append(event)
            if isinstance(event, Event) and event.frame == frames:
                break
    return Recording(tuple(events), tuple(codes.taken))


class _Codes:
    """Takes down the code of every sample, computed from its features apart from the session."""

    def __init__(self, itq: Itq) -> None:
        self.taken: list[Code] = []
        self._itq = itq
        self._before: dict[int, NDArray[np.float64]] = {}

    def take(self, sample: Taken) -> None:
        feature = np.array(sample.feature, np.float64).ravel()
        before = self._before.get(sample.track, feature)
        self._before[sample.track] = feature
        move = round(float(np.linalg.norm(feature - before)) * 1e6)
        self.taken.append(Code(sample.frame, sample.track, self._itq.code(feature), move))


# The files.


def events_path(clip: str, folder: Path = HERE) -> Path:
    """Where a clip's events stand."""
    return folder / f"{clip}.ndjson"


def codes_path(clip: str, folder: Path = HERE) -> Path:
    """Where the codes of its samples stand."""
    return folder / f"{clip}.codes"


def events_text(events: Sequence[Mapping[str, Any]]) -> str:
    """Events as text: what is the same in all of them first, then one a line, so that a difference can be read."""
    same = {key: events[0][key] for key in _SAME}
    rows = [same]
    for event in events:
        if any(event[key] != same[key] for key in _SAME):
            other = [event[key] for key in _SAME]
            raise ValueError(f"{', '.join(_SAME)} must be the same in all events of a clip; one has {other}")
        rows.append({key: value for key, value in event.items() if key not in _SAME})
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def codes_text(codes: Sequence[Code]) -> str:
    """Codes as text: frame, track, code (hex), move."""
    return "frame track code move\n" + "".join(f"{c.frame} {c.track} {c.code:04x} {c.move}\n" for c in codes)


def kept_events(clip: str, folder: Path = HERE) -> list[Json]:
    """The golden's events."""
    same, *rows = map(json.loads, events_path(clip, folder).read_text(encoding="utf-8").splitlines())
    return [{**row, **same} for row in rows]


def kept_codes(clip: str, folder: Path = HERE) -> list[Code]:
    """The golden's codes."""
    _, *rows = codes_path(clip, folder).read_text(encoding="utf-8").splitlines()
    return [Code(int(frame), int(track), int(code, 16), int(move)) for frame, track, code, move in map(str.split, rows)]


def main(clip: str, frames: str | None = None) -> None:
    """Print what kind of CPU this is, then the clip's events, one a line."""
    features = {name: cv2.checkHardwareSupport(number) for name, number in (("avx", 10), ("avx2", 11), ("avx512", 13))}
    print(json.dumps(features))
    for event in run(ensure(), clip, None if frames is None else int(frames)).wired:
        print(json.dumps(event))


if __name__ == "__main__":
    main(*sys.argv[1:])
