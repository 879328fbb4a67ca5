"""What a buffer keeps of a whole clip."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.manifest import Expression
from service.perception.synthetic import SyntheticPerception, synthetic_expression
from service.windows.buffer import Arrival, Buffer
from service.windows.keyframes import Itq
from service.windows.window import of_clip

BITS = 4
ITQ = Itq(np.zeros(BITS), np.eye(BITS), np.eye(BITS), "0" * 64)


def gesture(frames: int) -> Expression:
    keyframes = {"selector": "itq", "features": "features"}
    return synthetic_expression(6, frames, 2 * frames, 1, keyframes=keyframes, window={"scope": "clip"})


@given(st.integers(1, 6), st.lists(st.lists(st.integers(-2, 2), min_size=BITS, max_size=BITS), min_size=1, max_size=40))
def test_only_what_itq_may_still_choose_keeps_its_values(frames: int, features: list[list[int]]) -> None:
    bounded, everything = Buffer(None, frames), Buffer(None, len(features))
    for number, feature in enumerate(features):
        arrival = Arrival(number, number * 10**12, {"face": np.array(number)}, feature=np.array(feature))
        for buffer in (bounded, everything):
            assert not buffer.add(arrival, 1, ITQ, SyntheticPerception(6))
        assert sum(bool(sample.values) for sample in bounded.samples) == min(frames, number + 1)
        windows = [of_clip(buffer.samples, gesture(frames), True) for buffer in (bounded, everything)]
        assert windows[0].of == windows[1].of
        assert windows[0].stacked("face").tolist() == list(windows[0].of.frames)


def test_a_rolling_buffer_keeps_all_it_holds() -> None:
    buffer = Buffer(8, 2)
    for number in range(20):
        arrival = Arrival(number, number, {"face": np.array(number)}, feature=np.full(BITS, number))
        buffer.add(arrival, 10, ITQ, SyntheticPerception(6))
    assert [sample.values["face"].item() for sample in buffer.samples] == list(range(12, 20))
