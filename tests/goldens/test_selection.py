"""Keyframes chosen from recorded codes: exact on every machine.

The codes of a clip's samples and how far its features moved were taken down once (`CLIP.codes`). Here they go through
a real session: each sample's feature is made so that its code and its distance are the recorded ones to the last bit,
and the same windows must come out.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from capture.frame import Bundle, Frame
from engines.synthetic import SyntheticEngine
from service.events import ModelName, wire
from service.models import Model
from service.perception.synthetic import (
    DETECTOR_ID,
    GATES,
    SyntheticFace,
    SyntheticPerception,
    express_row,
    find_row,
    synthetic_expression,
    table,
)
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions
from service.windows.keyframes import Itq
from tests.goldens import record
from tests.goldens.record import Code, Json

BITS, T, BUFFER, HOP = 16, 16, 32, 4  # fer-small's
EPSILON = 2.0**-10
FEATURES = BITS + 1
_WITH_WINDOWS = ["single_face.mp4", "WolfgangLanger_Pexels.mp4", "face_noface.mov"]


def _features(codes: Sequence[Code]) -> dict[tuple[int, int], tuple[float, ...]]:
    """By frame and track, a feature that has the recorded code by its signs, and by its last number, a whole one, the
    recorded distance from the one before. Such numbers and their squares are exact in floating point, so no CPU rounds
    them otherwise."""
    at: dict[int, int] = defaultdict(int)
    made = {}
    for c in codes:
        at[c.track] += -c.move if at[c.track] > 0 else c.move
        signs = [EPSILON if c.code >> (BITS - 1 - bit) & 1 else -EPSILON for bit in range(BITS)]
        made[c.frame, c.track] = (*signs, float(at[c.track]))
    return made


def _itq() -> Itq:
    """A quantisation whose code is the signs of the first sixteen numbers."""
    return Itq(np.zeros(FEATURES), np.eye(FEATURES, BITS), np.eye(BITS), "")


def _bundle(event: Json, features: dict[tuple[int, int], tuple[float, ...]]) -> Bundle:
    """What the camera of a synthetic world saw in a frame: the faces that were found in the recorded one, with their
    features."""
    faces = []
    for face in event["faces"]:
        if face["score"] is not None:
            refused = None if face["sampled"] else (face["no_call"] or {}).get("code", "blurred")
            assert refused in GATES
            identity = features.get((event["frame"], face["track"]), (0.0,) * FEATURES)
            faces.append(SyntheticFace(tuple(face["bbox"]), identity, face["score"], refused))
    t_ns = event["t_ns"]
    frame = Frame("cam", "color", event["frame"], t_ns, t_ns, table(faces, FEATURES))
    return Bundle(event["frame"], t_ns, "media", t_ns, {"cam": frame})


def _replayed(clip: str) -> list[Json]:
    """What a session says of the recorded codes."""
    keyframes = {"selector": "itq", "file": "none.onnx", "features": "features"}
    manifest = synthetic_expression(FEATURES, T, BUFFER, HOP, keyframes=keyframes)
    model = Model(manifest, ModelName(manifest.id, "0" * 12), "synthetic", _itq(), ())
    still = clip.endswith(".jpg")
    one = 1 if still else None
    options = SessionOptions(faces=5 if still else 1, hop=one, confirm_frames=one, ends=True)
    engines = {(DETECTOR_ID, "full"): SyntheticEngine(find_row), (manifest.id, "frame"): SyntheticEngine(express_row)}
    session = Session(model, SyntheticPerception(FEATURES), options)
    pipeline = Pipeline(session, Batcher(engines, dict.fromkeys(engines, 16)))
    features = _features(record.kept_codes(clip))
    events = []
    for event in record.kept_events(clip):
        if event["type"] == "result":
            events += pipeline.push(_bundle(event, features))
    return [wire(event) for event in (*events, *pipeline.finish())]


def _choice(event: Json) -> Json:
    """What an event says of samples and windows, and of no number that comes from pixels."""
    if event["type"] == "clip_prediction":
        return {key: event[key] for key in ("type", "track", "window", "windows", "filled", "frames")}
    choice: dict[str, Any] = {key: event[key] for key in ("type", "frame", "t_ns", "due", "no_call")}
    choice["faces"] = [
        {key: face[key] for key in ("track", "tentative", "sampled", "no_call")}
        | {key: face["prediction"] and face["prediction"][key] for key in ("window", "sync")}
        for face in event["faces"]
    ]
    return choice


@pytest.mark.parametrize("clip", record.CLIPS)
def test_a_session_chooses_the_recorded_windows_from_the_recorded_codes(clip: str) -> None:
    assert [_choice(event) for event in _replayed(clip)] == [_choice(event) for event in record.kept_events(clip)]


def _by_rule(track: Sequence[Code], frame: int) -> list[int]:
    """Choose the window due at `frame` by the rule of docs/semantics.md, written a second time: of the last 32 samples
    the 16 that come first when ordered by bits changed (most first; a track's first sample before all), then by
    distance, then by time."""
    bits = [BITS + 1, *(bin(before.code ^ after.code).count("1") for before, after in itertools.pairwise(track))]
    ranks = [(-changed, -sample.move, sample.frame) for changed, sample in zip(bits, track, strict=True)]
    held = [rank for rank in ranks if rank[2] <= frame][-BUFFER:]
    return sorted(number for _, _, number in sorted(held)[:T])


@pytest.mark.parametrize("clip", _WITH_WINDOWS)
def test_the_recorded_windows_follow_the_rule_as_it_is_written(clip: str) -> None:
    codes = [code for code in record.kept_codes(clip) if code.track == 1]
    faces = {e["frame"]: e["faces"] for e in record.kept_events(clip) if e["type"] == "result"}
    predictions = {frame: face["prediction"] for frame, row in faces.items() for face in row if face["track"] == 1}
    windows = {frame: prediction["window"]["frames"] for frame, prediction in predictions.items() if prediction}
    assert len(windows) >= 15
    assert windows == {frame: _by_rule(codes, frame) for frame in windows}


def test_the_recorded_codes_try_every_part_of_the_rule() -> None:
    """Somewhere the last place goes by distance alone, between samples of as many changed bits; else a wrong tie would
    pass unseen."""
    codes = record.kept_codes("WolfgangLanger_Pexels.mp4")
    by_time = [Code(c.frame, c.track, c.code, 0) for c in codes]
    due = range(T, len(codes) + 1, HOP)
    assert sum(_by_rule(codes, frame) != _by_rule(by_time, frame) for frame in due) > len(due) / 2
