"""What passes for the same on another CPU and what does not, on events written by hand."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.goldens.compare import compare

Json = dict[str, Any]


def _prediction(frames: list[int], neutral: float, happy: float) -> Json:
    """A window of T = 4 frames; neutral is the most probable of three classes."""
    return {
        "scores": [
            {"name": "neutral", "probability": neutral},
            {"name": "happy", "probability": happy},
            {"name": "sad", "probability": round(1 - neutral - happy, 6)},
        ],
        "label": "neutral",
        "valence": 0.2,
        "arousal": 0.1,
        "derived": True,
        "window": {"frames": frames, "keyframes": True, "candidates": [1, 8], "span_ms": 200.0, "filled": 1.0},
        "sync": {"modalities": ["color"], "held": [], "skew_ms": {}, "clock": "media"},
        "uncertainty": {"entropy": 0.9, "calibrated": True},
    }


def _event(frame: int, prediction: Json | None) -> Json:
    face = {
        "track": 1, "bbox": [10.0, 20.0, 110.0, 120.0], "keypoints": {"nose": [60.0, 70.0]},
        "score": 0.9, "tentative": False,
        "sampled": True, "prediction": prediction, "no_call": None,
    }  # fmt: skip
    return {
        "type": "result", "frame": frame, "t_ns": frame * 40_000_000, "due": prediction is not None,
        "faces": [face], "no_call": None,
        "model": {"id": "m", "sha256": "0" * 12}, "backend": "onnx:CPUExecutionProvider", "schema": "mien.event/1",
    }  # fmt: skip


def _kept() -> list[Json]:
    """Two windows, clear and not, and the clip's mean of both."""
    clear, unclear = _prediction([1, 3, 5, 8], 0.60, 0.30), _prediction([5, 6, 9, 12], 0.46, 0.42)
    mean = {key: value for key, value in _prediction([], 0.53, 0.36).items() if key not in ("sync", "uncertainty")}
    clip = mean | {
        "type": "clip_prediction",
        "track": 1,
        "window": None,
        "windows": 2,
        "filled": 1.0,
        "frames": [1, 12],
    }
    source = {key: _event(1, None)[key] for key in ("model", "backend", "schema")}
    return [
        *[_event(n, None) for n in range(1, 8)],
        _event(8, clear),
        *[_event(n, None) for n in range(9, 12)],
        _event(12, unclear),
        clip | source,
    ]


CLEAR, UNCLEAR, CLIP = 7, 11, 12


def _say(events: list[Json], at: int) -> Json:
    opinion: Json = events[at]["faces"][0]["prediction"] if events[at]["type"] == "result" else events[at]
    return opinion


def _moved(events: list[Json], at: int, neutral: float, happy: float, label: str = "neutral") -> None:
    opinion = _say(events, at)
    scores = {"neutral": neutral, "happy": happy, "sad": round(1 - neutral - happy, 6)}
    opinion["scores"] = [{"name": n, "probability": p} for n, p in sorted(scores.items(), key=lambda item: -item[1])]
    opinion["label"] = label


