"""What a buffer keeps of a whole clip."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.manifest import Expression
from service.perception.synthetic import SyntheticPerception, synthetic_expression
from service.windows.buffer import Arrival, Buffer
from service.windows.keyframes import START, Itq
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


# Bits are signs, 0 counts as positive: the codes are 1111, 0111, 1001, 1001 and 1000.
WALK = [(1, 1, 1, 1), (-1, 1, 1, 1), (0, -1, -1, 1), (0, -1, -1, 1), (4, -1, -1, -2)]
CHANGES = [START, 1.0, 3.0, 0.0, 1.0]
MOVES = [START, 2.0, 3.0, 0.0, 5.0]


def walked(buffer: Buffer, times_ms: list[int], gap_ms: int = 100) -> list[bool]:
    """Add the walk's samples; return what `add` said."""
    return [
        buffer.add(
            Arrival(n, t * 10**6, {"face": np.array(n)}, feature=np.array(feature)),
            gap_ms * 10**6,
            ITQ,
            SyntheticPerception(6),
        )
        for n, (t, feature) in enumerate(zip(times_ms, WALK, strict=True))
    ]


def test_a_samples_change_is_its_hamming_distance_and_its_move_the_features() -> None:
    buffer = Buffer(8)
    assert walked(buffer, [0, 100, 200, 300, 400]) == [False] * 5
    assert [(s.frame, s.change, s.move) for s in buffer.samples] == list(zip(range(5), CHANGES, MOVES, strict=True))


def test_what_leaves_the_buffer_leaves_the_others_as_they_are() -> None:
    buffer = Buffer(3)
    walked(buffer, [0, 100, 200, 300, 400])
    assert [(s.frame, s.change, s.move) for s in buffer.samples] == [(2, 3.0, 3.0), (3, 0.0, 0.0), (4, 1.0, 5.0)]


def test_after_a_gap_the_first_sample_has_no_one_before_it() -> None:
    buffer = Buffer(8)
    # 100 ms is the longest gap; 101 ms is one.
    assert walked(buffer, [0, 100, 201, 300, 400]) == [False, False, True, False, False]
    assert [(s.frame, s.change, s.move) for s in buffer.samples] == [(2, START, START), (3, 0.0, 0.0), (4, 1.0, 5.0)]


def test_a_buffer_of_a_whole_clip_has_no_gaps() -> None:
    buffer = Buffer(None, 5)
    assert walked(buffer, [0, 100, 5000, 5100, 90_000]) == [False] * 5
    assert [(s.change, s.move) for s in buffer.samples] == list(zip(CHANGES, MOVES, strict=True))


def test_without_a_quantisation_features_are_kept_for_whoever_chooses_by_them() -> None:
    buffer = Buffer(8)
    buffer.add(Arrival(1, 0, {}, feature=np.array([[1, 2]], np.float32)), 10, None, SyntheticPerception(6))
    buffer.add(Arrival(2, 1, {}), 10, None, SyntheticPerception(6))
    first, second = buffer.samples
    assert (first.change, first.move, second.feature) == (0.0, 0.0, None)
    assert first.feature is not None
    assert first.feature.tolist() == [1.0, 2.0]


def test_flow_is_from_the_sample_before_and_the_firsts_is_its_successors() -> None:
    """The synthetic flow is how the first two numbers change."""
    buffer = Buffer(4)
    points = [(0, 0), (1, 5), (3, 4), (3, 3), (9, 9)]
    for n, (t_ms, point) in enumerate(zip([0, 10, 20, 200, 210], points, strict=True)):
        arrival = Arrival(n, t_ms * 10**6, {}, {"motion": np.array(point, np.float32)})
        buffer.add(arrival, 100 * 10**6, None, SyntheticPerception(6))
        if n == 2:
            assert [s.values["motion"].tolist() for s in buffer.samples] == [[1, 5], [1, 5], [2, -1]]
    # After a gap there is none from before.
    assert [s.values["motion"].tolist() for s in buffer.samples] == [[6, 6], [6, 6]]


def test_a_rolling_buffer_keeps_all_it_holds() -> None:
    buffer = Buffer(8, 2)
    for number in range(20):
        arrival = Arrival(number, number, {"face": np.array(number)}, feature=np.full(BITS, number))
        buffer.add(arrival, 10, ITQ, SyntheticPerception(6))
    assert [sample.values["face"].item() for sample in buffer.samples] == list(range(12, 20))
