"""Reading of depth and thermal inside the graph: planes, holes, pictures without anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporters.depth_thermal import DepthReading, ThermalReading

SIZE = 24


def rest(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres from the least-squares plane over the valid pixels by numpy's own solver; nan in holes."""
    v, u = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    valid = picture > 0
    design = np.stack([u[valid], v[valid], np.ones(valid.sum())], 1)
    plane, *_ = np.linalg.lstsq(design, picture[valid], rcond=None)
    found = np.full(picture.shape, np.nan)
    found[valid] = picture[valid] - design @ plane
    return found


def read(reading: torch.nn.Module, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float32 in, as in a graph."""
    said: torch.Tensor = reading.float()(torch.from_numpy(pictures.astype(np.float32)))
    return said.double().numpy()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), holes=st.floats(0.0, 0.9), slope=st.floats(-0.3, 0.3), near=st.floats(0.4, 4.0))
def test_the_plane_taken_off_is_the_least_squares_one(seed: int, holes: float, slope: float, near: float) -> None:
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    picture = near + slope * (u - 0.5 * v) + 0.05 * rng.standard_normal((SIZE, SIZE))
    picture = np.where((rng.random(picture.shape) < holes) | (picture < 0.05), 0.0, picture)
    found = read(DepthReading(SIZE, 0.05, 0.01), picture[None, None])[0, 0] * 0.05
    wanted = np.where(picture > 0, rest(picture), 0.01)
    assert np.abs(found - wanted).max() < 2e-5


def test_a_flat_tilted_board_is_nothing() -> None:
    board = 1.0 + 0.2 * np.linspace(-1, 1, SIZE)[None, :] - 0.1 * np.linspace(-1, 1, SIZE)[:, None]
    assert np.abs(read(DepthReading(SIZE, 1.0, 0.0), board[None, None])).max() < 1e-6


def depth_of(kind: str) -> NDArray[np.float64]:
    picture = np.zeros((1, 1, SIZE, SIZE))
    if kind == "one":
        picture[..., 3, 4] = 0.9
    elif kind == "row":
        picture[..., 3, :] = np.linspace(0.8, 1.1, SIZE)
    elif kind == "diagonal":
        picture[0, 0, range(SIZE), range(SIZE)] = np.linspace(0.8, 1.1, SIZE)
    return picture


@pytest.mark.parametrize("kind", ["none", "one", "row", "diagonal"])
def test_too_few_valid_pixels_give_finite_numbers(kind: str) -> None:
    picture = depth_of(kind)
    found = read(DepthReading(SIZE, 0.05, 0.0), picture)
    assert np.isfinite(found).all()
    assert (found[picture == 0] == 0.0).all()
    assert np.abs(found).max() < 1e-4


def test_thermal_is_standardised_and_its_holes_filled() -> None:
    picture = np.array([[[[305.0, 310.0], [0.0, 295.0]]]])
    assert np.allclose(read(ThermalReading(305.0, 5.0, 307.5), picture), [[[[0.0, 1.0], [0.5, -2.0]]]])
    assert np.allclose(read(ThermalReading(305.0, 5.0, 305.0), np.zeros((2, 1, 4, 4))), 0.0)
