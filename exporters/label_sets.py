"""Sets of labels that hold the true one as often as promised: conformal prediction over groups of windows.

Owns the floors: a label is in a window's set when its probability reaches its floor. Windows of one clip resemble each other, so clips
(or people) are what is drawn at random, not windows; a group counts as one, however many windows it has.

With K groups of N_k windows like a new one, the floor is the largest f at which the windows whose true label has f or more weigh at least
`coverage`, when each window weighs 1/N_k/(K + 1). A window of the new group then has its true label in its set with probability
`coverage` or more, whatever the network. Source: Lee, Barber & Willett 2023, "Distribution-free inference with hierarchical data",
section 2 (with one window per group: Vovk et al. 2005); the score is that of Sadinle, Lei & Wasserman 2019.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_SLACK = 1e-12  # of a sum of shares that is exactly `coverage` but for rounding


def floor_of(of_truth: NDArray[np.float64], groups: NDArray[np.int64], coverage: float) -> float:
    """Return the floor for windows whose true labels have probabilities `of_truth` (n,) and that belong to `groups` (n,).

    0, which rules nothing out, where there are fewer groups than `least_groups`.
    """
    if not len(of_truth):
        return 0.0
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1.0 / sizes[member] / (len(sizes) + 1)
    order = np.argsort(-of_truth, kind="stable")
    reached = np.cumsum(weights[order]) >= coverage - _SLACK
    return float(of_truth[order][int(np.argmax(reached))]) if reached.any() else 0.0


def floors(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], groups: NDArray[np.int64], coverage: float, per_label: bool
) -> NDArray[np.float64]:
    """Return a floor per label (K,) from `probabilities` (n, K) and true `labels` (n,); `per_label`: each from its own."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    kinds = probabilities.shape[1]
    if not per_label:
        return np.full(kinds, floor_of(of_truth, groups, coverage))
    return np.array([floor_of(of_truth[labels == k], groups[labels == k], coverage) for k in range(kinds)])


def members(probabilities: NDArray[np.float64], floor: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which labels are in each row's set, (n, K): those that reach their floor, and the most probable."""
    within = probabilities >= floor
    within[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return np.asarray(within, np.bool_)


def least_groups(coverage: float) -> int:
    """Return how many groups it takes before a floor can rule anything out."""
    return math.ceil(coverage / (1.0 - coverage) - _SLACK)
