"""Selectors: increasing, complete, and what each promises."""

from __future__ import annotations

import itertools
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.itq import fit
from service.windows import keyframes
from service.windows.keyframes import START, Itq

counts = st.tuples(st.integers(1, 80), st.integers(1, 40)).map(lambda p: (max(p), min(p)))


@given(counts, st.integers(0, 99))
def test_every_selector_is_strictly_increasing_and_in_range(sizes: tuple[int, int], seed: int) -> None:
    count, n = sizes
    features = np.random.default_rng(seed).normal(size=(count, 5))
    chosen = [
        keyframes.uniform(count, n),
        keyframes.stride(count, n),
        keyframes.random(count, n, seed),
        keyframes.kmeans(features, n, seed),
        keyframes.itq_of_itself(features, n, seed),
        keyframes.by_change([float(i % 3) for i in range(count)], [float(i % 5) for i in range(count)], n),
    ]
    for indices in chosen:
        assert len(indices) == n
        assert all(a < b for a, b in itertools.pairwise(indices))
        assert indices[0] >= 0
        assert indices[-1] < count


@given(counts)
def test_uniform_has_both_ends_and_even_steps(sizes: tuple[int, int]) -> None:
    count, n = sizes
    indices = keyframes.uniform(count, n)
    assert indices[-1] == count - 1
    if n > 1:
        assert indices[0] == 0
        steps = np.diff(indices)
        assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    ("count", "n", "even", "strided"),
    [
        (1, 1, [0], [0]),
        (5, 1, [4], [4]),
        (5, 2, [0, 4], [0, 4]),
        (5, 3, [0, 2, 4], [0, 2, 4]),
        (6, 3, [0, 3, 5], [1, 3, 5]),  # 2.5 is 3; the widest step that fits is 2
        (4, 3, [0, 2, 3], [1, 2, 3]),  # 1.5 is 2
        (10, 4, [0, 3, 6, 9], [0, 3, 6, 9]),
        (11, 4, [0, 3, 7, 10], [1, 4, 7, 10]),  # 3.33 and 6.67
        (8, 4, [0, 2, 5, 7], [1, 3, 5, 7]),  # 2.33 and 4.67
        (4, 4, [0, 1, 2, 3], [0, 1, 2, 3]),
    ],
)
def test_even_and_strided_choices_by_hand(count: int, n: int, even: list[int], strided: list[int]) -> None:
    assert keyframes.uniform(count, n) == even
    assert keyframes.stride(count, n) == strided


@pytest.mark.parametrize(
    ("changes", "moves", "n", "chosen"),
    [
        ([START, 1, 5, 3, 4], [START, 9, 1, 1, 1], 3, [0, 2, 4]),
        ([START, 3, 3, 3, 3], [START, 1, 9, 1, 5], 3, [0, 2, 4]),  # ties: the larger moves
        ([START, 3, 3, 3, 3], [START, 1, 1, 1, 1], 3, [0, 1, 2]),  # then the earlier
        ([2, 3, START, 1, 0], [1, 1, START, 9, 9], 2, [1, 2]),
        ([0, 0, 0], [0, 0, 0], 2, [0, 1]),
    ],
)
def test_choices_by_change_by_hand(changes: list[float], moves: list[float], n: int, chosen: list[int]) -> None:
    assert keyframes.by_change(changes, moves, n) == chosen


def test_a_code_by_hand() -> None:
    """Two features, less their mean; the components swap them, the rotation is a right angle: bits −x ≥ 0, y ≥ 0."""
    swap, turn = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [-1.0, 0.0]])
    itq = Itq(np.array([10.0, 20.0]), swap, turn, "0" * 64)
    # (x, y) is (point − mean); swapped it is (y, x), turned (−x, y). A byte's first bits are the code's.
    bits = {point: f"{itq.code(np.array(point)):08b}"[:2] for point in ((11, 21), (9, 21), (9, 19), (11, 19), (10, 20))}
    assert bits == {(11, 21): "01", (9, 21): "11", (9, 19): "10", (11, 19): "00", (10, 20): "11"}


@given(counts)
def test_stride_is_constant_as_wide_as_fits_and_ends_at_the_newest(sizes: tuple[int, int]) -> None:
    count, n = sizes
    indices = keyframes.stride(count, n)
    assert indices[-1] == count - 1
    if n > 1:
        step = indices[1] - indices[0]
        assert set(np.diff(indices)) == {step}
        assert count - 1 - (step + 1) * (n - 1) < 0


