"""A whole picture in a network's fixed rectangle: kept in proportion, centred, black around it.

Owns the geometry both ways and the one resize. Does not own what a network makes of it (`faces/`) or the cutting of
single faces (`crop.py`). Coordinates are continuous pixels: a picture of width W spans [0, W], pixel i's centre is i + 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in a rectangle.

    Sizes are (H, W) in pixels; `content` is the picture's size in the rectangle, `top` and `left` its first row and column.
    """

    picture: Size
    target: Size
    content: Size
    top: int
    left: int

    def picture_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return picture pixels for `(…, 2)` x, y in pixels of the rectangle."""
        scale = np.array([self.picture[1] / self.content[1], self.picture[0] / self.content[0]])
        return np.asarray((points - np.array([self.left, self.top])) * scale, np.float64)

    def target_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of the rectangle for `(…, 2)` x, y in picture pixels."""
        scale = np.array([self.content[1] / self.picture[1], self.content[0] / self.picture[0]])
        return np.asarray(points * scale + np.array([self.left, self.top]), np.float64)

    def draw(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the `(H, W, 3)` uint8 rectangle with `image` in it.

        Shrinking averages areas: a plain bilinear resize by 5 reads 4 of 25 pixels, so that the noise of a re-encoded
        picture moves the boxes.
        """
        height, width = self.content
        shrinks = height < self.picture[0] or width < self.picture[1]
        content = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if self.content == self.target:
            return np.asarray(content, np.uint8)
        target = np.zeros((*self.target, 3), np.uint8)
        target[self.top : self.top + height, self.left : self.left + width] = content
        return target


def fit(picture: Size, target: Size) -> Letterbox:
    """Return the largest centred placement of a `picture` (H, W) in a `target` (H, W) that keeps its proportions."""
    scale = min(target[0] / picture[0], target[1] / picture[1])
    height = min(target[0], max(1, round(picture[0] * scale)))
    width = min(target[1], max(1, round(picture[1] * scale)))
    return Letterbox(picture, target, (height, width), (target[0] - height) // 2, (target[1] - width) // 2)
