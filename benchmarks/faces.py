"""How do the face finders compare? Each on the test clips: faces found, false ones, agreement of boxes, time per picture.

MediaPipe's is among them where its package is installed; it reports its use to its vendor. No budget: this is a table for docs/faces.md.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import bundles
from benchmarks.interleave import interleave
from capture.frame import Bundle, decoded
from service.inputs import Detection
from service.perception.faces.blazeface import overlaps
from tests.media import ensure
from tests.perception.finders import FINDERS, Opened

FRAMES = 150
CLIPS = ("single_face.mp4", "WolfgangLanger_Pexels.mp4", "no_face.mp4")
FIRST = "blazeface-front"


def main() -> int:
    """Print the table."""
    media = ensure()
    clips = {clip: [pixels for bundle in bundles(media / clip)[:FRAMES] if (pixels := _color(bundle)) is not None] for clip in CLIPS}
    group = _color(next(iter(bundles(media / "multi_face.jpg"))))
    assert group is not None
    there = importlib.util.find_spec("mediapipe") is not None
    opened = {name: make() for name, make in FINDERS.items() if there or "mediapipe" not in name}
    found = {name: {clip: [one.faces(image)[0] for image in images] for clip, images in clips.items()} for name, one in opened.items()}
    picture = clips[CLIPS[0]][0]
    timed = interleave({name: partial(_once, one, picture) for name, one in opened.items()}, runs=200, warmups=10)
    heads = (*(f"{clip}, {len(images)} frames" for clip, images in clips.items()), "group of 5", f"IoU with {FIRST}", "ms a picture")
    print("| finder, least score | " + " | ".join(heads) + " |")
    print("|---" * (1 + len(heads)) + "|")
    for name, one in opened.items():
        with_face = [str(sum(map(bool, per_frame))) for per_frame in found[name].values()]
        shared = [
            _iou(mine[0], theirs[0])
            for clip in CLIPS[:2]
            for mine, theirs in zip(found[name][clip], found[FIRST][clip], strict=True)
            if mine and theirs
        ]
        cells = (*with_face, str(len(one.faces(group)[0])), f"{np.median(shared):.2f}", f"{1e3 * timed[name].median:.1f}")
        print(f"| {name}, {one.manifest.min_score:g} | " + " | ".join(cells) + " |")
        one.engine.close()
    return 0


def _color(bundle: Bundle) -> NDArray[np.uint8] | None:
    frame = bundle.frame("color")
    return None if frame is None else np.asarray(decoded(frame).data, np.uint8)


def _once(finder: Opened, image: NDArray[np.uint8]) -> object:
    return finder.faces(image)


def _iou(one: Detection, other: Detection) -> float:
    a, b = np.array(one.box), np.array(other.box)
    return float(overlaps(a, b[None])[0])


if __name__ == "__main__":
    sys.exit(main())
