"""Windows out of buffers: which samples, from which candidates, how long, how full; by hand for each selector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.manifest import Expression
from service.events import WindowOf
from service.perception.synthetic import synthetic_expression
from service.windows.buffer import Sample
from service.windows.window import choose, of_clip
from tests.session.world import MS, bundle, face, model, pipeline, results

# Frames at uneven times; the code changes most into 5, 9 and 14, the feature more into 14 than into 9.
FRAMES = [3, 5, 6, 9, 10, 14]
TIMES_NS = [100 * MS, 166_666_667, 200 * MS, 300 * MS, 333_333_333, 466_666_667]
CHANGES = [2.0, 7.0, 0.0, 5.0, 1.0, 5.0]
MOVES = [9.0, 1.0, 9.0, 1.0, 9.0, 2.0]


def samples(*frames: int) -> list[Sample]:
    kept = [Sample(f, t, {"code": np.array([f, 2 * f])}, c, m) for f, t, c, m in zip(FRAMES, TIMES_NS, CHANGES, MOVES, strict=True)]
    return [sample for sample in kept if not frames or sample.frame in frames]


def manifest(frames: int, selector: str, seed: int | None = None, **extra: Any) -> Expression:
    keyframes: dict[str, Any] = {"selector": selector} | ({"features": "features"} if selector == "itq" else {})
    keyframes |= {} if seed is None else {"seed": seed}
    return synthetic_expression(6, frames, 8, 1, keyframes=keyframes, **extra)


CHOSEN = {
    # The last three; candidates are the window itself.
    "none": ("none", 3, WindowOf((9, 10, 14), False, (9, 14), 166.666667, 1.0)),
    # Indices 0, 2.5 → 3, 5 of six.
    "uniform": ("uniform", 3, WindowOf((3, 9, 14), True, (3, 14), 366.666667, 1.0)),
    "uniform, one": ("uniform", 1, WindowOf((14,), True, (3, 14), 0.0, 1.0)),
    # Every second, back from the last.
    "stride": ("stride", 3, WindowOf((5, 9, 14), True, (3, 14), 300.0, 1.0)),
    "itq, one": ("itq", 1, WindowOf((5,), True, (3, 14), 0.0, 1.0)),
    # Of 9 and 14, which changed as much, the one whose feature moved further.
    "itq, two": ("itq", 2, WindowOf((5, 14), True, (3, 14), 300.0, 1.0)),
    "itq, three": ("itq", 3, WindowOf((5, 9, 14), True, (3, 14), 300.0, 1.0)),
    "itq, four": ("itq", 4, WindowOf((3, 5, 9, 14), True, (3, 14), 366.666667, 1.0)),
}


def same(found: WindowOf, expected: WindowOf) -> bool:
    assert isinstance(found.keyframes, bool)  # 1.0 is equal to True, and something else on the wire
    return (found.frames, found.keyframes, found.candidates, found.filled) == (
        expected.frames,
        expected.keyframes,
        expected.candidates,
        expected.filled,
    ) and found.span_ms == pytest.approx(expected.span_ms, abs=1e-5)


@pytest.mark.parametrize(("selector", "frames", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_a_window_of_a_buffer(selector: str, frames: int, expected: WindowOf) -> None:
    window = choose(samples(), manifest(frames, selector), True)
    assert same(window.of, expected)
    assert window.stacked("code").tolist() == [[f, 2 * f] for f in expected.frames]


def test_without_a_fitted_quantisation_itq_is_uniform() -> None:
    assert choose(samples(), manifest(3, "itq"), False).of.frames == (3, 9, 14)


def test_a_random_choice_without_a_seed_is_that_of_seed_0() -> None:
    chosen = {seed: choose(samples(), manifest(3, "random", seed, window={"scope": "clip"}), True).of.frames for seed in (None, 0, 1)}
    assert chosen[None] == chosen[0] != chosen[1]


OF_CLIP = {
    # A model without selector looks at the whole clip, evenly.
    "none, longer": ("none", 3, (), WindowOf((3, 9, 14), True, (3, 14), 366.666667, 1.0)),
    "none, as long": ("none", 3, (3, 5, 6), WindowOf((3, 5, 6), False, (3, 6), 100.0, 1.0)),
    "none, shorter": ("none", 4, (3, 5), WindowOf((3, 5, 5, 5), False, (3, 5), 66.666667, 0.5)),
    "uniform, as long": ("uniform", 3, (3, 5, 6), WindowOf((3, 5, 6), True, (3, 6), 100.0, 1.0)),
    "one sample": ("uniform", 4, (6,), WindowOf((6, 6, 6, 6), False, (6, 6), 0.0, 0.25)),
    "itq": ("itq", 2, (), WindowOf((5, 14), True, (3, 14), 300.0, 1.0)),
    "itq, shorter": ("itq", 4, (3, 5, 6), WindowOf((3, 5, 6, 6), False, (3, 6), 100.0, 0.75)),
    "stride": ("stride", 3, (), WindowOf((5, 9, 14), True, (3, 14), 300.0, 1.0)),
}


@pytest.mark.parametrize(("selector", "frames", "there", "expected"), OF_CLIP.values(), ids=OF_CLIP)
def test_a_window_of_a_whole_clip(selector: str, frames: int, there: tuple[int, ...], expected: WindowOf) -> None:
    window = of_clip(samples(*there), manifest(frames, selector, window={"scope": "clip"}), True)
    assert same(window.of, expected)


@pytest.mark.parametrize("selector", ["none", "uniform"])
def test_a_session_tells_the_window_as_it_is(selector: str) -> None:
    """Frames 2, 5 and 8 have no face that can be used; the span is in ms, from the first chosen frame to the last."""
    buffer = 3 if selector == "none" else 5
    pipe = pipeline(model(3, buffer, 1, keyframes={"selector": selector}), confirm=1)
    times_ms = [0, 40, 90, 150, 220, 300, 390, 490]
    events = []
    for n, t_ms in enumerate(times_ms, 1):
        events += results(pipe.push(bundle(n, [face(gate="blurred" if n in (2, 5, 8) else None)], t_ms * MS)))
    told = [None if f.prediction is None else f.prediction.window for event in events for f in event.faces]
    # In the buffer: 1 · 1, 3 · 1, 3, 4 · 1, 3, 4, 6 · 1, 3, 4, 6, 7.
    if selector == "none":
        expected = {4: ((1, 3, 4), (1, 4), 150.0), 6: ((3, 4, 6), (3, 6), 210.0), 7: ((4, 6, 7), (4, 7), 240.0)}
    else:
        expected = {4: ((1, 3, 4), (1, 4), 150.0), 6: ((1, 4, 6), (1, 6), 300.0), 7: ((1, 4, 7), (1, 7), 390.0)}
    assert {n: (w.frames, w.candidates, w.span_ms) for n, w in enumerate(told, 1) if w is not None} == expected
    assert {w.keyframes for w in told if w is not None} == {selector != "none"}
    codes = [None if f.no_call is None else (f.no_call.code, f.no_call.filled) for event in events for f in event.faces]
    assert codes == [
        ("window-filling", 1 / 3), ("blurred", 1 / 3), ("window-filling", 2 / 3), None, ("blurred", 1.0), None, None, ("blurred", 1.0),
    ]  # fmt: skip
