"""The table for people, and names that are no text, on events made by hand. Whole files: `test_report_files.py`."""

from __future__ import annotations

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
from service.reports import Csv, JsonDocument, Ndjson, Report, Style
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


def feed(report: Report, sources: tuple[Source, ...]) -> None:
    for source in sources:
        if source is OTHER:
            report.end(source, FAILURE)
            continue
        for event in EVENTS:
            report.say(source, event, COST)
        report.end(source, Tally(4, 4, 1, 3))
    report.close()


def test_a_name_that_is_no_text_survives_in_json(model: Model, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8", errors="backslashreplace") as out:
        feed(Ndjson(out, Style(model, several=True)), (OTHER,))
    assert json.loads((tmp_path / "out").read_text(encoding="utf-8"))["input"] == OTHER.name


@pytest.mark.parametrize(("kind", "last"), [(Ndjson, '"type":"clip_prediction"'), (JsonDocument, "}"), (Csv, "3")])
def test_all_is_out_when_the_report_is_closed(model: Model, tmp_path: Path, kind: type[Report], last: str) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        feed(kind(out, Style(model, several=False)), (SOURCE,))
        # The file itself is still open: it may be a pipe.
        lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert last in lines[-1]


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
