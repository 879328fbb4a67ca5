"""The part of a picture that a network looks at, cut by a CropSpec.

Owns the region of each kind, its levelling by the eyes, and anti-aliased resampling. Does not own which crops a model
wants (its manifest) or whether one is good enough (`quality.py`). Coordinates are continuous picture pixels: pixel i's
centre is i + 0.5.

- `face`: square around the box's centre, `scale` × the box's longer side (for a size that is not square the region has its
  proportions, and that side is the shorter edge), rolled so that the eyes are level if `align` is `eyes` and both are known.
  Beyond the picture's edge the last pixels repeat: with black there, more labels change (docs/quality.md).
- `upper-body`: three box widths wide and from 0.5 box heights above the box to 3 below it, widened or heightened around
  its centre to the size's proportions, upright, black beyond the edge. `scale` does not apply.
  Of a face that coasts it is cut at the last box (`admission.py`): hands before the face do not end a gesture.
- `full`: the whole picture, stretched to `size` without regard to proportions, as the gesture papers feed it.
  Source: Ly et al. 2019, section 4 ("resized into n × 128 × 128 × 3").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.manifest import CropSpec
from service.inputs import Detection

EYES = ("right_eye", "left_eye")
COARSEST = 1.5
"""The least shrink that is left to the warp: under it the coarse averaging's grid would show in the crop."""
BODY_WIDTH, BODY_ABOVE, BODY_BELOW = 3.0, 0.5, 3.0
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the picture: centre, width and height in pixels, turned clockwise (as seen) by `angle` radians."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0


def cut(image: Pixels, face: Detection, spec: CropSpec) -> Pixels:
    """Return the `(3, H, W)` contiguous uint8 crop of a `(h, w, 3)` uint8 picture."""
    height, width = spec.size
    if spec.kind == "full":
        crop = _stretched(image, height, width)
    else:
        border = cv2.BORDER_REPLICATE if spec.kind == "face" else cv2.BORDER_CONSTANT
        crop = _resample(image, region(face, spec), (height, width), border)
    return np.ascontiguousarray(np.asarray(crop, np.uint8).transpose(2, 0, 1))


def region(face: Detection, spec: CropSpec) -> Region:
    """Return the region of a `face` or `upper-body` crop, of the same proportions as `spec.size`."""
    x0, y0, x1, y1 = face.box
    width, height = x1 - x0, y1 - y0
    if spec.kind == "upper-body":
        top, bottom = y0 - BODY_ABOVE * height, y1 + BODY_BELOW * height
        unit = max(BODY_WIDTH * width / spec.size[1], (bottom - top) / spec.size[0])
        return Region((x0 + x1) / 2, (top + bottom) / 2, unit * spec.size[1], unit * spec.size[0])
    unit = spec.scale * max(width, height) / min(spec.size)
    angle = roll(face) if spec.align == "eyes" else 0.0
    return Region((x0 + x1) / 2, (y0 + y1) / 2, unit * spec.size[1], unit * spec.size[0], angle)


def inside(face: Detection, spec: CropSpec, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a crop that show a picture of `size` (h, w) and not what is put beyond its edge.

    Only an `upper-body` crop has such; every crop has at least one row and column.
    """
    height, width = spec.size
    if spec.kind != "upper-body":
        return slice(0, height), slice(0, width)
    area = region(face, spec)
    return _shown(area.y, area.height, size[0], height), _shown(area.x, area.width, size[1], width)


def _shown(centre: float, length: float, picture: int, crop: int) -> slice:
    unit, start = length / crop, centre - length / 2
    first = min(max(math.ceil(-start / unit), 0), crop - 1)
    last = min(max(math.floor((picture - start) / unit), first + 1), crop)
    return slice(first, last)


def roll(face: Detection) -> float:
    """Return the angle of the line from the right eye to the left one, in radians clockwise as seen; 0 without eyes.

    Right and left are the person's own: in an upright face the right eye lies left in the picture.
    """
    right, left = (face.keypoints.get(name) for name in EYES)
    if right is None or left is None:
        return 0.0
    return math.atan2(left[1] - right[1], left[0] - right[0])


def _stretched(image: Pixels, height: int, width: int) -> Pixels:
    """Return the whole picture at `(height, width)`."""
    # What shrinks is averaged first: OpenCV's area averaging does not average if the other side grows.
    least = min(height, image.shape[0]), min(width, image.shape[1])
    if least != image.shape[:2]:
        image = np.asarray(cv2.resize(image, least[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    if least != (height, width):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _resample(image: Pixels, area: Region, size: tuple[int, int], border: int) -> Pixels:
    """Return `area` at `size` (H, W).

    Shrinking reads every pixel: whole-number area averaging of the surroundings down to a shrink under 3, one warp that is
    finer than the result by the rest, and area averaging of that. So noise averages out instead of moving labels
    (docs/quality.md), and the warp's cost is bounded whatever the picture's size.
    """
    shrink = area.width / size[1]
    coarse = min(max(1, int(shrink / COARSEST)), *image.shape[:2])
    fine = max(1, math.ceil(shrink / coarse))
    cos, sin = math.cos(area.angle), math.sin(area.angle)
    source, left, top = _surroundings(image, area, cos, sin, coarse)
    height, width = size[0] * fine, size[1] * fine
    step_x, step_y = area.width / width / coarse, area.height / height / coarse
    centre_x, centre_y = (area.x - left) / coarse, (area.y - top) / coarse
    to_source = np.array([[cos * step_x, -sin * step_y, 0.0], [sin * step_x, cos * step_y, 0.0]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    to_source[:, 2] = np.array([centre_x, centre_y]) - 0.5 - to_source[:, :2] @ middle
    crop = cv2.warpAffine(source, to_source, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)
    if fine > 1:
        crop = cv2.resize(crop, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)


def _surroundings(image: Pixels, area: Region, cos: float, sin: float, coarse: int) -> tuple[Pixels, int, int]:
    """Return the part of the picture that `area` needs, averaged over coarse × coarse pixels, and its left and top there.

    The origin moves with the area, so that a shifted picture gives the same bytes.
    """
    reach_x = (abs(cos) * area.width + abs(sin) * area.height) / 2 + 2 * coarse
    reach_y = (abs(sin) * area.width + abs(cos) * area.height) / 2 + 2 * coarse
    left, right = _span(area.x, reach_x, image.shape[1], coarse)
    top, bottom = _span(area.y, reach_y, image.shape[0], coarse)
    part = image[top:bottom, left:right]
    if coarse > 1:
        size = ((right - left) // coarse, (bottom - top) // coarse)
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    return part, left, top


def _span(centre: float, reach: float, length: int, coarse: int) -> tuple[int, int]:
    """Return first and last + 1 of the pixels within `reach` of `centre` inside [0, length), a multiple of `coarse` long."""
    first = min(max(math.floor(centre - reach), 0), length - coarse)
    last = min(math.ceil(centre + reach), length)
    return first, first + max(1, (last - first) // coarse) * coarse
