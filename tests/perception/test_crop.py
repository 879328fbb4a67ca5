"""Crops: the right place, whole, level, anti-aliased, and known where it leaves the picture."""

from __future__ import annotations

import functools
import math
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.manifest import CropSpec
from service.inputs import Detection
from service.perception.crop import cut, inside, region, roll

FACE = CropSpec(size=(64, 64))
eighths = st.integers(-80, 80).map(lambda n: n / 8)


def face(x: float, y: float, side: float, angle: float = 0.0) -> Detection:
    """A face whose eyes are `angle` radians off level."""
    dx, dy = math.cos(angle) * side / 4, math.sin(angle) * side / 4
    eyes = {"right_eye": (x - dx, y - dy), "left_eye": (x + dx, y + dy)}
    return Detection((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.9, eyes)


@functools.cache
def scene(height: int, width: int) -> np.ndarray:
    """A smooth colour scene with its detail well under the Nyquist limit of the crops taken from it."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    waves = [np.sin(x / 37) + np.cos(y / 29), np.sin((x + y) / 41), np.cos(x / 53 - y / 31)]
    return np.clip(128 + 50 * np.stack(waves, axis=-1), 0, 255).astype(np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(30, 300), st.sampled_from([0.0, 0.3, -1.2]), eighths, eighths)
def test_a_shifted_picture_gives_the_same_crop(right: int, down: int, side: float, angle: float, x: float, y: float) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (560, 560, 3), np.uint8)
    shifted = np.zeros((620, 620, 3), np.uint8)
    shifted[down : down + 560, right : right + 560] = picture
    side = round(side * 8) / 8
    here, there = face(280 + x, 280 + y, side, angle), face(280 + x + right, 280 + y + down, side, angle)
    difference = cut(picture, here, FACE).astype(int) - cut(shifted, there, FACE)
    # the same bytes but where adding the shift moved a float64 coordinate across a 1/32 pixel step of the warp
    assert np.abs(difference).max() <= 8
    assert np.count_nonzero(difference) <= 0.001 * difference.size


@pytest.mark.parametrize("side", [40, 53, 107, 160, 300, 640])
@pytest.mark.parametrize("angle", [0.0, 0.4, -0.9, 3.0])
def test_the_crop_shows_what_lies_in_its_region(side: float, angle: float) -> None:
    picture, found = scene(1100, 1100), face(550.3, 548.6, side, angle)
    crop = cut(picture, found, FACE).astype(float)
    area = region(found, FACE)
    v, u = ((np.mgrid[0:64, 0:64] + 0.5) / 64 - 0.5) * area.width
    x = area.x + math.cos(angle) * u - math.sin(angle) * v
    y = area.y + math.sin(angle) * u + math.cos(angle) * v
    truth = np.clip(128 + 50 * np.stack([np.sin(x / 37) + np.cos(y / 29), np.sin((x + y) / 41), np.cos(x / 53 - y / 31)]), 0, 255)
    assert np.abs(crop - truth).mean() < 1.5
    assert np.abs(crop - truth).max() < 6


# Of a face box of 100 × 80 around (200, 300): what is cut, worked out by hand. A face's square is 1.2 × the longer
# side, 120 pixels; for a size that is not square that is its shorter edge. An upper body is 300 wide and 360 high: from
# 40 above the box to 240 below it.
BOX = (150.0, 260.0, 250.0, 340.0)
REGIONS = [
    ({"size": (64, 64)}, (200, 300, 120, 120)),
    ({"size": (112, 112)}, (200, 300, 120, 120)),
    ({"size": (48, 80)}, (200, 300, 200, 120)),
    ({"size": (80, 48)}, (200, 300, 120, 200)),
    ({"size": (64, 64), "scale": 1.5}, (200, 300, 150, 150)),
    ({"size": (50, 100), "scale": 2.0}, (200, 300, 400, 200)),
    ({"size": (64, 64), "kind": "upper-body"}, (200, 400, 360, 360)),
    ({"size": (120, 100), "kind": "upper-body"}, (200, 400, 300, 360)),
    ({"size": (240, 100), "kind": "upper-body"}, (200, 400, 300, 720)),
    ({"size": (60, 100), "kind": "upper-body", "scale": 9.0}, (200, 400, 600, 360)),
]


@pytest.mark.parametrize(("spec", "expected"), REGIONS)
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_the_region_of_a_crop_in_pixels(spec: dict[str, object], expected: tuple[float, ...], angle: float) -> None:
    eyes = {"right_eye": (180.0, 280.0), "left_eye": (180 + 40 * math.cos(angle), 280 + 40 * math.sin(angle))}
    area = region(Detection(BOX, 0.9, eyes), CropSpec.model_validate(spec))
    assert (area.x, area.y, area.width, area.height) == pytest.approx(expected)
    assert area.angle == pytest.approx(angle if spec.get("kind") != "upper-body" else 0.0)


@pytest.mark.parametrize("box", [(150.0, 260.0, 250.0, 340.0), (160.0, 250.0, 240.0, 350.0)])
def test_the_longer_side_of_the_box_counts(box: tuple[float, float, float, float]) -> None:
    area = region(Detection(box, 0.9, {}), FACE)
    assert (area.x, area.y, area.width, area.height) == pytest.approx((200, 300, 120, 120))


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (80, 48)])
@pytest.mark.parametrize("box", [(470.0, 500.0, 570.0, 580.0), (510.0, 460.0, 590.0, 560.0), (300.0, 300.0, 700.0, 620.0)])
@pytest.mark.parametrize("angle", [0.0, 0.5, -1.0])
def test_an_oblong_crop_shows_the_right_place_in_its_proportions(
    size: tuple[int, int], box: tuple[float, float, float, float], angle: float
) -> None:
    """Where each pixel of the crop lies is worked out here from the words of the module, not by `region`."""
    x, y, longer = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, max(box[2] - box[0], box[3] - box[1])
    eyes = {"right_eye": (x, y), "left_eye": (x + math.cos(angle), y + math.sin(angle))}
    pixel = 1.2 * longer / min(size)
    v, u = (np.mgrid[0 : size[0], 0 : size[1]] + 0.5) - np.array(size)[:, None, None] / 2
    at_x = x + pixel * (math.cos(angle) * u - math.sin(angle) * v)
    at_y = y + pixel * (math.sin(angle) * u + math.cos(angle) * v)
    waves = [np.sin(at_x / 37) + np.cos(at_y / 29), np.sin((at_x + at_y) / 41), np.cos(at_x / 53 - at_y / 31)]
    truth = np.clip(128 + 50 * np.stack(waves), 0, 255)
    crop = cut(scene(1100, 1100), Detection(box, 0.9, eyes), CropSpec(size=size)).astype(float)
    assert crop.shape == (3, *size)
    assert np.abs(crop - truth).mean() < 2
    assert np.abs(crop - truth).max() < 12


@pytest.mark.parametrize(("size", "pixel"), [((128, 128), 450 / 128), ((120, 90), 450 / 120), ((150, 60), 300 / 60)])
def test_an_upper_body_shows_the_right_place(size: tuple[int, int], pixel: float) -> None:
    """Of a box of 100 × 100 it is 300 wide and 450 high, from 50 above to 300 below; then widened or heightened."""
    v, u = (np.mgrid[0 : size[0], 0 : size[1]] + 0.5) - np.array(size)[:, None, None] / 2
    x, y = 550 + pixel * u, 475 + pixel * v
    truth = np.clip(128 + 50 * np.stack([np.sin(x / 37) + np.cos(y / 29), np.sin((x + y) / 41), np.cos(x / 53 - y / 31)]), 0, 255)
    face = Detection((500.0, 300.0, 600.0, 400.0), 0.9, {})
    crop = cut(scene(1100, 1100), face, CropSpec(kind="upper-body", size=size)).astype(float)
    assert np.abs(crop - truth).mean() < 2
    assert np.abs(crop - truth).max() < 12


@given(st.floats(-3.1, 3.1), st.floats(50, 200))
def test_the_crop_is_level(angle: float, side: float) -> None:
    found = face(300, 300, side, angle)
    area = region(found, FACE)
    assert area.angle == pytest.approx(angle) == pytest.approx(roll(found))
    assert area.width == area.height == pytest.approx(1.2 * side)
    assert region(found, CropSpec(size=(64, 64), align="none")).angle == 0


def test_without_both_eyes_nothing_is_turned() -> None:
    whole = face(100, 100, 50, 0.5)
    assert roll(Detection(whole.box, 0.9, {"left_eye": (1.0, 2.0)})) == 0
    assert roll(Detection(whole.box, 0.9, {})) == 0


def test_noise_averages_out_when_shrinking() -> None:
    noise = np.random.default_rng(2).normal(128, 30, (640, 640, 3)).clip(0, 255).astype(np.uint8)
    for shrink in (2, 4, 8):
        # the mean of shrink² independent pixels spreads by 1/shrink
        assert cut(noise, face(320, 320, 64 * shrink / 1.2), FACE).std() < 1.1 * 30 / shrink


def test_beyond_the_edge_a_face_repeats_the_last_pixels_and_a_body_is_black() -> None:
    picture = np.full((200, 200, 3), 200, np.uint8)
    corner = face(10, 10, 80)
    assert (cut(picture, corner, FACE) == 200).all()
    body = cut(picture, corner, CropSpec(kind="upper-body", size=(128, 128)))
    assert (body[:, :4] == 0).all()
    assert (body[:, 80, 120] == 200).all()


def test_the_upper_body_holds_three_widths_and_keeps_proportions() -> None:
    spec = CropSpec(kind="upper-body", size=(128, 128))
    area = region(Detection((100, 100, 200, 200), 0.9, {}), spec)
    assert (area.x, area.y, area.width, area.height, area.angle) == (150, 275, 450, 450, 0)
    tall = region(Detection((100, 100, 200, 200), 0.9, {}), CropSpec(kind="upper-body", size=(150, 100)))
    assert (tall.width, tall.height) == (300, 450)


def test_full_is_the_whole_picture_stretched() -> None:
    picture = scene(90, 160)
    crop = cut(picture, face(1, 1, 1), CropSpec(kind="full", size=(32, 32)))
    np.testing.assert_array_equal(crop.transpose(1, 2, 0), cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(
    ("picture", "size", "expected"),
    [
        # Two columns at four: between the centres of two pixels a straight line, beyond them the pixel itself.
        ([[0, 100]], (1, 4), [[0, 25, 75, 100]]),
        ([[0], [100]], (4, 1), [[0], [25], [75], [100]]),
        # Eight columns at two: each the mean of four.
        ([[0, 0, 100, 100, 20, 40, 60, 80]], (1, 2), [[50, 50]]),
        # One side shrinks, to means of two, while the other grows.
        ([[0, 80, 100, 100]], (2, 2), [[40, 100], [40, 100]]),
        ([[0], [80], [100], [100]], (2, 2), [[40, 40], [100, 100]]),
        ([[0, 60, 200, 0]], (1, 4), [[0, 60, 200, 0]]),
    ],
)
def test_full_averages_what_shrinks_and_draws_lines_where_it_grows(
    picture: list[list[int]], size: tuple[int, int], expected: list[list[int]]
) -> None:
    image = np.repeat(np.array(picture, np.uint8)[..., None], 3, axis=2)
    crop = cut(image, Detection((0.0, 0.0, 1.0, 1.0), 0.9, {}), CropSpec(kind="full", size=size))
    np.testing.assert_array_equal(crop, np.repeat(np.array(expected)[None], 3, axis=0))


def test_a_large_face_needs_no_large_warp() -> None:
    image = np.full((3000, 3000, 3), 90, np.uint8)
    tracemalloc.start()
    try:
        crop = cut(image, Detection((250.0, 250.0, 2750.0, 2750.0), 0.9, {}), FACE)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (crop == 90).all()
    # At the picture's own resolution the warp alone would be 27 MB.
    assert most < 5e6


@pytest.mark.parametrize("kind", ["face", "upper-body", "full"])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
@pytest.mark.parametrize("picture", [(3, 5), (200, 300), (1500, 40)])
def test_any_picture_makes_a_contiguous_crop_and_the_same_twice(kind: str, size: tuple[int, int], picture: tuple[int, int]) -> None:
    spec = CropSpec.model_validate({"kind": kind, "size": size})
    image = np.random.default_rng(3).integers(0, 256, (*picture, 3), np.uint8)
    found = Detection((0.0, 0.0, float(picture[1]), float(picture[0])), 0.9, {})
    crop = cut(image, found, spec)
    assert crop.shape == (3, *size)
    assert crop.dtype == np.uint8
    assert crop.flags.c_contiguous
    assert crop.tobytes() == cut(image.copy(), found, spec).tobytes()


@pytest.mark.parametrize("box", [(60, 40, 100, 80), (-10, 0, 60, 70), (150, 100, 239, 180), (100, 100, 110, 110)])
def test_what_lies_beyond_the_edge_is_known(box: tuple[float, float, float, float]) -> None:
    white = np.full((200, 240, 3), 255, np.uint8)
    spec, face = CropSpec(kind="upper-body", size=(64, 48)), Detection(box, 1.0, {})
    crop = cut(white, face, spec)
    rows, columns = inside(face, spec, (200, 240))
    assert (crop[:, rows, columns] >= 250).mean() > 0.95  # but for blended edges
    outside = np.ones((64, 48), bool)
    outside[max(rows.start - 1, 0) : rows.stop + 1, max(columns.start - 1, 0) : columns.stop + 1] = False
    assert not crop[:, outside].any()


def test_a_face_crop_shows_the_picture_everywhere() -> None:
    assert inside(Detection((-20, -20, 40, 40), 1.0, {}), CropSpec(size=(8, 9)), (200, 240)) == (
        slice(0, 8),
        slice(0, 9),
    )
