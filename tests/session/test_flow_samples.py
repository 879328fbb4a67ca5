"""Flow in a session: from sample to sample of a track, each pair once, a stream's first repeated."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.engine import Arrays
from engines.manifest import Expression
from engines.synthetic import SyntheticEngine
from service.events import ClipPrediction, Event, ModelName, SessionEvent
from service.inputs import Change, Input
from service.models import Model
from service.perception.flow import flow
from service.perception.synthetic import DETECTOR_ID, SyntheticFace, find_row, synthetic_expression
from service.pipeline import Pipeline
from service.rounds import Batcher
from service.session import Session
from service.settings import SessionOptions, Taken
from tests.session.two_parts import IDENTITY, Painted
from tests.session.world import MS, bundle

SIDE, T = 16, 4
GAP_MS = 500


def mover(id: str = "mover", buffer: int = T, pixels: bool = True, **window: Any) -> Model:
    """A full graph over a face's pixels, if wanted, and their flow."""
    body = synthetic_expression(IDENTITY, T, buffer, 2, id=id, window=window).model_dump(mode="json", by_alias=True, exclude_none=True)
    graph = body["graphs"].pop("frame")
    shapes = {"motion": ("float32", 2)} | ({"face": ("uint8", 3)} if pixels else {})
    graph["inputs"] = [{"name": name, "dtype": dtype, "shape": [T, c, SIDE, SIDE]} for name, (dtype, c) in shapes.items()]
    graph["outputs"] = graph["outputs"][:1]
    body["graphs"]["full"] = graph
    crop = {"size": [SIDE, SIDE]}
    body["crops"] = {"motion": crop | {"content": "flow"}} | ({"face": crop} if pixels else {})
    body["keyframes"] = {"selector": "none" if buffer == T else "uniform"}
    del body["aggregate"], body["outputs"]["features"]
    return Model(Expression.model_validate(body), ModelName(id, "0" * 12), "synthetic", None, ())


def judged(seen: list[Arrays]) -> SyntheticEngine:
    """A graph that notes its rows."""

    def row(inputs: Arrays) -> Arrays:
        seen.append({name: np.array(array) for name, array in inputs.items()})
        return {"probabilities": np.full(4, 0.25, np.float32)}

    return SyntheticEngine(row)


def run(inputs: list[Input], model: Model, ends: bool) -> tuple[list[SessionEvent], list[Taken], list[Arrays], Painted]:
    seen: list[Arrays] = []
    taken: list[Taken] = []
    again = mover("again", 2 * T)
    batcher = Batcher(
        {(DETECTOR_ID, "full"): SyntheticEngine(find_row), ("mover", "full"): judged(seen), ("again", "full"): judged(seen)}, {}
    )
    perception = Painted()
    options = SessionOptions(faces=2, ends=ends, models={"mover": model, "again": again}, on_sample=taken.append)
    pipe = Pipeline(Session(model, perception, options), batcher)
    said = [event for given in inputs for event in pipe.push(given)]
    return [*said, *pipe.finish()], taken, seen, perception


def runs_of(taken: list[Taken], changes: list[int], bounded: bool) -> list[list[Taken]]:
    """Samples between which flow is: of one track, no gap and no change of model between them."""
    runs: dict[int, list[list[Taken]]] = defaultdict(list)
    for sample in taken:
        mine = runs[sample.track]
        before = mine[-1][-1] if mine else None
        new = before is None or any(before.frame <= change < sample.frame for change in changes)
        if new or (before is not None and bounded and sample.t_ns - before.t_ns > GAP_MS * MS):
            mine.append([])
        mine[-1].append(sample)
    return [run for its in runs.values() for run in its]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Input], list[int]]:
    inputs: list[Input] = []
    changes, t_ns, model = [], 0, "mover"
    for number in range(1, draw(st.integers(3, 36)) + 1):
        t_ns += draw(st.sampled_from([33, 33, 33, 33, 200, 900])) * MS
        faces = []
        for who in range(2):
            there = draw(st.sampled_from(["seen"] * 6 + ["lost", "too-dark"]))
            if there != "lost":
                # No two pictures alike: a pair names itself.
                identity = (float(number % 40), float(number), float(who), draw(st.integers(0, 9)) * 1.0, 0.0, 0.0)
                box = (400.0 * who, 0.0, 400.0 * who + 100 + who, 100.0)
                faces.append(SyntheticFace(box, identity, 1.0, "too-dark" if there == "too-dark" else None))
        inputs.append(bundle(number, faces, t_ns))
        wanted = draw(st.sampled_from([None] * 14 + ["mover", "again"]))
        if wanted is not None:
            inputs.append(Change(model=wanted))
            if wanted != model:
                changes.append(number)
            model = wanted
    return inputs, changes


@settings(max_examples=60, deadline=None)
@given(stream=streams(), ends=st.booleans(), pixels=st.booleans(), clip=st.booleans())
def test_flow_is_of_each_pair_once_and_the_first_is_repeated(
    stream: tuple[list[Input], list[int]], ends: bool, pixels: bool, clip: bool
) -> None:
    inputs, changes = stream
    inputs = [i for i in inputs if not isinstance(i, Change)] if clip else inputs
    changes = [] if clip else changes
    said, taken, seen, perception = run(inputs, mover(pixels=pixels, scope="clip" if clip else "rolling"), ends)
    expected: dict[tuple[int, int], np.ndarray] = {}
    pairs: Counter[bytes] = Counter()
    for its in runs_of(taken, changes, bounded=not (clip and ends)):
        pictures = [sample.inputs["motion"] for sample in its]
        for before, after in pairwise(pictures):
            pairs[before.tobytes() + after.tobytes()] += 1
        flows = [flow(before, after) for before, after in pairwise(pictures)]
        flows = [flows[0] if flows else np.zeros((2, SIDE, SIDE), np.float32), *flows]
        expected |= {(sample.track, sample.frame): its_flow for sample, its_flow in zip(its, flows, strict=True)}
    assert perception.pairs == pairs
    windows = [
        (face.track, face.prediction.window.frames)
        for event in said if isinstance(event, Event)
        for face in event.faces if face.prediction is not None
    ]  # fmt: skip
    windows += [(event.track, event.window.frames) for event in said if isinstance(event, ClipPrediction) and event.window is not None]
    assert len(windows) == len(seen)
    pixel = {(sample.track, sample.frame): sample.inputs["motion"] for sample in taken}
    for (track, frames), row in zip(windows, seen, strict=True):
        np.testing.assert_array_equal(row["motion"], np.stack([expected[track, frame] for frame in frames]))
        if "face" in row:
            np.testing.assert_array_equal(row["face"], np.stack([pixel[track, frame] for frame in frames]))


def test_one_picture_alone_does_not_move() -> None:
    face = SyntheticFace((0, 0, 100, 100), (3, 1, 2, 3, 0, 0))
    seen: list[Arrays] = []
    batcher = Batcher({(DETECTOR_ID, "full"): SyntheticEngine(find_row), ("mover", "full"): judged(seen)}, {})
    pipe = Pipeline(Session(mover(), Painted(confirm_frames=1), SessionOptions(hop=1, confirm_frames=1, ends=True)), batcher)
    pipe.push(bundle(1, [face]))
    (whole,) = pipe.finish()
    assert isinstance(whole, ClipPrediction)
    assert (whole.filled, len(seen)) == (1 / T, 1)
    assert not seen[0]["motion"].any()
    assert seen[0]["motion"].shape == (T, 2, SIDE, SIDE)