FACE = [CLEAR, "faces", 0]
SAID = [*FACE, "prediction"]
EXACT: dict[str, tuple[list[Any], Any]] = {
    "frame": ([0, "frame"], 2),
    "t_ns": ([0, "t_ns"], 40_000_001),
    "due": ([0, "due"], True),
    "no_call": ([0, "no_call"], "no-face"),
    "model": ([0, "model", "sha256"], "1" * 12),
    "backend": ([0, "backend"], "openvino"),
    "schema": ([0, "schema"], "mien.event/2"),
    "type": ([0, "type"], "source"),
    "no faces": ([0, "faces"], []),
    "track": ([*FACE, "track"], 2),
    "tentative": ([*FACE, "tentative"], True),
    "sampled": ([*FACE, "sampled"], False),
    "coasting": ([*FACE, "score"], None),
    "refused": ([0, "faces", 0, "no_call"], {"code": "blurred", "filled": 1.0}),
    "silent": (SAID, None),
    "speaking": ([0, "faces", 0, "prediction"], _prediction([1, 2, 3, 4], 0.6, 0.3)),
    "keypoint": ([*FACE, "keypoints"], {"mouth": [60.0, 70.0]}),
    "derived": ([*SAID, "derived"], False),
    "candidates": ([*SAID, "window", "candidates"], [1, 7]),
    "chosen": ([*SAID, "window", "keyframes"], False),
    "filled": ([*SAID, "window", "filled"], 0.999999),
    "modalities": ([*SAID, "sync", "modalities"], ["color", "depth"]),
    "held": ([*SAID, "sync", "held"], ["cam"]),
    "skew": ([*SAID, "sync", "skew_ms"], {"cam": 0.0}),
    "clock": ([*SAID, "sync", "clock"], "host"),
    "calibrated": ([*SAID, "uncertainty", "calibrated"], False),
    "set": ([*SAID, "uncertainty", "set"], ["neutral"]),
    "clip windows": ([CLIP, "windows"], 3),
    "clip filled": ([CLIP, "filled"], 0.5),
    "clip frames": ([CLIP, "frames"], [1, 11]),
    "clip window": (
        [CLIP, "window"],
        {"frames": [1], "keyframes": True, "candidates": [1, 1], "span_ms": 0.0, "filled": 1.0},
    ),
}
WITHIN: dict[str, tuple[list[Any], float, float]] = {
    "score": ([*FACE, "score"], 0.9015, 0.9025),
    "probability": ([*SAID, "scores", 0, "probability"], 0.6015, 0.6025),
    "last probability": ([*SAID, "scores", 2, "probability"], 0.0985, 0.0975),
    "valence": ([*SAID, "valence"], 0.203, 0.205),
    "arousal": ([*SAID, "arousal"], 0.097, 0.095),
    "entropy": ([*SAID, "uncertainty", "entropy"], 0.909, 0.911),
    "span": ([*SAID, "window", "span_ms"], 200.0005, 200.002),
    "clip probability": ([CLIP, "scores", 1, "probability"], 0.3615, 0.3625),
    "clip valence": ([CLIP, "valence"], 0.197, 0.195),
}


def _put(events: list[Json], path: list[Any], value: Any) -> None:
    place: Any = events
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value


def test_the_same_is_the_same() -> None:
    difference = compare(_kept(), _kept())
    assert (difference.faults, difference.moved, difference.share) == ((), (), 1.0)


@pytest.mark.parametrize(("path", "value"), EXACT.values(), ids=EXACT)
def test_what_does_not_come_from_pixels_is_exact(path: list[Any], value: Any) -> None:
    found = deepcopy(_kept())
    _put(found, path, value)
    assert len(compare(found, _kept()).faults) >= 1


@pytest.mark.parametrize(("path", "near", "far"), WITHIN.values(), ids=WITHIN)
def test_what_comes_from_pixels_is_within_a_tolerance(path: list[Any], near: float, far: float) -> None:
    found = deepcopy(_kept())
    _put(found, path, near)
    assert compare(found, _kept()).faults == ()
    _put(found, path, far)
    assert len(compare(found, _kept()).faults) == 1


def test_a_missing_event_and_one_more() -> None:
    assert compare(_kept()[:-1], _kept()).faults == ("12 events instead of 13",)
    assert compare([*_kept(), _event(13, None)], _kept()).faults == ("14 events instead of 13",)


def test_a_label_that_was_clear_must_stay_and_one_that_was_not_may_go() -> None:
    found = deepcopy(_kept())
    _moved(found, UNCLEAR, 0.4595, 0.4205)
    assert compare(found, _kept()).moved == ()
    _say(found, UNCLEAR)["label"] = "happy"
    difference = compare(found, _kept())
    assert difference.faults == ()
    assert difference.moved == ("frame 12, track 1: label happy instead of neutral (0.460, the next 0.420)",)
    _say(found, CLEAR)["label"] = "happy"
    (fault,) = compare(found, _kept()).faults
    assert fault == "frame 8, track 1: label happy instead of neutral (0.600, the next 0.300)"


def test_scores_in_another_order_are_a_fault() -> None:
    found = deepcopy(_kept())
    _say(found, CLEAR)["scores"].reverse()
    (fault,) = compare(found, _kept()).faults
    assert "descending" in fault


