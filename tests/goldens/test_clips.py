"""Real clips, real models: what mien must say of them on any machine, and byte for byte on one, in any company."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks.clips import bundles
from service.chosen import detector_of, open_models
from service.events import ClipPrediction, Event, SessionEvent, line
from service.perception import pixels
from service.rounds import Batcher, settle
from service.session import Session
from service.settings import SessionOptions
from tests.goldens import record, statement
from tests.goldens.compare import compare

pytestmark = pytest.mark.usefixtures("media")


def _labels(run: tuple[SessionEvent, ...]) -> dict[int, str]:
    events = [event for event in run if isinstance(event, Event)]
    return {e.frame: f.prediction.label for e in events for f in e.faces if f.prediction and f.prediction.label}


@pytest.mark.parametrize("clip", record.CLIPS)
def test_golden(media: Path, clip: str) -> None:
    assert compare(record.run(media, clip).wired, record.kept_events(clip)).faults == ()


@pytest.mark.parametrize("clip", record.CLIPS)
def test_a_golden_says_what_a_person_sees(clip: str) -> None:
    assert statement.contradictions(statement.read(clip), record.kept_events(clip)) == []


def test_single_face_is_neutral_then_happy_with_one_change(media: Path) -> None:
    labels = _labels(record.run(media, "single_face.mp4").events)
    assert labels[min(labels)] == "neutral"
    assert {label for frame, label in labels.items() if frame >= 52} == {"happy"}
    row = [labels[frame] for frame in sorted(labels)]
    assert sum(a != b for a, b in itertools.pairwise(row)) == 1


def test_no_face_has_no_label_anywhere(media: Path) -> None:
    events = record.run(media, "no_face.mp4").events
    assert _labels(events) == {}
    assert not [e for e in events if isinstance(e, ClipPrediction)]


def test_five_faces_of_a_picture(media: Path) -> None:
    event, *clips = record.run(media, "multi_face.jpg").events
    assert isinstance(event, Event)
    assert [(f.no_call.code, f.no_call.filled) for f in event.faces if f.no_call] == [("window-filling", 0.0625)] * 5
    assert [c.filled for c in clips if isinstance(c, ClipPrediction)] == [0.0625] * 5


def test_twice_the_same_bytes(media: Path) -> None:
    runs = [[line(event) for event in record.run(media, "single_face.mp4").events] for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_same_bytes_alone_or_batched_with_seven_others(media: Path) -> None:
    """Eight sessions a few frames apart share every batch; each must say what it says alone."""
    clips = ["single_face.mp4", "face_noface.mov"]
    frames = {clip: bundles(media / clip)[:72] for clip in clips}
    alone = {clip: [line(e) for e in record.run(media, clip, frames=72).events] for clip in clips}
    config = record.config(providers=record.CPU)
    models = open_models(config)
    try:
        detector, model = detector_of(models, config), models.load(config.model.id)
        models.load(detector.id)
        batcher = Batcher(models.engines, dict.fromkeys(models.engines, 8))
        sessions = [Session(model, pixels.create(detector), SessionOptions(ends=True)) for _ in range(8)]
        lines8: list[list[str]] = [[] for _ in sessions]
        for step in range(72 + 8):
            turn = [(i, step - i) for i in range(8) if 0 <= step - i < 72]
            steps = [(sessions[i], sessions[i].advance(frames[clips[i % 2]][n])) for i, n in turn]
            for (i, _), events in zip(turn, settle(steps, batcher), strict=True):
                lines8[i] += [line(event) for event in events]
    finally:
        models.close()
    for i, lines in enumerate(lines8):
        assert lines == alone[clips[i % 2]], i
