"""One number that makes a network's probabilities honest: temperature scaling, and the two figures that say whether it did.

Owns the fit, the negative log-likelihood and the expected calibration error. Does not own reading and writing (`calibrated.py`) or the
use at run time (`service/windows/value.py`). Rows may weigh differently, so that a long clip does not outvote a short one.
Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", sections 3 and 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15
LEAST, MOST = 0.01, 100.0
_FLOOR = 1e-12  # as the runtime's: probabilities are not taken below this before a logarithm
Rows = NDArray[np.float64]


class CalibrationRefused(ValueError):
    """The windows cannot be calibrated on."""


def tempered(probabilities: Rows, temperature: float) -> Rows:
    """Return softmax(log p / temperature) of each row of `probabilities` (n, K)."""
    logits = np.log(np.maximum(probabilities, _FLOOR)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float64)


def fit(probabilities: Rows, labels: NDArray[np.int64], weights: Rows | None = None) -> float:
    """Return the temperature that makes `labels` (n,) most likely under `probabilities` (n, K).

    Raises:
        CalibrationRefused: there are no rows, or none lies between `LEAST` and `MOST`: all rows are right, or as good as random.
    """
    if not len(labels):
        raise CalibrationRefused("there are no windows to fit a temperature on")
    weights = _shares(weights, len(labels))
    logits = np.log(np.maximum(probabilities, _FLOOR))
    of_truth = float(weights @ logits[np.arange(len(labels)), labels])

    def slope(sharpness: float) -> float:
        # The likelihood's slope in 1/T: what the network expects of the logits, less what the labels have. It only rises.
        return float(weights @ (tempered(probabilities, 1.0 / sharpness) * logits).sum(axis=1)) - of_truth

    low, high = 1.0 / MOST, 1.0 / LEAST
    if slope(low) >= 0:
        raise CalibrationRefused(
            f"no temperature up to {MOST:g} makes the labels likely: what the model says of these clips is no better than chance; "
            "are they the labels of these clips?"
        )
    if slope(high) <= 0:
        raise CalibrationRefused(
            f"no temperature down to {LEAST:g} is low enough: every window is right, and nothing can be learnt of doubt; "
            "take more clips, harder ones among them"
        )
    while high / low > 1 + 1e-12:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1.0 / float(np.sqrt(low * high))


def likelihood_loss(probabilities: Rows, labels: NDArray[np.int64], weights: Rows | None = None) -> float:
    """Return the mean negative log-likelihood of `labels`, in nats."""
    rows = np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _FLOOR))
    return -float(_shares(weights, len(labels)) @ rows)


def calibration_error(probabilities: Rows, labels: NDArray[np.int64], weights: Rows | None = None, bins: int = BINS) -> float:
    """Return the expected calibration error: |accuracy − confidence| of equally wide bins of confidence, weighted by what is in them.

    Source: Guo et al. 2017, Eq. 3; a bin holds its upper edge.
    """
    weights = _shares(weights, len(labels))
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(places, weights * (right - confidence), minlength=bins)
    return float(np.abs(gaps).sum())


def _shares(weights: Rows | None, count: int) -> Rows:
    whole = np.ones(count) if weights is None else weights
    return np.asarray(whole / whole.sum(), np.float64)
