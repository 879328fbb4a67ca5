from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.manifest import Gates
from service.perception.quality import brightness, crop_gate, luma, sharpness, size_gate

GATES = Gates(min_face_px=24, min_luma=16, min_sharpness=30)


def texture(contrast: float, level: float) -> np.ndarray:
    noise = np.random.default_rng(4).normal(level, contrast, (64, 64))
    return np.repeat(noise.clip(0, 255).astype(np.uint8)[None], 3, axis=0)


@pytest.mark.parametrize(("box", "code"), [((0, 0, 24, 24), None), ((0, 0, 23.9, 80), "too-small"), ((0, 0, 80, 23.9), "too-small")])
def test_the_shorter_side_of_the_box_counts(box: tuple[float, float, float, float], code: str | None) -> None:
    assert size_gate(box, GATES) == code


def test_too_dark_comes_before_blurred() -> None:
    assert crop_gate(texture(20, 128), GATES) is None
    assert crop_gate(texture(0, 128), GATES) == "blurred"
    assert crop_gate(texture(0, 10), GATES) == "too-dark"


def test_a_threshold_of_nought_lets_everything_pass() -> None:
    assert crop_gate(texture(0, 0), Gates(min_luma=0, min_sharpness=0)) is None


def test_luma_weighs_red_green_and_blue() -> None:
    crop = np.zeros((3, 8, 8), np.uint8)
    for channel, expected in enumerate((76, 150, 29)):
        crop[:] = 0
        crop[channel] = 255
        assert brightness(luma(crop)) == expected


def test_sharpness_of_a_known_picture_and_of_its_blur() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert sharpness(board) == pytest.approx(1020.0**2)
    grey = texture(30, 128)[0]
    blurred = [sharpness(cv2.GaussianBlur(grey, (0, 0), sigma)) for sigma in (0.6, 1.2, 2.4)]
    assert sharpness(grey) > blurred[0] > blurred[1] > blurred[2]
