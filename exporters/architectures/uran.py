"""uran: valence or arousal from colour video alone, or one of a list of labels.

Owns the options and the choice of the last layer. Does not own the network (`exporters/recurrent_attention.py`) or the blueprint
(`mran.py`): uran is mran of colour alone, whose LSTMs nobody guides.

Input `color` uint8 RGB (N, T, 3, S, S). Outputs `valence` and/or `arousal` float32 (N, 1) in [−1, 1], or `probabilities` float32
(N, labels); and `attention` float32 (N, T, S, S), which sums to 1 over space.

Source: Lee et al. 2020, section III-B.5; section V-C.4 and Table X for labels.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from typing_extensions import Self

from exporters.architecture import Blueprint
from exporters.architectures import mran

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Source: Dhall et al. 2012 (AFEW): six expressions and neutral; the order is ours."""


class Options(mran.Common):
    """Beside what `mran` has too (`mran.Common`):

    `head`: va for `outputs`, or labels for a softmax over `labels`, the names of the classes in the network's order.
    """

    head: Literal["va", "labels"] = "va"
    labels: tuple[str, ...] = LABELS

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.head == "labels" and "outputs" in self.model_fields_set and self.outputs != ("valence",):
            raise ValueError("head labels has no valence or arousal; leave outputs out")
        if self.head == "labels" and (len(self.labels) < 2 or len(set(self.labels)) != len(self.labels)):
            raise ValueError(f"labels {', '.join(self.labels) or '(none)'}: name two or more, each once")
        return self


def describe(options: Options) -> Blueprint:
    """Build the blueprint of mran's network over colour alone."""
    labelled = options.head == "labels"
    title = f"uran: {len(options.labels)} expressions from video" if labelled else "uran: valence and arousal from colour video"
    return mran.blueprint(title, options, mran.Options(modalities=("color",)), options.labels if labelled else ())
