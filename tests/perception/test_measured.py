"""Crops of depth and heat: the same region as the colour crop's, in metres and kelvin, holes kept apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.frame import Bundle, Frame, Modality
from engines.manifest import CropSpec
from service.inputs import Detection
from service.perception.measured import UnitError, cut_measured
from service.perception.pixels import create
from tests.perception.test_pixel_perception import detector, expression, picture

SIZE = (360, 640)


def frame(counts: Any, modality: Modality = "depth", scale: float = 0.001, unit: str | None = "m", offset: float = 0.0) -> Frame:
    return Frame(modality, modality, 1, 0, 0, np.asarray(counts), None, scale, offset, unit)


def spec(size: int = 16, **changes: Any) -> CropSpec:
    return CropSpec.model_validate({"size": (size, size), "modality": "depth", **changes})


def face(x: float, y: float, side: float, roll: float = 0.0) -> Detection:
    eyes = {n: (x + s * side / 4 * math.cos(roll), y + s * side / 4 * math.sin(roll)) for n, s in (("right_eye", -1), ("left_eye", 1))}
    return Detection((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.9, eyes)


def plane(rows: int, columns: int) -> np.ndarray:
    """A picture whose values say where in the colour picture they are: metres = 1 + x/1000 + y/500."""
    x = (np.arange(columns) + 0.5) * SIZE[1] / columns
    y = (np.arange(rows) + 0.5) * SIZE[0] / rows
    return (1 + x[None] / 1000 + y[:, None] / 500).astype(np.float32)


@given(st.floats(200, 440), st.floats(120, 240), st.floats(40, 120), st.floats(-0.6, 0.6), st.sampled_from([(180, 320), (424, 512)]))
def test_a_crop_shows_the_region_that_the_colour_crop_shows(x: float, y: float, side: float, roll: float, size: tuple[int, int]) -> None:
    crop = cut_measured(frame(plane(*size), scale=1.0), SIZE, face(x, y, side, roll), spec(16, scale=1.2))[0]
    assert crop.dtype == np.float32
    step = 1.2 * side / 16
    for row, column in ((0, 0), (0, 15), (15, 0), (7, 8)):
        u, v = (column + 0.5 - 8) * step, (row + 0.5 - 8) * step
        at = (x + u * math.cos(roll) - v * math.sin(roll), y + u * math.sin(roll) + v * math.cos(roll))
        assert crop[row, column] == pytest.approx(1 + at[0] / 1000 + at[1] / 500, abs=4e-4)


def test_a_full_crop_is_the_whole_picture() -> None:
    crop = cut_measured(frame(plane(64, 64), scale=1.0), SIZE, face(99, 99, 50), spec(64, kind="full"))[0]
    np.testing.assert_allclose(crop, plane(64, 64), atol=1e-6)


def test_counts_become_kelvin_and_holes_stay_zero() -> None:
    counts = np.full((90, 160), 30_650, np.uint16)
    counts[:, 80:] = 0
    said = cut_measured(frame(counts, "thermal", 0.01, "K", 0.5), SIZE, face(320, 180, 100), spec(modality="thermal"))[0]
    assert set(np.unique(said)) == {np.float32(0), said.max()}, "a hole must not mix into its neighbour"
    assert said.max() == pytest.approx(307.0)
    assert (said[:, :7] > 0).all()
    assert (said[:, 9:] == 0).all()


def test_beyond_the_picture_nothing_was_measured() -> None:
    said = cut_measured(frame(plane(180, 320), scale=1.0), SIZE, face(10, 180, 100), spec())[0]
    assert (said[:, 0] == 0).all()
    assert (said[:, -1] > 0).all()


@pytest.mark.parametrize(("modality", "unit"), [("depth", "K"), ("depth", None), ("thermal", None)])
def test_values_without_a_unit_are_refused(modality: Modality, unit: str | None) -> None:
    with pytest.raises(UnitError, match="it must be"):
        cut_measured(frame(plane(9, 16), modality, 1.0, unit), SIZE, face(320, 180, 100), spec(modality=modality))


def test_what_is_missing_or_frozen_is_stale() -> None:
    perception = create(detector())
    manifest = expression(face={"size": [8, 8]}, deep={"size": [8, 8], "modality": "depth"})
    color = Frame("color", "color", 1, 0, 0, picture())
    deep = frame(np.full((100, 120), 900, np.uint16))
    stale = Frame("depth", "depth", 1, 0, 0, deep.data, None, 0.001, 0.0, "m", flags=frozenset({"frozen"}))
    who = face(90, 90, 90)
    said = perception.sample(Bundle(1, 0, "host", 0, {"color": color, "depth": deep}), who, manifest)
    assert not isinstance(said, str)
    assert (said["deep"].shape, said["deep"].dtype, said["face"].shape) == ((1, 8, 8), np.float32, (3, 8, 8))
    assert np.allclose(said["deep"], 0.9)
    for frames in ({"color": color}, {"color": color, "depth": stale}):
        assert perception.sample(Bundle(1, 0, "host", 0, frames), who, manifest) == "sensor-stale"
