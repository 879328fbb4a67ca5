from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.perception.letterbox import fit

sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))
targets = st.sampled_from([(128, 128), (256, 256), (192, 320)])


@given(sizes, targets, st.lists(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), min_size=1, max_size=8))
def test_points_come_back_from_the_rectangle(picture: tuple[int, int], target: tuple[int, int], shares: list[tuple[float, float]]) -> None:
    placed = fit(picture, target)
    points = np.array(shares) * np.array([picture[1], picture[0]])
    np.testing.assert_allclose(placed.picture_points(placed.target_points(points)), points, atol=1e-6)


@given(sizes, targets)
def test_the_picture_fills_the_rectangle_one_way_and_is_centred_the_other(picture: tuple[int, int], target: tuple[int, int]) -> None:
    placed = fit(picture, target)
    margins = (target[0] - placed.content[0], target[1] - placed.content[1])
    assert min(margins) == 0
    assert (placed.top, placed.left) == (margins[0] // 2, margins[1] // 2)
    right, bottom = placed.left + placed.content[1], placed.top + placed.content[0]
    corners = placed.picture_points(np.array([[placed.left, placed.top], [right, bottom]], float))
    np.testing.assert_allclose(corners, [[0, 0], [picture[1], picture[0]]], atol=1e-6)


@pytest.mark.parametrize("picture", [(360, 640), (640, 360), (64, 64), (128, 128)])
def test_what_is_drawn_lies_where_the_points_say(picture: tuple[int, int]) -> None:
    image = np.full((*picture, 3), 40, np.uint8)
    top, left, height, width = picture[0] // 4, picture[1] // 2, picture[0] // 4, picture[1] // 4
    image[top : top + height, left : left + width] = 240
    placed = fit(picture, (128, 128))
    drawn = placed.draw(image)
    assert drawn.shape == (128, 128, 3)
    assert not drawn[: placed.top].any()
    assert not drawn[:, : placed.left].any()
    assert not drawn[placed.top + placed.content[0] :].any()
    rows, columns = np.nonzero(drawn[:, :, 0] > 140)
    found = placed.picture_points(np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], float))
    step = picture[1] / placed.content[1]
    np.testing.assert_allclose(found, [[left, top], [left + width, top + height]], atol=step)
