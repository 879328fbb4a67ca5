"""What a window says, as numbers and as words.

Owns the mean of per-frame outputs, causal smoothing, and the reading of a value by a manifest: sorted scores, label,
valence-arousal (predicted or derived), entropy. Does not know sessions or the wire.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from engines.manifest import Expression
from service.events import Affect, Score, Uncertainty
from service.windows.window import Window

FLOOR = 1e-12
"""Probabilities are not taken below this before a logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One opinion, float64: `probabilities` (K,) or None, `affect` (2,) valence-arousal as predicted, or None."""

    probabilities: NDArray[np.float64] | None
    affect: NDArray[np.float64] | None

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        return all(array is None or bool(np.isfinite(array).all()) for array in (self.probabilities, self.affect))


def of_outputs(outputs: Arrays, manifest: Expression) -> Value:
    """Read one row of a graph's outputs."""
    roles = manifest.outputs
    probabilities = np.asarray(outputs[roles["probabilities"]], np.float64).ravel() if "probabilities" in roles else None
    if "valence" not in roles and "arousal" not in roles:
        return Value(probabilities, None)
    pair = [float(outputs[roles[role]].ravel()[0]) if role in roles else 0.0 for role in ("valence", "arousal")]
    return Value(probabilities, np.array(pair))


def aggregate(window: Window, manifest: Expression) -> Value:
    """Return the value of a window of per-frame outputs by the manifest's `aggregate`."""
    frames = [of_outputs(sample.values, manifest) for sample in window.samples]
    weights = np.ones(len(frames))
    stack = None if frames[0].probabilities is None else np.stack([f.probabilities for f in frames if f.probabilities is not None])
    if manifest.aggregate == "confidence-weighted" and stack is not None:
        weights = stack.max(axis=1)
    weights = weights / weights.sum()
    affect = None if frames[0].affect is None else weights @ np.stack([f.affect for f in frames if f.affect is not None])
    if stack is None:
        return Value(None, affect)
    if manifest.aggregate == "mean-logits":
        # Logits are log-probabilities up to a constant per frame, which the softmax of their mean cancels.
        logits = np.log(np.maximum(stack, FLOOR)).mean(axis=0)
        raised = np.exp(logits - logits.max())
        return Value(raised / raised.sum(), affect)
    return Value(weights @ stack, affect)


def added(a: Value, b: Value) -> Value:
    """Return the sum of two values of one model."""
    return _mixed(1.0, a, 1.0, b)


def scaled(a: Value, factor: float) -> Value:
    """Return a value times a factor."""
    return _mixed(factor, a, 0.0, a)


def smoothed(value: Value, previous: Value | None, alpha: float) -> Value:
    """Return alpha·value + (1−alpha)·previous; the value itself when there is no previous one."""
    return value if previous is None else _mixed(alpha, value, 1.0 - alpha, previous)


def calibrated(value: Value, manifest: Expression) -> Value:
    """Return a value with the temperature that the manifest leaves to the runtime: probabilities to the power 1/T, normalised.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2: softmax(z/T), with z = log p.
    """
    calibration = manifest.calibration
    if calibration is None or not calibration.runtime or value.probabilities is None:
        return value
    logits = np.log(np.maximum(value.probabilities, FLOOR)) / calibration.temperature
    raised = np.exp(logits - logits.max())
    return Value(raised / raised.sum(), value.affect)


def _mixed(wa: float, a: Value, wb: float, b: Value) -> Value:
    probabilities = None if a.probabilities is None or b.probabilities is None else wa * a.probabilities + wb * b.probabilities
    affect = None if a.affect is None or b.affect is None else wa * a.affect + wb * b.affect
    return Value(probabilities, affect)


def scores(value: Value, manifest: Expression) -> tuple[Score, ...]:
    """Return all classes, most probable first, ties in the manifest's order."""
    if value.probabilities is None:
        return ()
    named = [Score(label, p) for label, p in zip(manifest.labels, value.probabilities.tolist(), strict=True)]
    return tuple(sorted(named, key=lambda score: -score.probability))


def affect(value: Value, manifest: Expression) -> Affect | None:
    """Return valence-arousal: predicted if the network does, else derived from the probabilities if the manifest has
    a point per label, else None. Clamped to [−1, 1], the raw pair beside it when that changed it."""
    if value.affect is not None:
        roles = manifest.outputs
        pair = tuple(float(x) if role in roles else None for role, x in zip(("valence", "arousal"), value.affect, strict=True))
        clamped = [None if x is None else min(1.0, max(-1.0, x)) for x in pair]
        raw = None if tuple(clamped) == pair else (pair[0], pair[1])
        return Affect(clamped[0], clamped[1], False, raw)
    if manifest.affect is None or value.probabilities is None:
        return None
    points = np.array([manifest.affect.points[label] for label in manifest.labels], np.float64)
    valence, arousal = (value.probabilities @ points).tolist()
    return Affect(valence, arousal, True)


def uncertainty(value: Value, manifest: Expression) -> Uncertainty | None:
    """Return the entropy of the probabilities in nats and the labels not ruled out, or None for a pure regressor."""
    if value.probabilities is None:
        return None
    entropy = -sum(float(p) * math.log(max(float(p), FLOOR)) for p in value.probabilities)
    return Uncertainty(max(0.0, entropy), manifest.calibration is not None, _set(value, manifest))


def _set(value: Value, manifest: Expression) -> tuple[str, ...] | None:
    if manifest.calibration is None or manifest.calibration.sets is None:
        return None
    floor, (best, *others) = manifest.calibration.sets.floor, scores(value, manifest)
    return (best.name, *(score.name for score in others if score.probability >= floor[score.name]))