def test_other_classes_are_a_fault() -> None:
    found = deepcopy(_kept())
    _say(found, CLEAR)["scores"][2]["name"] = "angry"
    (fault,) = compare(found, _kept()).faults
    assert "['angry', 'happy', 'neutral'] instead of ['happy', 'neutral', 'sad']" in fault


def _many(frames: list[int], neutral: float) -> list[Json]:
    """Ten windows, the last as wanted, and their clip."""
    windows = [_event(8 * n, _prediction([8 * n - 7, 8 * n - 5, 8 * n - 3, 8 * n], 0.6, 0.3)) for n in range(1, 10)]
    clip = _kept()[CLIP]
    mean = (9 * 0.6 + neutral) / 10
    _moved([clip], 0, mean, 0.9 - mean)
    events = [*windows, _event(80, _prediction(frames, 0.6, 0.3)), clip]
    _moved(events, 9, neutral, 0.9 - neutral)
    return events


def test_where_one_of_four_frames_is_another_a_window_may_differ_by_a_quarter_more() -> None:
    kept = _many([73, 75, 77, 80], 0.60)
    found = _many([73, 75, 78, 80], 0.84)
    prediction = _say(found, 9)
    prediction["uncertainty"]["entropy"], prediction["window"]["span_ms"] = 0.4, 210.0  # another window's
    prediction["valence"] = 0.2 - 0.45  # half the range, 2, times a quarter, and below
    difference = compare(found, kept)
    assert difference.faults == ()
    assert difference.moved == ("frame 80, track 1: frames [78] instead of [77]",)
    assert difference.share == 39 / 40
    prediction["valence"] = 0.2 - 0.51
    assert len(compare(found, kept).faults) == 1
    # neutral and happy of the window are faults then; the clip, which may differ by 1/40, has none
    assert len(compare(_many([73, 75, 78, 80], 0.86), kept).faults) == 2


def test_a_clip_may_differ_by_the_mean_of_what_its_windows_may() -> None:
    kept, found = _many([73, 75, 77, 80], 0.60), _many([73, 75, 78, 80], 0.60)
    _moved(found, 10, 0.626, 0.274)
    assert compare(found, kept).faults == ()
    _moved(found, 10, 0.628, 0.272)
    assert len(compare(found, kept).faults) == 2


def test_nine_of_ten_frames_must_be_equal() -> None:
    kept = _many([73, 75, 77, 80], 0.60)
    found = _many([73, 75, 77, 80], 0.60)
    for n in range(4):
        _say(found, n)["window"]["frames"][1] += 1
    assert compare(found, kept).faults == ()
    assert compare(found, kept).share == 0.9
    _say(found, 4)["window"]["frames"][1] += 1
    assert compare(found, kept).faults == ("0.875 of the chosen frames are equal; 0.9 must be",)


def test_another_number_of_frames_in_a_window_is_a_fault() -> None:
    found = deepcopy(_kept())
    _say(found, CLEAR)["window"]["frames"].append(9)
    assert any("window" in fault for fault in compare(found, _kept()).faults)


def _still(frames: int) -> list[Json]:
    return [_event(n, None) for n in range(1, frames + 1)]


@pytest.mark.parametrize("path", [["bbox", 0], ["bbox", 3], ["keypoints", "nose", 1]])
def test_a_box_stays_within_half_a_pixel_but_one_in_a_hundred_may_jump_by_two(path: list[Any]) -> None:
    found, kept = _still(100), _still(100)
    where = kept[50]["faces"][0][path[0]][path[1]] if len(path) == 2 else 70.0
    for away, faults, moved in ((0.4, 0, 0), (-0.4, 0, 0), (0.6, 0, 1), (-1.9, 0, 1), (2.1, 1, 0)):
        _put(found, [50, "faces", 0, *path], where + away)
        difference = compare(found, kept)
        assert (len(difference.faults), len(difference.moved)) == (faults, moved), away
    _put(found, [50, "faces", 0, *path], where + 0.6)
    _put(found, [70, "faces", 0, *path], where + 0.6)
    assert compare(found, kept).faults == ("2 of 100 boxes jumped; 0.99 of them must not",)
