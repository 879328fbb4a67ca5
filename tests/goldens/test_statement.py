"""What contradicts the statement of what a clip shows: true goldens, each with one thing put wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.goldens import record, statement
from tests.goldens.record import Json

Events = list[Json]


def _face(events: Events, frame: int) -> Json:
    face: Json = events[frame - 1]["faces"][0]
    return face


def _lost(events: Events) -> None:
    _face(events, 40)["score"] = None


def _two(events: Events) -> None:
    events[39]["faces"] = [_face(events, 40), {**_face(events, 40), "track": 2}]


def _elsewhere(events: Events) -> None:
    _face(events, 36)["bbox"] = [400.0, 120.0, 576.0, 296.0]


def _another(events: Events) -> None:
    _face(events, 72)["track"] = 2


def _angry(events: Events) -> None:
    _face(events, 16)["prediction"]["label"] = "angry"


def _silent(events: Events) -> None:
    for frame in range(48, 73):
        _face(events, frame)["prediction"] = None


def _short(events: Events) -> None:
    del events[70]


WRONG: dict[Callable[[Events], None], str] = {
    _lost: "frame 40: 0 people; there are 1",
    _two: "frame 40: 2 people; there are 1",
    _elsewhere: "frame 36: no face at [216, 88, 370, 285]",
    _another: "one person is 2 tracks",
    _angry: "window 1 to 16: angry; the face looks neutral",
    _silent: "no window lies within frames [21, 70], where the face looks happy",
    _short: "71 frames; the clip has 72",
}


@pytest.mark.parametrize(("put", "text"), WRONG.items(), ids=[put.__name__ for put in WRONG])
def test_what_contradicts_a_face(put: Callable[[Events], None], text: str) -> None:
    events = record.kept_events("single_face.mp4")
    put(events)
    assert any(wrong.startswith(text) for wrong in statement.contradictions(statement.read("single_face.mp4"), events))


def test_what_contradicts_a_clip_of_nobody() -> None:
    shows, face = statement.read("no_face.mp4"), _face(record.kept_events("single_face.mp4"), 1)
    events = record.kept_events("no_face.mp4")
    for event in events[10:20]:
        event["faces"] = [face]
    first = statement.contradictions(shows, events)[0]
    assert first.startswith("11 of 95 frames without anybody have a tentative face")
    events = record.kept_events("no_face.mp4")
    events[10]["faces"] = [{**face, "tentative": False}]
    assert statement.contradictions(shows, events) == ["frame 11: 1 people; there are 0"]
    events[10]["faces"] = [{**face, "prediction": _face(record.kept_events("single_face.mp4"), 16)["prediction"]}]
    assert statement.contradictions(shows, events) == ["frame 11: a prediction where there is nobody"]
