"""An event as clients get it: every field of a prediction by hand, skew with its sign, rounding, what is left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from capture.frame import Bundle, Frame
from service.events import Affect, ClipPrediction, line, wire
from service.perception.synthetic import table
from tests.session.world import MS, D, bundle, face, model, odds, pipeline, results
from tests.session.written import NAME, event, seen, spoken

POINTS = {"sad": (-0.6, -0.2), "neutral": (0.0, 0.1), "angry": (-0.4, 0.8), "happy": (0.8, 0.4)}


def rig(number: int, skew_ns: Mapping[str, int], held: tuple[str, ...] = ()) -> Bundle:
    """A bundle of colour and what else has a skew, at 100 ms each."""
    t_ns = number * 100 * MS
    frames = {"cam": Frame("cam", "color", number, t_ns, t_ns, table([face(mood=odds(0.1, 0.2, 0.3, 0.4))], D))}
    return Bundle(number, t_ns, "host", t_ns, frames, skew_ns, (), held)


def test_skew_is_in_ms_and_negative_for_what_came_before_colour() -> None:
    pipe = pipeline(model(1, 1, 1), confirm=1)
    (said,) = results(pipe.push(rig(1, {"cam": 0, "deep": -5 * MS, "warm": 8_250_000, "late": 1_234_567}, held=("warm",))))
    prediction = said.faces[0].prediction
    assert prediction is not None
    assert dict(prediction.sync.skew_ms) == {"cam": 0.0, "deep": -5.0, "warm": 8.25, "late": 1.234567}
    told = wire(said)["faces"][0]["prediction"]["sync"]
    assert told == {
        "modalities": ["color"], "held": ["warm"], "skew_ms": {"cam": 0.0, "deep": -5.0, "warm": 8.25, "late": 1.235}, "clock": "host",
    }  # fmt: skip


def test_the_modalities_are_those_that_the_model_looks_at() -> None:
    crops = {
        "face": {"size": [1, 1]},
        "hot": {"size": [1, 1], "modality": "thermal"},
        "deep": {"size": [1, 1], "modality": "depth"},
    }
    pipe = pipeline(model(1, 1, 1, crops=crops), confirm=1, given=frozenset({"color", "depth", "thermal"}))
    (said,) = results(pipe.push(rig(1, {})))
    assert said.faces[0].prediction is not None
    assert said.faces[0].prediction.sync.modalities == ("color", "depth", "thermal")


def test_a_whole_event_on_the_wire() -> None:
    pipe = pipeline(model(2, 2, 2, affect={"points": POINTS, "source": "a test"}), confirm=1)
    pipe.push(rig(1, {}))
    (said,) = results(pipe.push(rig(2, {"cam": 0})))
    # Entropy of 0.1, 0.2, 0.3, 0.4 in nats; valence 0.16 − 0.18 − 0.16, arousal 0.01 + 0.08 − 0.06 + 0.32.
    expected = (
        '{"type":"result","frame":2,"t_ns":200000000,"due":true,"faces":[{"track":1,"bbox":[0.0,0.0,100.0,100.0],"keypoints":{},'
        '"score":1.0,"tentative":false,"sampled":true,"prediction":{"scores":[{"name":"angry","probability":0.4},'
        '{"name":"sad","probability":0.3},{"name":"happy","probability":0.2},{"name":"neutral","probability":0.1}],"label":"angry",'
        '"valence":-0.18,"arousal":0.35,"derived":true,"window":{"frames":[1,2],"keyframes":false,"candidates":[1,2],'
        '"span_ms":100.0,"filled":1.0},"sync":{"modalities":["color"],"held":[],"skew_ms":{"cam":0.0},"clock":"host"},'
        '"uncertainty":{"entropy":1.279854,"calibrated":false}},"no_call":null}],"no_call":null,'
        '"model":{"id":"synthetic-expression","sha256":"000000000000"},"backend":"synthetic","schema":"mien.event/1","weights":"random"}'
    )
    assert _near(json.loads(line(said)), json.loads(expected))
    assert [key for key, _ in json.loads(line(said), object_pairs_hook=list)] == [
        key for key, _ in json.loads(expected, object_pairs_hook=list)
    ]


def _near(found: Any, expected: Any) -> bool:
    """Whether two JSON values are the same but for the last digit of a float32 softmax."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_near(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_near, found, expected))
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, abs=2e-6))
    return bool(found == expected and type(found) is type(expected))


