"""A model that gives valence and nothing else: no labels, no arousal, the trace averaged; from events to all reports."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from engines.engine import Arrays
from engines.manifest import Expression
from engines.synthetic import SyntheticEngine
from service.analyze import Tally
from service.clips.vtt import Vtt
from service.events import ClipPrediction, Event, ModelName, SessionEvent
from service.intake import Source
from service.messages import Timing
from service.models import Model
from service.perception.synthetic import DETECTOR_ID, SyntheticPerception, find_row, synthetic_expression
from service.pipeline import Pipeline
from service.reports import Csv, JsonDocument, Ndjson, Style
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from service.tables import TableReport
from tests.session.world import MS, D, bundle, face

COST = Timing(0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def model() -> Model:
    window = {"period_ms": 100.0, "clip": "trace-mean"}
    body = synthetic_expression(D, 4, 4, 2, id="calm", window=window).model_dump(mode="json", by_alias=True, exclude_none=True)
    body["graphs"]["frame"]["outputs"] = [{"name": "valence", "dtype": "float32", "shape": [1]}]
    manifest = Expression.model_validate(body | {"labels": [], "outputs": {"valence": "valence"}})
    return Model(manifest, ModelName("calm", "0" * 12), "synthetic", None, ())


@pytest.fixture(scope="module")
def said(model: Model) -> list[SessionEvent]:
    def row(inputs: Arrays) -> Arrays:
        return {"valence": np.asarray(inputs["face"])[:1]}

    graphs = {(DETECTOR_ID, "full"): SyntheticEngine(find_row), ("calm", "frame"): SyntheticEngine(row)}
    pipe = Pipeline(Session(model, SyntheticPerception(D), SessionOptions(ends=True)), Batcher(graphs, {}))
    events = [e for n in range(1, 13) for e in pipe.push(bundle(n, [face(mood=(n / 16 - 1 / 4, 0, 0, 0))], (n - 1) * 100 * MS))]
    return [*events, *pipe.finish()]


def reported(kind: type, model: Model, said: list[SessionEvent]) -> str:
    out = io.StringIO()
    report = kind(out) if kind is Vtt else kind(out, Style(model, several=False))
    source = Source("clip.mp4", "clip.mp4")
    for event in said:
        report.say(source, event, COST)
    report.end(source, Tally(12, 12, 0, 12))
    report.close()
    return out.getvalue()


def test_events_say_valence_and_no_label(said: list[SessionEvent]) -> None:
    told = {e.frame: e.faces[0].prediction for e in said if isinstance(e, Event) and e.faces[0].prediction is not None}
    # Frame n says n/16 − 1/4; a window is the mean of its four.
    values = {frame: (p.affect.valence, p.affect.arousal, p.affect.derived, p.scores, p.label) for frame, p in told.items() if p.affect}
    assert values == {n: ((n - 1.5) / 16 - 0.25, None, False, (), None) for n in (4, 6, 8, 10, 12)}
    (whole,) = (event for event in said if isinstance(event, ClipPrediction))
    assert whole.affect is not None
    # Frames 1–2 and 11–12 are in one window, the others in two: each frame's mean first, then the frames'.
    one, two = [2.5, 2.5, 10.5, 10.5], [n for n in (3.5, 5.5, 7.5, 9.5) for _ in range(2)]
    assert whole.affect.valence == pytest.approx(np.mean([*one, *two]) / 16 - 0.25)
    assert (whole.affect.arousal, whole.label, whole.scores, whole.windows) == (None, None, (), 5)


def test_every_report_says_valence_alone(model: Model, said: list[SessionEvent]) -> None:
    rows = list(csv.DictReader(io.StringIO(reported(Csv, model, said))))
    assert not any(name.startswith("p_") for name in rows[0])
    assert [row["kind"] for row in rows] == ["frame"] * 12 + ["clip"]
    assert {(row["label"], row["probability"], row["arousal"]) for row in rows} == {("", "", "")}
    assert (rows[0]["valence"], rows[-1]["valence"]) == ("-0.093750", "0.156250")
    document = json.loads(reported(JsonDocument, model, said))
    assert document["trace"][0] == {
        "track": 1, "frame": 1, "t_ns": 0, "scores": [], "label": None, "valence": -0.09375,
        "windows": 1, "final": True, "interpolated": False,
    }  # fmt: skip
    (whole,) = document["clip_prediction"]
    assert (whole["label"], whole["scores"], whole["valence"], whole["derived"]) == (None, [], 0.15625, False)
    assert "arousal" not in whole
    assert json.loads(reported(Ndjson, model, said).splitlines()[3])["faces"][0]["prediction"]["valence"] == -0.09375
    table = [line.split() for line in reported(TableReport, model, said).splitlines()]
    assert ["1.100", "1", "-", "+0.41"] in table
    assert ["1", "-", "+0.16", "1-12", "5", "1.000"] in table
    assert "<v Face 1>valence -0.1" in reported(Vtt, model, said)


def test_a_model_that_speaks_at_the_end_only_has_one_table(model: Model, said: list[SessionEvent]) -> None:
    silent = [event for event in said if isinstance(event, ClipPrediction)]
    table = reported(TableReport, model, silent)
    assert table.startswith("clip.mp4: 12 frames, 12 with a face\ntrack ")
    assert "time s" not in table
