"""The layouts, on events made by hand: what a run over files cannot easily bring about."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from engines.manifest import parse
from service.analyze import Tally
from service.events import (
    Affect,
    ClipPrediction,
    Event,
    FaceEvent,
    ModelName,
    NoCall,
    Prediction,
    Rejected,
    Score,
    SessionEvent,
    Sync,
    WindowOf,
)
from service.intake import Source
from service.messages import Failure, Timing
from service.models import Model
from service.reports import Csv, JsonDocument, Ndjson, Style
from service.tables import TableReport

NAME = ModelName("tiny", "0123456789ab")
COST = Timing(arrival_ns=0, decode_ns=1_000_000, wait_ns=0, infer_ns=2_500_000, done_ns=9)
HEX = "0" * 64


@pytest.fixture
def model() -> Model:
    manifest = {
        "schema": "mien.model/1", "kind": "expression", "id": "tiny", "title": "Tiny", "opset": 17, "card": "card.md",
        "files": {"card.md": HEX, "licence.txt": HEX, "frame.onnx": HEX},
        "graphs": {"frame": {"file": "frame.onnx", "inputs": [{"name": "face", "dtype": "uint8", "shape": [8, 8, 3]}],
                             "outputs": [{"name": "p", "dtype": "float32", "shape": [2]}]}},
        "weights": {"kind": "random", "source": "seed"}, "licence": {"spdx": "Apache-2.0", "file": "licence.txt", "holder": "us"},
        "cost": {"gmac_per_frame": 0.1}, "labels": ["sad", "happy"], "crops": {"face": {"size": [8, 8]}}, "outputs": {"probabilities": "p"},
        "window": {"frames": 2, "buffer": 2, "hop": 1}, "aggregate": "mean-probabilities",
    }  # fmt: skip
    return Model(manifest=parse(json.dumps(manifest)), name=NAME, backend="onnx:CPUExecutionProvider", itq=None, notes=("it is tiny",))


def said(happy: float) -> tuple[Score, ...]:
    return tuple(sorted((Score("happy", happy), Score("sad", 1 - happy)), key=lambda score: -score.probability))


def predicted(frame: int, happy: float, affect: Affect | None = None) -> Event:
    sync, window = Sync(("color",), (), {}, "media"), WindowOf((frame - 1, frame), False, (frame - 1, frame), 40.0, 1.0)
    prediction = Prediction(said(happy), said(happy)[0].name, affect, window, sync, None)
    return Event(frame, frame * 40_000_000, True, (face(prediction, None),), None, NAME, "onnx", "random")


def face(prediction: Prediction | None, no_call: NoCall | None) -> FaceEvent:
    return FaceEvent(3, (1.0, 2.0, 3.0, 4.0), {}, 0.9, False, True, prediction, no_call)


def silent(frame: int) -> Event:
    return Event(frame, frame * 40_000_000, True, (face(None, NoCall("window-filling", 0.5)),), None, NAME, "onnx", "random")


def whole(happy: float) -> ClipPrediction:
    affect = Affect(-0.5, 0.25, True)
    return ClipPrediction(3, said(happy), said(happy)[0].name, affect, None, 2, 1.0, (1, 4), NAME, "onnx", "random")


SOURCE = Source(Path("a.mp4"), "a.mp4")
OTHER = Source(Path("b.mp4"), "b, \udce9\n.mp4")
EVENTS: list[SessionEvent] = [
    silent(1),
    predicted(2, 0.9),
    Rejected(3, "time-order", "late"),
    predicted(4, 0.2, Affect(0.1, -0.2, True)),
    whole(0.55),
]
FAILURE = Failure("empty-clip", "b is empty", retryable=False)


def feed(report: Csv | JsonDocument | Ndjson | TableReport, sources: tuple[Source, ...]) -> None:
    for source in sources:
        if source is OTHER:
            report.end(source, FAILURE)
            continue
        for event in EVENTS:
            report.say(source, event, COST)
        report.end(source, Tally(4, 4, 1, 3))
    report.close()


def test_csv_averages_interpolates_and_quotes(model: Model) -> None:
    out = io.StringIO(newline="")
    feed(Csv(out, Style(model, several=True)), (SOURCE, OTHER))
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [(row["kind"], row["frame"], row["label"], row["p_sad"], row["p_happy"]) for row in rows] == [
        ("frame", "1", "happy", "0.100000", "0.900000"),
        ("frame", "2", "happy", "0.100000", "0.900000"),
        ("frame", "4", "sad", "0.800000", "0.200000"),
        ("clip", "1", "happy", "0.450000", "0.550000"),
    ]
    assert {row["input"] for row in rows} == {"a.mp4"}
    assert [(row["valence"], row["windows"], row["filled"]) for row in rows[2:]] == [("0.100000", "1", ""), ("-0.500000", "2", "1.000000")]


def test_one_json_document_or_a_list_of_them(model: Model) -> None:
    alone, both, none = io.StringIO(), io.StringIO(), io.StringIO()
    feed(JsonDocument(alone, Style(model, several=False)), (SOURCE,))
    feed(JsonDocument(both, Style(model, several=True)), (SOURCE, OTHER, SOURCE))
    feed(JsonDocument(none, Style(model, several=False)), (OTHER,))
    document = json.loads(alone.getvalue())
    assert (document["weights"], document["notes"]) == ("random", ["it is tiny"])
    assert document["frames"] == {"expected": 4, "decoded": 4, "errors": 1, "with_face": 3}
    assert len(document["events"]) == 4
    assert len(document["clip_prediction"]) == 1
    assert document["trace"][2] == {
        "track": 3, "frame": 4, "t_ns": 160_000_000, "scores": [{"name": "sad", "probability": 0.8}, {"name": "happy", "probability": 0.2}],
        "label": "sad", "valence": 0.1, "arousal": -0.2, "windows": 1, "final": True, "interpolated": False,
    }  # fmt: skip
    failed = {"schema": "mien.analysis/1", "input": OTHER.name, "error": {"code": "empty-clip", "detail": "b is empty"}}
    assert json.loads(both.getvalue()) == [document, failed, document]
    assert none.getvalue() == ""


def test_ndjson_names_its_input_only_among_several_and_says_failures(model: Model) -> None:
    alone, both = io.StringIO(), io.StringIO()
    feed(Ndjson(alone, Style(model, several=False)), (SOURCE,))
    feed(Ndjson(both, Style(model, several=True, timing=True)), (SOURCE, OTHER))
    bare, named = ([json.loads(line) for line in out.getvalue().splitlines()] for out in (alone, both))
    assert named[-1] == {"input": OTHER.name, "type": "error", "code": "empty-clip", "detail": "b is empty", "retryable": False}
    for one, other in zip(bare, named, strict=False):
        assert other.pop("input") == "a.mp4"
        assert other.pop("delivery")["timing"] == {"decode": 1.0, "wait": 0.0, "infer": 2.5}
        assert one == other


def test_a_name_that_is_no_text_survives_in_json(model: Model, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8", errors="backslashreplace") as out:
        feed(Ndjson(out, Style(model, several=True)), (OTHER,))
    assert json.loads((tmp_path / "out").read_text(encoding="utf-8"))["input"] == OTHER.name


def test_the_table_has_a_row_per_due_frame_and_face(model: Model) -> None:
    out = io.StringIO()
    feed(TableReport(out, Style(model, several=True)), (SOURCE, OTHER))
    cells = [line.split() for line in out.getvalue().splitlines()]
    assert cells[0] == ["a.mp4:", "4", "frames,", "3", "with", "a", "face"]
    assert cells[2:6] == [
        ["0.040", "3", "-", "window-filling", "50%"],
        ["0.080", "3", "happy", "0.900"],
        ["frame", "3", "time-order"],
        ["0.160", "3", "sad", "0.800", "+0.10", "-0.20"],
    ]
    assert ["3", "happy", "0.550", "-0.50", "+0.25", "1-4", "2", "1.000"] in cells
    assert out.getvalue().splitlines()[-2:] == ["note: it is tiny", "note: the model's weights are random: its labels mean nothing"]
