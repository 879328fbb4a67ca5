"""Real clips, real models: what mien must say of them, byte for byte between runs and in any company."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from benchmarks.clips import bundles
from service.analyze import analyse
from service.events import ClipPrediction, Event, SessionEvent, line
from service.intake import Source
from service.perception import pixels
from service.rounds import Batcher, settle
from service.session import Session
from service.settings import SessionOptions
from tests.goldens import record

pytestmark = pytest.mark.usefixtures("media")
PROBABILITY = 2e-3
PIXELS = 0.5


def _labels(said: list[SessionEvent]) -> dict[int, str]:
    return {e.frame: f.prediction.label for e in said if isinstance(e, Event) for f in e.faces if f.prediction and f.prediction.label}


@pytest.mark.parametrize("clip", record.CLIPS)
def test_golden(media: Path, clip: str) -> None:
    found, kept = record.golden(record.run(media, clip)), json.loads(record.path(clip).read_text())
    _same(found, kept, clip)


def _same(found: object, kept: object, at: str) -> None:
    """Labels and frame numbers exactly; probabilities and pixels within a tolerance (another CPU rounds otherwise)."""
    if isinstance(kept, dict):
        assert isinstance(found, dict)
        assert found.keys() == kept.keys(), at
        for key in kept:
            _same(found[key], kept[key], f"{at}.{key}")
    elif isinstance(kept, list):
        assert isinstance(found, list)
        assert len(found) == len(kept), at
        for i, (a, b) in enumerate(zip(found, kept, strict=True)):
            _same(a, b, f"{at}[{i}]")
    elif isinstance(kept, float):
        assert found == pytest.approx(kept, abs=PIXELS if "bbox" in at else PROBABILITY), at
    else:
        assert found == kept, at


def test_single_face_is_neutral_then_happy_with_one_change(media: Path) -> None:
    labels = _labels(record.run(media, "single_face.mp4"))
    assert labels[min(labels)] == "neutral"
    assert {label for frame, label in labels.items() if frame >= 52} == {"happy"}
    row = [labels[frame] for frame in sorted(labels)]
    assert sum(a != b for a, b in itertools.pairwise(row)) == 1


def test_no_face_has_no_label_anywhere(media: Path) -> None:
    said = record.run(media, "no_face.mp4")
    assert _labels(said) == {}
    assert not [e for e in said if isinstance(e, ClipPrediction)]


def test_five_faces_of_a_picture(media: Path) -> None:
    event, *clips = record.run(media, "multi_face.jpg")
    assert isinstance(event, Event)
    assert [(f.no_call.code, f.no_call.filled) for f in event.faces if f.no_call] == [("window-filling", 0.0625)] * 5
    assert [c.filled for c in clips if isinstance(c, ClipPrediction)] == [0.0625] * 5


def test_twice_the_same_bytes(media: Path) -> None:
    runs = [[line(event) for event in record.run(media, "single_face.mp4")] for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_same_bytes_alone_or_batched_with_seven_others(media: Path) -> None:
    """Eight sessions a few frames apart share every batch; each must say what it says alone."""
    clips = ["single_face.mp4", "face_noface.mov"]
    frames = {clip: bundles(media / clip)[:72] for clip in clips}
    with record.analyser() as composed:
        alone = {}
        for clip in clips:
            said = [line(e) for e in analyse(Source(media / clip, clip), composed) if isinstance(e, Event)]
            alone[clip] = said[:72]
        detector = composed._models.folder("blazeface-front").manifest
        perception = pixels.create(detector)  # type: ignore[arg-type]
        batcher = Batcher(composed._models.engines, dict.fromkeys(composed._models.engines, 8))
        sessions = [Session(composed.model, perception, SessionOptions(ends=True)) for _ in range(8)]
        said8: list[list[str]] = [[] for _ in sessions]
        for step in range(72 + 8):
            turn = [(i, step - i) for i in range(8) if 0 <= step - i < 72]
            steps = [(sessions[i], sessions[i].advance(frames[clips[i % 2]][n])) for i, n in turn]
            for (i, _), events in zip(turn, settle(steps, batcher), strict=True):
                said8[i] += [line(event) for event in events if isinstance(event, Event)]
    for i, lines in enumerate(said8):
        assert lines == alone[clips[i % 2]], i