def test_a_tracks_clip_prediction_on_the_wire() -> None:
    pipe = pipeline(model(2, 2, 2, affect={"points": POINTS, "source": "a test"}), confirm=1, ends=True)
    for number, mood in enumerate([(0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4), (0.4, 0.3, 0.2, 0.1), (0.4, 0.3, 0.2, 0.1)], 1):
        pipe.push(bundle(number, [face(mood=odds(*mood))]))
    (clip,) = pipe.finish()
    assert isinstance(clip, ClipPrediction)
    assert _near(wire(clip), {
        "type": "clip_prediction", "track": 1,
        # Each the mean of two windows: 0.25; in the manifest's order, for they tie.
        "scores": [{"name": name, "probability": 0.25} for name in (score.name for score in clip.scores)],
        "label": clip.scores[0].name, "valence": -0.05, "arousal": 0.275, "derived": True, "window": None, "windows": 2, "filled": 1.0,
        "frames": [1, 4], "model": {"id": "synthetic-expression", "sha256": "000000000000"}, "backend": "synthetic",
        "schema": "mien.event/1", "weights": "random",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("affect", "expected"),
    [
        (Affect(0.1234567, -0.7654321, False), {"valence": 0.123457, "arousal": -0.765432, "derived": False}),
        (Affect(0.5, None, False), {"valence": 0.5, "derived": False}),
        (Affect(None, 0.5, True), {"arousal": 0.5, "derived": True}),
        (
            Affect(1.0, 0.5, False, (1.25, 0.5)),
            {"valence": 1.0, "valence_raw": 1.25, "arousal": 0.5, "arousal_raw": 0.5, "derived": False},
        ),
        (Affect(None, -1.0, False, (None, -2.0)), {"arousal": -1.0, "arousal_raw": -2.0, "derived": False}),
        (None, {}),
    ],
)
def test_affect_on_the_wire(affect: Affect | None, expected: dict[str, Any]) -> None:
    from dataclasses import replace

    told = wire(event(1, 0, [seen(1, replace(spoken({}, (1, 1)), affect=affect))]))["faces"][0]["prediction"]
    names = ("valence", "valence_raw", "arousal", "arousal_raw", "derived")
    assert {name: told[name] for name in names if name in told} == expected


def test_pixels_times_and_shares_are_rounded_for_the_wire_alone() -> None:
    from dataclasses import replace

    from service.events import NoCall

    given = replace(
        seen(3, tentative=True, sampled=False, no_call=NoCall("window-filling", 1 / 3)),
        bbox=(1.005, 2.345678, 30.0, 40.999), keypoints={"left_eye": (10.126, 20.124)}, score=0.12345678,
    )  # fmt: skip
    assert wire(event(5, 12.5, [given])) == {
        "type": "result", "frame": 5, "t_ns": 12_500_000, "due": False,
        "faces": [{
            "track": 3, "bbox": [1.0, 2.35, 30.0, 41.0], "keypoints": {"left_eye": [10.13, 20.12]}, "score": 0.123457,
            "tentative": True, "sampled": False, "prediction": None, "no_call": {"code": "window-filling", "filled": 0.333333},
        }],
        "no_call": None, "model": {"id": NAME.id, "sha256": NAME.sha256}, "backend": "by hand", "schema": "mien.event/1",
    }  # fmt: skip


def test_a_window_that_is_not_full_on_the_wire() -> None:
    """Three samples of four at 0, 33.3 and 66.7 ms: the last is repeated."""
    pipe = pipeline(model(4, 4, 4), confirm=1, ends=True)
    for number in (1, 2, 3):
        pipe.push(bundle(number, [face(mood=odds(0.1, 0.2, 0.3, 0.4))]))
    (clip,) = pipe.finish()
    told = wire(clip)
    assert told["window"] == {
        "frames": [1, 2, 3, 3],
        "keyframes": False,
        "candidates": [1, 3],
        "span_ms": 66.667,
        "filled": 0.75,
    }
    assert (told["filled"], told["windows"], told["frames"], told["label"]) == (0.75, 1, [1, 3], "angry")
