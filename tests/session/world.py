"""A small world for session tests: synthetic faces in tables, and sessions over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from capture.frame import Bundle, Clock, Frame
from engines.engine import Engine
from engines.synthetic import SyntheticEngine
from service.events import Event, ModelName, SessionEvent
from service.inputs import GraphKey, Input
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

D = 6
MS = 1_000_000
THIRTIETH = 1_000_000_000 / 30


def face(
    who: int = 0, x: float = 0.0, side: float = 100.0, mood: Sequence[float] = (0.0, 0.0, 0.0, 0.0), gate: Any = None
) -> SyntheticFace:
    """A face at (x, 0); its identity carries `who` as canary."""
    return SyntheticFace((x, 0.0, x + side, side), (*mood, float(who), 1.0), 1.0, gate)


def odds(*probabilities: float) -> tuple[float, ...]:
    """The mood whose softmax is `probabilities` (neutral, happy, sad, angry): they sum to 1, and none is 0."""
    return tuple(math.log(p) for p in probabilities)


def bundle(number: int, faces: Sequence[SyntheticFace], t_ns: int | None = None, clock: Clock = "media") -> Bundle:
    """Frame `number` at 30 fps (or at `t_ns`) with `faces`."""
    t = round((number - 1) * THIRTIETH) if t_ns is None else t_ns
    return Bundle(number, t, clock, t, {"cam": Frame("cam", "color", number, t, t, table(faces, D))})


def model(frames: int, buffer: int, hop: int, itq: Itq | None = None, **extra: Any) -> Model:
    """An expression model over synthetic identities."""
    manifest = synthetic_expression(D, frames, buffer, hop, **extra)
    return Model(manifest, ModelName(manifest.id, "0" * 12), "synthetic", itq, ())


def engines(*expression_ids: str) -> dict[GraphKey, Engine]:
    """Engines of the synthetic detector and of the given expression models."""
    keys: dict[GraphKey, Engine] = {(DETECTOR_ID, "full"): SyntheticEngine(find_row)}
    return keys | {(id, "frame"): SyntheticEngine(express_row) for id in expression_ids or (EXPRESSION_ID,)}


def pipeline(model: Model, confirm: int = 3, batch: int = 16, models: Mapping[str, Model] | None = None, **options: Any) -> Pipeline:
    """A session of one model, ready to be pushed to."""
    chosen = {model.name.id: model, **(models or {})}
    batcher = Batcher(engines(*chosen), dict.fromkeys(engines(*chosen), batch))
    session = Session(model, SyntheticPerception(D, confirm_frames=confirm), SessionOptions(models=chosen, **options))
    return Pipeline(session, batcher)


def push_all(pipe: Pipeline, inputs: Sequence[Input]) -> list[SessionEvent]:
    """Push inputs and finish; return everything said."""
    return [event for given in inputs for event in pipe.push(given)] + list(pipe.finish())


def results(said: Sequence[SessionEvent]) -> list[Event]:
    """The per-frame events."""
    return [event for event in said if isinstance(event, Event)]


def windows(said: Sequence[SessionEvent]) -> dict[int, tuple[int, ...]]:
    """Due frame → frames of its window, first face only."""
    return {e.frame: e.faces[0].prediction.window.frames for e in results(said) if e.faces and e.faces[0].prediction is not None}
