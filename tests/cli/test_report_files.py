"""CSV, JSON and NDJSON as whole files: `tests/cli/reports/` was written by hand from docs/analyze.md and the events below.

`clip.*` is one input at 1:02:03 with two tracks, what is averaged, interpolated, missing, rejected; `several.*` are two
inputs of a model without labels, of which the first fails.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

import pytest

from engines.manifest import parse
from service.analyze import Tally
from service.clips.result import Result
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
    SourceEvent,
    Sync,
    Uncertainty,
    WindowOf,
)
from service.intake import Source
from service.messages import Failure, Timing
from service.models import Model
from service.reports import Csv, JsonDocument, Ndjson, Report, Style

FILES = Path(__file__).with_name("reports")
NO_COST = Timing(0, 0, 0, 0, 0)
TINY, CALM = ModelName("tiny", "0123456789ab"), ModelName("calm", "ba9876543210")
CLIP = Source(Path("a.mp4"), 'a, "café".mp4')
COLOR = Sync(("color",), (), {}, "media")
Kind = Callable[[TextIO, Style], Report]


def manifest(labels: list[str], outputs: dict[str, int], weights: str) -> Any:
    """A manifest with one output per role, of this size."""
    digest = "0" * 64
    graph = {
        "file": "frame.onnx", "inputs": [{"name": "face", "dtype": "uint8", "shape": [8, 8, 3]}],
        "outputs": [{"name": role, "dtype": "float32", "shape": [size]} for role, size in outputs.items()],
    }  # fmt: skip
    return parse(json.dumps({
        "schema": "mien.model/1", "kind": "expression", "id": "tiny", "title": "Tiny", "opset": 17, "card": "card.md",
        "files": {"card.md": digest, "licence.txt": digest, "frame.onnx": digest}, "graphs": {"frame": graph},
        "weights": {"kind": weights, "source": "seed"}, "licence": {"spdx": "Apache-2.0", "file": "licence.txt", "holder": "us"},
        "cost": {"gmac_per_frame": 0.1}, "labels": labels, "crops": {"face": {"size": [8, 8]}},
        "outputs": {role: role for role in outputs}, "window": {"frames": 2, "buffer": 2, "hop": 1}, "aggregate": "mean-probabilities",
    }))  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Model:
    made = manifest(["neutral", "happy", "sad"], {"probabilities": 3}, "random")
    return Model(made, TINY, "onnx:CPUExecutionProvider", None, ("it is tiny",))


@pytest.fixture(scope="module")
def calm() -> Model:
    return Model(manifest([], {"valence": 1, "arousal": 1}, "pretrained"), CALM, "openvino:CPU", None, ())


def scores(**probabilities: float) -> tuple[Score, ...]:
    return tuple(Score(name, probability) for name, probability in probabilities.items())


def face(
    track: int, score: float | None, prediction: Prediction | None = None, no_call: NoCall | None = None, *, sampled: bool = True,
    tentative: bool = False,
) -> FaceEvent:  # fmt: skip
    left = 10.0 if track == 1 else 50.0
    box = (left, 20.0, 30.0, 40.0) if track == 1 else (left, 20.0, 60.0, 30.0)
    return FaceEvent(track, box, {}, score, tentative, sampled, prediction, no_call)


def event(frame: int, t_ns: int, due: bool, *faces: FaceEvent, no_face: bool = False) -> Event:
    return Event(frame, t_ns, due, faces, "no-face" if no_face else None, TINY, "onnx", "random")


FIRST = Prediction(
    scores(happy=0.7, neutral=0.2, sad=0.1), "happy", Affect(1.0, -0.25, True, (1.125, -0.25)), WindowOf((1, 2), False, (1, 2), 40.0, 1.0),
    COLOR, Uncertainty(0.8018185525, False),
)  # fmt: skip
SECOND = Prediction(
    scores(sad=0.6, neutral=0.3, happy=0.1), "sad", Affect(-0.2, 0.05, False), WindowOf((2, 5), True, (2, 5), 120.0, 0.5),
    Sync(("color", "depth", "thermal"), ("thermal",), {"depth": -12.3456, "thermal": 33.0}, "host"),
    Uncertainty(0.8979457249, True, ("sad", "neutral")),
)  # fmt: skip
THIRD = Prediction(scores(sad=0.5, happy=0.25, neutral=0.25), "sad", None, WindowOf((7, 7), False, (7, 7), 0.0, 1.0), COLOR, None)
TENTATIVE = FaceEvent(1, (10.004, 20.126, 30.5, 40.0), {"nose": (15.556, 25.0)}, 0.98765432, True, True, None, None)
NOT_FINITE = FaceEvent(3, (0.0, 0.0, 9.0, 9.0), {}, 0.4, False, True, None, NoCall("not-finite", 1.0))
EVENTS: tuple[SessionEvent, ...] = (
    event(1, 3_723_005_000_000, False, TENTATIVE),
    event(
        2, 3_723_045_000_000, True, face(1, 0.9, FIRST),
        face(2, 0.5, no_call=NoCall("window-filling", 0.03125), sampled=False, tentative=True),
    ),
    event(
        3, 3_723_085_000_000, False, face(1, 0.9, sampled=False), face(2, None, no_call=NoCall("face-lost", 0.0), sampled=False),
    ),
    Rejected(4, "time-order", "3 ms before frame 3"),
    event(5, 3_723_165_000_000, True, face(1, 0.9, SECOND)),
    SourceEvent("door", "lost", "color", 3_723_190_000_000),
    event(6, 3_723_205_000_000, True, no_face=True),
    event(7, 3_723_245_001_000, True, face(2, 0.5, THIRD), NOT_FINITE),
    ClipPrediction(
        1, scores(happy=0.41234567, sad=0.33765433, neutral=0.25), "happy", Affect(0.4, -0.1, True), None, 2, 1.0, (1, 5), TINY, "onnx",
        "random",
    ),
    ClipPrediction(
        2, scores(sad=0.5, happy=0.25, neutral=0.25), "sad", None, WindowOf((7, 7), False, (7, 7), 0.0, 0.0625), 1, 0.0625, (2, 7), TINY,
        "onnx", "random",
    ),
)  # fmt: skip
"""Track 1 has windows of frames 1–2 and 2–5; frame 3, a third of the way in time from 2 to 5, is in neither. Track 2 has
one of frame 7 only, track 3 none."""

MOOD = Prediction(
    (), None, Affect(-1.0, 0.1234567, False, (None, 0.1234567)), WindowOf((1,), False, (1, 1), 0.0, 1.0),
    Sync(("color",), (), {}, "arrival"), None,
)  # fmt: skip
CALM_EVENTS: tuple[SessionEvent, ...] = (
    Event(1, -40_000_000, True, (FaceEvent(9, (1.0, 2.0, 3.0, 4.0), {}, 1.0, False, True, MOOD, None),), None, CALM, "openvino"),
    Event(2, 0, False, (), None, CALM, "openvino"),
)
GONE = (Source(Path("gone.mp4"), "gone.mp4"), (), Failure("empty-clip", "gone.mp4 is empty", False))
STILL = (Source(Path("still.mp4"), "still.mp4"), CALM_EVENTS, Tally(None, 2, 0, 1))
Input = tuple[Source, Sequence[SessionEvent], Tally | Failure]


def written(kind: Kind, style: Style, *inputs: Input) -> str:
    """The text of a report over some inputs."""
    out = io.StringIO(newline="")
    report = kind(out, style)
    for source, events, outcome in inputs:
        for one in events:
            report.say(source, one, NO_COST)
        report.end(source, outcome)
    report.close()
    return out.getvalue()


def expected(name: str) -> str:
    with (FILES / name).open(encoding="utf-8", newline="") as file:
        return file.read()


@pytest.mark.parametrize(("kind", "suffix"), [(Csv, "csv"), (JsonDocument, "json"), (Ndjson, "ndjson")])
def test_one_input(tiny: Model, kind: Kind, suffix: str) -> None:
    assert written(kind, Style(tiny, several=False), (CLIP, EVENTS, Tally(8, 7, 1, 4, True))) == expected(f"clip.{suffix}")


@pytest.mark.parametrize(("kind", "suffix"), [(Csv, "csv"), (JsonDocument, "json"), (Ndjson, "ndjson")])
def test_several_inputs_one_of_them_failed(calm: Model, kind: Kind, suffix: str) -> None:
    assert written(kind, Style(calm, several=True), GONE, STILL) == expected(f"several.{suffix}")


HEADER = "input,kind,track,frame,last_frame,t_s,label,probability,valence,arousal,windows,filled,final,interpolated\n"
ERROR = '{"type":"error","code":"empty-clip","detail":"gone.mp4 is empty","retryable":false}\n'


@pytest.mark.parametrize(("kind", "text"), [(Csv, HEADER), (JsonDocument, ""), (Ndjson, ERROR)])
def test_one_input_that_fails(calm: Model, kind: Kind, text: str) -> None:
    assert written(kind, Style(calm, several=False), GONE) == text


@pytest.mark.parametrize(("kind", "text"), [(Csv, HEADER), (JsonDocument, "[]\n"), (Ndjson, "")])
def test_several_inputs_of_which_there_are_none(calm: Model, kind: Kind, text: str) -> None:
    assert written(kind, Style(calm, several=True)) == text


@pytest.mark.parametrize("kind", [Csv, JsonDocument, Ndjson])
def test_nothing_of_one_input_is_left_in_the_next(calm: Model, kind: Kind) -> None:
    """The same input three times gives three times the same, in the order of the inputs."""
    once, thrice = (written(kind, Style(calm, several=True), *[STILL] * times) for times in (1, 3))
    if kind is JsonDocument:
        assert json.loads(thrice) == json.loads(once) * 3
        return
    head = HEADER if kind is Csv else ""
    assert thrice == head + once.removeprefix(head) * 3


def test_a_result_of_the_server_is_the_same_in_every_format(tiny: Model) -> None:
    result = Result(CLIP.name, tiny)
    for one in EVENTS:
        result.add(one)
    texts = result.texts(Tally(8, 7, 1, 4, True))
    assert {suffix: texts[suffix] for suffix in ("csv", "json", "ndjson")} == {
        suffix: expected(f"clip.{suffix}") for suffix in ("csv", "json", "ndjson")
    }
    # Frames 1 and 2 of track 1 are happy, 55 % on average. Windows hold frames 40 and 120 ms apart: the step is 120 ms.
    assert texts["vtt"].splitlines()[4:] == [
        "1", "01:02:03.005 --> 01:02:03.165", "<v Face 1>happy 55%", "",
        "2", "01:02:03.165 --> 01:02:03.285", "<v Face 1>sad 60%", "",
        "3", "01:02:03.245 --> 01:02:03.365", "<v Face 2>sad 50%",
    ]  # fmt: skip


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is 5:45 h ahead."""
    monkeypatch.setenv("TZ", "XYZ-5:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize("kind", [JsonDocument, Ndjson])
def test_timing_is_in_milliseconds_and_its_time_is_utc(calm: Model, kind: Kind) -> None:
    out = io.StringIO(newline="")
    report = kind(out, Style(calm, several=False, timing=True))
    before = datetime.now(timezone.utc)
    report.say(STILL[0], CALM_EVENTS[0], Timing(5, 1_234_567, 20_000_000, 3_000_499, 9))
    after = datetime.now(timezone.utc)
    report.end(STILL[0], STILL[2])
    report.close()
    line = next(line for line in out.getvalue().splitlines() if line.startswith('{"type":"result"'))
    bare, _, added = line.partition(',"delivery":')
    assert bare + "}" == expected("several.json").splitlines()[9].removesuffix(",")
    stamp = json.loads(added.removesuffix("}"))["t_utc"]
    assert added == f'{{"t_utc":"{stamp}","timing":{{"decode":1.235,"wait":20.0,"infer":3.0}}}}}}'
    # To the millisecond, cut off.
    assert before.timestamp() - 0.001 <= datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() <= after.timestamp()
    assert stamp.endswith("Z")
