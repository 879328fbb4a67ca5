"""Synthetic people for benchmarks of the session core: they come, move, hide, go."""

from __future__ import annotations

import math

import numpy as np

from capture.frame import Bundle, Frame
from engines.synthetic import SyntheticEngine
from service.events import ModelName
from service.models import Model
from service.perception.synthetic import (
    DETECTOR_ID,
    EXPRESSION_ID,
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

FEATURES = 32


def people(number: int) -> Bundle:
    """Return frame `number` at 30 fps: three people, of whom one leaves and comes back elsewhere all the time."""
    t_ns = round(number * 1e9 / 30)
    faces = []
    for who in range(3):
        if who == 2 and number % 100 < 40:
            continue
        x = 300.0 * who + 40 * math.sin(number / 20 + who) + (number // 100 * 1000 if who == 2 else 0)
        mood = tuple(float(v) for v in np.sin(np.arange(FEATURES) * (who + 1) + number / 10))
        faces.append(SyntheticFace((x, 0.0, x + 100, 100.0), mood))
    return Bundle(number, t_ns, "media", t_ns, {"cam": Frame("cam", "color", number, t_ns, t_ns, table(faces, FEATURES))})


def pipeline() -> Pipeline:
    """Return a session like the default model's: T 16 of 32 by ITQ, hop 4, three faces."""
    rng = np.random.default_rng(1)
    itq = Itq(np.zeros(FEATURES), rng.normal(size=(FEATURES, 16)), np.linalg.qr(rng.normal(size=(16, 16)))[0], "0" * 64)
    keyframes = {"selector": "itq", "file": "none.onnx", "features": "features"}
    manifest = synthetic_expression(FEATURES, 16, 32, 4, keyframes=keyframes)
    model = Model(manifest, ModelName(manifest.id, "0" * 12), "synthetic", itq, ())
    engines = {(DETECTOR_ID, "full"): SyntheticEngine(find_row), (EXPRESSION_ID, "frame"): SyntheticEngine(express_row)}
    session = Session(model, SyntheticPerception(FEATURES), SessionOptions(faces=3))
    return Pipeline(session, Batcher(engines, dict.fromkeys(engines, 16)))
