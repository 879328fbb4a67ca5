"""A gesture's hands may cover the face: a model that wants no face alone goes on seeing the place where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from capture.frame import Bundle
from engines.engine import Arrays
from engines.manifest import CropSpec, Expression
from service.events import Event, ModelName, NoCallCode, SessionEvent
from service.inputs import Detection
from service.models import Model
from service.perception.quality import size_gate
from service.perception.synthetic import SyntheticPerception, synthetic_expression
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions, Taken
from tests.session.world import D, bundle, engines, face, results

BODY = {"size": [1, 1], "kind": "upper-body"}


class Anywhere(SyntheticPerception):
    """Cuts boxes whether or not a face is in them, as pixels are; notes where."""

    def __init__(self) -> None:
        super().__init__(D, confirm_frames=2)
        self.cuts: list[tuple[int, tuple[float, ...]]] = []

    def sample(self, bundle: Bundle, face: Detection, manifest: Expression) -> Arrays | NoCallCode:
        return size_gate(face.box, manifest.gates) or self.crops(bundle, face, manifest.crops)

    def crops(self, bundle: Bundle, face: Detection, specs: Mapping[str, CropSpec]) -> Arrays:
        self.cuts.append((bundle.number, face.box))
        return dict.fromkeys(specs, np.array([1, 0, 0, 0, bundle.number, 1], np.float32))


def run(
    crops: dict[str, Any], seen: list[int], last: int, side: float = 100.0, **gates: float
) -> tuple[list[SessionEvent], list[Taken], Anywhere]:
    """Frames 1 to `last`; the face moves by its number while it is seen."""
    manifest = synthetic_expression(D, 4, 4, 2, crops=crops, window={"max_gap_ms": 200.0}, gates=gates)
    model = Model(manifest, ModelName(manifest.id, "0" * 12), "synthetic", None, ())
    taken: list[Taken] = []
    perception = Anywhere()
    session = Session(model, perception, SessionOptions(on_sample=taken.append))
    pipe = Pipeline(session, Batcher(engines(), {}))
    said = [e for n in range(1, last + 1) for e in pipe.push(bundle(n, [face(x=float(n), side=side)] if n in seen else []))]
    return said, taken, perception


def test_a_held_sample_enters_the_buffer_and_is_in_the_next_window() -> None:
    seen = [1, 2, 3, 4, 7, 8]
    said, taken, perception = run({"face": BODY}, seen, 8)
    assert [sample.frame for sample in taken] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert dict(perception.cuts)[5] == dict(perception.cuts)[6] == (4.0, 0.0, 104.0, 100.0)  # where it was seen last
    events = results(said)
    assert [event.faces[0].sampled for event in events] == [True] * 8
    # Held frames make no call of their own.
    assert [event.faces[0].no_call and event.faces[0].no_call.code for event in events[4:6]] == ["face-lost"] * 2
    assert [event.faces[0].score is None for event in events] == [n not in seen for n in range(1, 9)]
    prediction = events[7].faces[0].prediction
    assert prediction is not None
    assert prediction.window.frames == (5, 6, 7, 8)


def test_a_face_crop_is_not_held() -> None:
    for crops in ({"face": {"size": [1, 1]}}, {"face": BODY, "near": {"size": [1, 1]}}):
        said, taken, _ = run(crops, [1, 2, 3, 4, 7, 8], 8)
        assert [sample.frame for sample in taken] == [1, 2, 3, 4, 7, 8]
        assert [event.faces[0].sampled for event in results(said)] == [True] * 4 + [False] * 2 + [True] * 2


def test_it_ends_with_the_track() -> None:
    said, taken, _ = run({"face": BODY | {"kind": "full"}}, [1, 2, 3, 4], 14)
    # 200 ms after frame 4 is frame 10.
    assert [sample.frame for sample in taken] == list(range(1, 11))
    assert not results(said)[-1].faces


def test_a_tentative_track_is_not_held() -> None:
    said, taken, _ = run({"face": BODY}, [1, 4, 5, 6], 6)
    assert [(sample.track, sample.frame) for sample in taken] == [(1, 1), (2, 4), (2, 5), (2, 6)]
    assert not results(said)[1].faces


def test_the_gates_judge_the_held_box() -> None:
    said, taken, _ = run({"face": BODY}, [1, 2, 3, 4, 7, 8], 8, side=20.0, min_face_px=30.0)
    assert taken == []
    event = results(said)[5]
    assert isinstance(event, Event)
    assert event.faces[0].no_call is not None
    assert event.faces[0].no_call.code == "face-lost"
    assert not event.faces[0].sampled
