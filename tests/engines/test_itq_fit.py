"""The ITQ fit: its error never rises, its rotation is one, and another way of computing it agrees."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines import itq
from engines.itq import FitRefused


def features(rows: int, width: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((rows, width)) @ rng.standard_normal((width, width)) + rng.uniform(-5, 5, width)
    return mixed.astype(np.float32)


@given(st.integers(0, 10_000), st.integers(2, 16), st.integers(0, 24), st.integers(0, 100))
@settings(max_examples=60)
def test_error_never_rises_and_the_parts_are_orthonormal(seed: int, bits: int, extra: int, start: int) -> None:
    fitted = itq.fit(features(bits + 40, bits + extra, seed), bits, iterations=20, seed=start)
    assert len(fitted.errors) == 21
    assert all(after <= before * (1 + 1e-12) for before, after in zip(fitted.errors, fitted.errors[1:], strict=False))
    np.testing.assert_allclose(fitted.rotation.T @ fitted.rotation, np.eye(bits), atol=1e-9)
    np.testing.assert_allclose(fitted.components.T @ fitted.components, np.eye(bits), atol=1e-9)


def other_fit(values: NDArray[np.float64], bits: int, iterations: int, start: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """ITQ by other means: principal axes by SVD of the data, each rotation by scipy's orthogonal Procrustes solution."""
    centred = values - values.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    kept = axes[:bits].T
    kept = kept * np.array([1.0 if column[np.abs(column).argmax()] > 0 else -1.0 for column in kept.T])
    projected = centred @ kept
    rotation = start
    for _ in range(iterations):
        codes = np.array([[1.0 if value >= 0 else -1.0 for value in row] for row in projected @ rotation])
        rotation, _ = scipy.linalg.orthogonal_procrustes(projected, codes)
    rotated = projected @ rotation
    return rotated >= 0, float(np.linalg.norm(np.where(rotated >= 0, 1, -1) - rotated) ** 2)


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_agrees_with_another_implementation(seed: int) -> None:
    values = features(120, 24, seed).astype(np.float64)
    start = itq.fit(values, 8, iterations=0, seed=seed).rotation
    codes, error = other_fit(values, 8, 10, start)
    fitted = itq.fit(values, 8, iterations=10, seed=seed)
    ours = (values - fitted.mean) @ fitted.components @ fitted.rotation >= 0
    assert fitted.errors[-1] == pytest.approx(error, rel=1e-6)
    assert (ours == codes).mean() > 0.999


@given(st.integers(0, 1000), st.integers(2, 12))
@settings(max_examples=20)
def test_few_features_of_many_values_are_fitted_as_others_are(seed: int, bits: int) -> None:
    """Fewer rows than columns take another way to the same axes."""
    values = features(30, 12, seed).astype(np.float64)
    turned = np.linalg.qr(np.random.default_rng(seed).standard_normal((80, 80)))[0][:, :12]
    wide, narrow = itq.fit(values @ turned.T, bits, seed=1), itq.fit(values, bits, seed=1)
    most = [itq.fit_varying(given, most=80) for given in (values @ turned.T, values)]
    assert [None if found is None else len(found.rotation) for found in most] == [12, 12]
    # The same plane and variances; an axis' sign, and so the first rotation, may differ.
    spread = [np.var((given - given.mean(0)) @ found.components, axis=0) for given, found in ((values @ turned.T, wide), (values, narrow))]
    np.testing.assert_allclose(*spread, rtol=1e-6)


def test_zero_counts_as_positive() -> None:
    np.testing.assert_array_equal(itq.signs(np.array([0.0, -0.0, 1e-300, -1e-300])), [1, 1, 1, -1])


def test_the_file_is_the_same_bytes_and_keeps_the_arrays() -> None:
    fitted = itq.fit(features(200, 32, 0))
    file = itq.as_file(fitted, "ab" * 32)
    assert file == itq.as_file(itq.fit(features(200, 32, 0)), "ab" * 32)
    assert itq.feature_model(file) == "ab" * 32
    assert itq.fit(features(200, 32, 0), seed=1).errors[0] != fitted.errors[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((16, 64)), "more than 16"),
        (np.zeros((100, 8)), "at least 16"),
        (np.zeros((100, 64)), "along 0 axes"),
        (np.repeat(np.arange(100.0)[:, None], 32, axis=1), "along 1 axes"),
        (np.full((100, 32), np.nan), "NaN"),
        (np.zeros(100), r"\(n, D\)"),
    ],
)
def test_features_that_cannot_be_fitted_are_refused(values: NDArray[np.float64], said: str) -> None:
    with pytest.raises(FitRefused, match=said):
        itq.fit(values)
