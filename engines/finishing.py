"""What a manifest says of a network's outputs once they are there: calibration, label sets, smoothing, post-processing, derived affect.

Owns those keys. Does not own the arithmetic: the service's, on its traces and windows, and the exporters', that fit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from engines.terms import Count, Positive, Signed, Strict, Unit


class DerivedAffect(Strict):
    """Valence and arousal as the probability-weighted mean of one point per label. Not a regression, and marked so."""

    points: Mapping[str, tuple[Signed, Signed]]
    source: str


class Smoothing(Strict):
    """Causal exponential mean of a track's predictions: p ← alpha·p + (1−alpha)·previous. alpha 1: none."""

    alpha: float = Field(gt=0, le=1)


class LabelSets(Strict):
    """Which labels a prediction does not rule out: those whose calibrated probability is at least `floor`, and always the most probable.

    Of a window of a new clip like those fitted on, the true label is among them with probability `coverage` or more; with `per_label`
    that holds for each true label by itself, else over all. `groups`: how many clips, or people, the floors were fitted on.
    """

    coverage: float = Field(gt=0, lt=1)
    floor: Mapping[str, Unit]
    per_label: bool
    groups: Count


class Calibration(Strict):
    """Whether probabilities were calibrated, on what, and the expected calibration error measured there.

    `temperature`: what logits were divided by, inside the graph; with `runtime` the graph knows nothing of it, and whoever runs it raises
    the window's probabilities to 1/temperature and normalises them. `sets`: label sets of what comes out.
    """

    temperature: Positive = 1.0
    source: str
    ece: Unit
    runtime: Literal[True] | None = None
    sets: LabelSets | None = None


class PostProcessing(Strict):
    """What is done to a whole trace of valence or arousal afterwards; never live. In this order: the median over `median_s` seconds
    around each value (0: none); plus `bias`; (value − `centre`) × `gain` + `centre`; later by `shift_s` seconds; clamped to [−1, 1].
    `source`: what it was fitted on."""

    median_s: float = Field(ge=0, default=0.0)
    bias: float = 0.0
    centre: float = 0.0
    gain: Positive = 1.0
    shift_s: float = Field(ge=0, default=0.0)
    source: str
