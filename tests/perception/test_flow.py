"""Optical flow: which way, how far, and of which two crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.perception.flow import flow
from service.perception.pixels import create
from tests.perception.test_pixel_perception import FACE, bundle, detector, expression, picture


def texture(side: int) -> np.ndarray:
    noise = np.random.default_rng(2).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def window(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    return np.ascontiguousarray(image[top : top + side, left : left + side].transpose(2, 0, 1))


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 1), (-5, 3), (0, -4)])
def test_flow_points_where_things_went(side: int, right: int, down: int) -> None:
    image = texture(side + 20)
    before, after = window(image, 10, 10, side), window(image, 10 - right, 10 - down, side)
    found = flow(before, after)
    assert (found.dtype, found.shape) == (np.float32, (2, side, side))
    inside = found[:, 8:-8, 8:-8]
    assert np.median(inside[0]) == pytest.approx(right, abs=0.05)
    assert np.median(inside[1]) == pytest.approx(down, abs=0.05)
    np.testing.assert_array_equal(found, flow(before, after))


def test_a_part_that_moves_alone_moves_alone() -> None:
    image, part = texture(64), texture(96)[40:60, 40:64]
    before, after = image.copy(), image.copy()
    before[20:40, 20:44] = part
    after[20:40, 22:46] = part
    found = flow(np.ascontiguousarray(before.transpose(2, 0, 1)), np.ascontiguousarray(after.transpose(2, 0, 1)))
    assert np.median(found[0, 25:35, 27:39]) == pytest.approx(2, abs=0.3)
    assert abs(np.median(found[0, 50:, :])) < 0.05


def test_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 8, 8\) and \(3, 8, 9\)"):
        flow(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 9), np.uint8))


def test_perception_gives_the_pixels_of_a_flow_input() -> None:
    side = {"size": [32, 32]}
    perception, model = create(detector()), expression(face=side, motion=side | {"content": "flow"})
    sample = perception.sample(bundle(picture()), FACE, model)
    assert not isinstance(sample, str)
    assert sample["motion"] is sample["face"]  # one region is cut once
    assert sample["face"].dtype == np.uint8
    np.testing.assert_array_equal(perception.flow(sample["face"], sample["face"]), flow(sample["face"], sample["face"]))
