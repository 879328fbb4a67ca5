"""What does being mien cost? `analyze` against a minimal loop over the same decoder, detector and classifier.

The minimal loop has no tracks, windows, keyframes, gates or events: it decodes, finds the best face, cuts it, classifies.
Budget: at least 0.7 of its speed at 640×360.
"""

from __future__ import annotations

import sys

import av
import numpy as np

from benchmarks.interleave import interleave, ratio
from capture.container import upright
from engines.engine import EngineOptions
from engines.manifest import Detector, Expression
from service.analyze import Analyser, analyse
from service.config import Config
from service.events import line
from service.intake import Source
from service.models import Models
from service.perception.crop import cut
from service.perception.pixels import find
from tests.media import ensure

RUNS, BUDGET = 11, 0.7


def main() -> bool:
    """Print the ratio; return whether it is within the budget."""
    media = ensure()
    clip = media / "single_face.mp4"
    models = Models([], EngineOptions())
    detector, expression = models.load("blazeface-front").manifest, models.load("fer-small").manifest
    assert isinstance(detector, Detector)
    assert isinstance(expression, Expression)
    finder, spec = find(detector), expression.crops["face"] if "face" in expression.crops else next(iter(expression.crops.values()))
    name = next(iter(expression.crops))
    find_faces, classify = models.engines["blazeface-front", "full"], models.engines["fer-small", "frame"]

    def minimal() -> int:
        happy = 0
        with av.open(str(clip)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                image = upright(frame)
                row = {k: v[None] for k, v in finder.prepare(image).items()}
                outputs = {k: v[0] for k, v in find_faces.run(row).items()}
                faces = finder.decode(outputs, (image.shape[0], image.shape[1]))
                if faces:
                    crop = cut(image, faces[0], spec)
                    happy += int(np.argmax(classify.run({name: crop[None]})["probabilities"]) == 1)
        return happy

    with Analyser.create(Config()) as analyser:

        def analysed() -> int:
            return sum(len(line(event)) for event in analyse(Source(clip, clip.name), analyser))

        timed = interleave({"minimal": minimal, "mien": analysed}, RUNS, warmups=2)
    models.close()
    low, middle, high = ratio(timed["minimal"], timed["mien"])
    per_frame = {way: 1000 * timing.median / 72 for way, timing in timed.items()}
    print(f"mien analyze {middle:.2f} of the minimal loop's speed (pairs {low:.2f}–{high:.2f}; budget ≥ {BUDGET:g})")
    print(f"medians per frame of {clip.name}: mien {per_frame['mien']:.2f} ms, minimal {per_frame['minimal']:.2f} ms")
    return middle >= BUDGET


if __name__ == "__main__":
    sys.exit(not main())