@given(st.lists(st.tuples(st.integers(0, 16), st.integers(0, 3)), min_size=1, max_size=40), st.data())
def test_by_change_takes_the_largest_then_the_larger_move_then_the_earlier(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(pairs)))
    chosen = set(keyframes.by_change([float(d) for d, _ in pairs], [float(m) for _, m in pairs], n))
    for i in chosen:
        for j in set(range(len(pairs))) - chosen:
            assert (pairs[i][0], pairs[i][1], -i) > (pairs[j][0], pairs[j][1], -j)


def test_the_first_sample_always_wins() -> None:
    assert keyframes.by_change([START, 16.0, 16.0], [START, 9.0, 9.0], 1) == [0]


def _itq(seed: int, d: int = 12, bits: int = 16) -> Itq:
    rng = np.random.default_rng(seed)
    return Itq(rng.normal(size=d), rng.normal(size=(d, bits)), np.linalg.qr(rng.normal(size=(bits, bits)))[0], "0" * 64)


@given(st.integers(0, 999))
def test_itq_agrees_with_a_second_reading_of_the_definition(seed: int) -> None:
    itq, rng = _itq(seed), np.random.default_rng(seed + 1)
    features = rng.normal(size=(20, 12))
    bits = np.sign((features - itq.mean).dot(itq.components).dot(itq.rotation)) >= 0
    codes = [itq.code(f) for f in features]
    for i in range(20):
        assert [int(b) for b in f"{codes[i]:016b}"] == bits[i].astype(int).tolist()
        for j in range(20):
            assert keyframes.hamming(codes[i], codes[j]) == int((bits[i] != bits[j]).sum())
    distance = [np.inf] + [(bits[i] != bits[i - 1]).sum() for i in range(1, 20)]
    move = [np.inf] + [np.sqrt(((features[i] - features[i - 1]) ** 2).sum()) for i in range(1, 20)]
    order = np.lexsort((np.arange(20), -np.array(move), -np.array(distance)))
    assert keyframes.itq(itq, features, 7) == sorted(order[:7].tolist())


def test_itq_of_a_clip_itself_is_the_fit_and_then_the_choice() -> None:
    features = np.random.default_rng(8).normal(size=(60, 24)).cumsum(axis=0)
    fitted = fit(features, 16, seed=3)
    there = Itq(fitted.mean, fitted.components, fitted.rotation, "")
    assert keyframes.itq_of_itself(features, 7, 3) == keyframes.itq(there, features, 7)
    assert len({tuple(keyframes.itq_of_itself(features, 7, seed)) for seed in range(6)}) > 1, "the choice depends on the seed"


@pytest.mark.parametrize("features", [np.ones((20, 24)), np.zeros((1, 4))])
def test_what_does_not_vary_is_chosen_from_evenly(features: np.ndarray) -> None:
    n = min(5, len(features))
    assert keyframes.itq_of_itself(features, n, 0) == keyframes.uniform(len(features), n)


def test_kmeans_finds_clusters_that_are_there() -> None:
    rng = np.random.default_rng(3)
    centres = np.eye(4) * 50
    features = np.concatenate([c + rng.normal(size=(10, 4)) for c in centres])
    chosen = keyframes.kmeans(features, 4, seed=5)
    assert {i // 10 for i in chosen} == {0, 1, 2, 3}


@pytest.mark.parametrize("n", [0, 6])
def test_an_impossible_choice_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"cannot choose {n} of 5"):
        keyframes.uniform(5, n)


def test_itq_arrays_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Itq(np.zeros(3), np.zeros((4, 16)), np.eye(16), "")


class Bomb:
    """What is run by whoever unpickles it."""

    def __reduce__(self) -> tuple[type[Exploded], tuple[str]]:
        return Exploded, ("a model's file ran code",)


class Exploded(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(why)
        Exploded.count += 1

    count = 0


def test_a_file_with_a_pickle_is_refused_and_not_run() -> None:
    good = {"components": np.eye(2), "rotation": np.eye(2), "feature_model": np.array("tiny")}
    file = BytesIO()
    np.savez(file, allow_pickle=True, mean=np.array([Bomb(), Bomb()], object), **good)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Itq.load(file.getvalue())
    assert Exploded.count == 0


def test_a_rotation_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Itq(np.zeros(3), np.zeros((3, 2)), np.eye(3), "tiny")
    with pytest.raises(ValueError, match="do not fit"):
        Itq(np.zeros(2), np.zeros((3, 2)), np.eye(2), "tiny")
