"""Sessions that share batches stay themselves: the same events in any company, never another's numbers."""

from __future__ import annotations

import gc
import random
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.engine import Arrays, Engine
from service.events import line
from service.perception.synthetic import SyntheticPerception
from service.pipeline import Pipeline
from service.rounds import Batcher, settle
from service.session import Session
from service.settings import SessionOptions
from tests.session.world import D, bundle, engines, face, model, pipeline, results


def _frames(seed: int, who: int, count: int) -> list[object]:
    rng = random.Random(seed)
    return [
        bundle(n, [face(who, x=rng.uniform(0, 20), mood=[rng.gauss(0, 1) for _ in range(4)])] if rng.random() < 0.9 else [])
        for n in range(1, count + 1)
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 5))
def test_the_same_bytes_alone_or_among_others(seed: int, sessions: int, batch: int) -> None:
    chosen = model(4, 6, 2)
    clips = [_frames(seed + i, i, 24) for i in range(sessions)]
    alone = []
    for clip in clips:
        pipe = pipeline(chosen, batch=1)
        alone.append([line(e) for frame in clip for e in pipe.push(frame)])  # type: ignore[arg-type]
    together = [Session(chosen, SyntheticPerception(D), SessionOptions()) for _ in clips]
    batcher = Batcher(engines(), dict.fromkeys(engines(), batch))
    said: list[list[str]] = [[] for _ in clips]
    rng = random.Random(seed)
    at = [0] * sessions
    while any(i < 24 for i in at):
        turn = [i for i in range(sessions) if at[i] < 24 and rng.random() < 0.7]
        steps = [(together[i], together[i].advance(clips[i][at[i]])) for i in turn]  # type: ignore[arg-type]
        for i, events in zip(turn, settle(steps, batcher), strict=True):
            said[i] += [line(e) for e in events]
            at[i] += 1
    assert said == alone


@pytest.mark.parametrize("interleavings", [1000, pytest.param(10_000, marks=pytest.mark.proof)])
def test_no_interleaving_ever_mixes_two_people(interleavings: int) -> None:
    """Each person's face carries a canary number through crop, graph, buffer and window."""
    rng = random.Random(20261121)
    chosen, batcher = model(2, 3, 1), Batcher(engines(), dict.fromkeys(engines(), 4))
    frames = {who: [bundle(n, [face(who, mood=(0, 4.0 * who, 0, 0))]) for n in range(1, 5)] for who in (0, 1)}
    for _ in range(interleavings):
        seen: dict[int, list[Arrays]] = {0: [], 1: []}

        def note(who: int, seen: dict[int, list[Arrays]] = seen) -> object:
            return lambda taken: seen[who].append(taken.outputs)

        pair = [
            Session(chosen, SyntheticPerception(D, confirm_frames=1), SessionOptions(on_sample=note(who)))  # type: ignore[arg-type]
            for who in (0, 1)
        ]
        at, labels = [0, 0], [set[str](), set[str]()]
        while at != [4, 4]:
            turn = [who for who in (0, 1) if at[who] < 4 and rng.random() < 0.6]
            rng.shuffle(turn)
            steps = [(pair[who], pair[who].advance(frames[who][at[who]])) for who in turn]
            for who, events in zip(turn, settle(steps, batcher), strict=True):
                at[who] += 1
                labels[who] |= {f.prediction.label or "" for e in results(events) for f in e.faces if f.prediction}
        for who in (0, 1):
            assert [float(outputs["features"][4]) for outputs in seen[who]] == [float(who)] * 4
        assert labels == [{"neutral"}, {"happy"}]


def test_a_cached_sample_does_not_hold_its_batch_alive() -> None:
    batches: list[weakref.ref[np.ndarray]] = []

    class Watched:
        """A graph whose batches of outputs are known for as long as somebody holds them."""

        def __init__(self, engine: Engine) -> None:
            self.info, self._engine = engine.info, engine

        def run(self, inputs: Arrays) -> Arrays:
            outputs = self._engine.run(inputs)
            batches.extend(weakref.ref(array) for array in outputs.values())
            return outputs

        def close(self) -> None: ...

    running = {key: Watched(engine) for key, engine in engines().items()}
    session = Session(model(4, 4, 1), SyntheticPerception(D, confirm_frames=1), SessionOptions())
    pipe = Pipeline(session, Batcher(running, dict.fromkeys(running, 8)))
    for n in range(1, 4):
        pipe.push(bundle(n, [face()]))
    gc.collect()
    assert len(batches) == 9
    assert all(batch() is None for batch in batches)
    (event,) = results(pipe.push(bundle(4, [face()])))
    assert event.faces[0].prediction is not None
