"""What a session says when a picture cannot be read, or a window's graph fails or gives no numbers; results are handed in by hand."""

from __future__ import annotations

import numpy as np
import pytest

from capture.frame import Bundle
from capture.image import ImageBroken
from engines.manifest import Expression
from service.events import Event, ModelName, Rejected
from service.inputs import Failed, Request, Result
from service.models import Model
from service.perception.synthetic import SyntheticPerception, find_row, synthetic_expression
from service.session import Session
from service.settings import SessionOptions
from tests.session.world import D, bundle, face


class Unreadable(SyntheticPerception):
    def detect(self, bundle: Bundle) -> Request:
        raise ImageBroken("it ends in the middle")


def whole() -> Model:
    """A model of one graph over two samples."""
    body = synthetic_expression(D, 2, 2, 1).model_dump(mode="json", by_alias=True, exclude_none=True)
    graph = body["graphs"].pop("frame")
    graph["inputs"][0]["shape"] = [2, D]
    graph["outputs"] = [tensor for tensor in graph["outputs"] if tensor["name"] == "probabilities"]
    del body["aggregate"]
    manifest = Expression.model_validate(body | {"graphs": {"full": graph}, "outputs": {"probabilities": "probabilities"}})
    return Model(manifest, ModelName(manifest.id, "0" * 12), "synthetic", None, ())


def test_a_picture_that_cannot_be_read_is_rejected_and_the_session_goes_on() -> None:
    session = Session(whole(), Unreadable(D, confirm_frames=1), SessionOptions())
    for number in (1, 2):
        assert session.advance(bundle(number, [face()])).events == (Rejected(number, "image-broken", "it ends in the middle"),)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"probabilities": np.array([0.25, np.nan, 0.25, 0.25], np.float32)}, "not-finite"),
        ({"probabilities": np.array([0.25, np.inf, 0.25, 0.25], np.float32)}, "not-finite"),
        (Failed("backend-lost", "the server is gone"), "backend-lost"),
    ],
)
def test_a_window_without_an_answer_says_why(result: Result, code: str) -> None:
    session = Session(whole(), SyntheticPerception(D, confirm_frames=1), SessionOptions())
    events: list[Event] = []
    for number in (1, 2, 3):
        step = session.advance(bundle(number, [face()]))
        while step.requests:
            step = session.complete([find_row(r.inputs) if "table" in r.inputs else result for r in step.requests])
        events += [event for event in step.events if isinstance(event, Event)]
    told = [(f.prediction, f.no_call and f.no_call.code) for event in events for f in event.faces]
    assert told == [(None, "window-filling"), (None, code), (None, code)]
