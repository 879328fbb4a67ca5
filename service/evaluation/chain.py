"""What is done to a whole trace afterwards, and how its numbers are fitted: smoothing, centring, scaling, time shift.

Owns the chain's application and its fit on a development part. Works on sampled traces; knows no clips. The numbers themselves are the
manifest's (`engines.manifest.PostProcessing`), so that a fitted chain can stand there.

The fit is the challenges': step by step, in this order, each kept only if the CCC over the development part rises; the smoothing's width
is the one with which the whole chain comes out best.
Source: Lee et al. 2020, section V-B (smoothing, centring and scaling, no shift); the steps are those of the AV+EC 2015 and 2016 baselines.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.finishing import PostProcessing
from service.evaluation import scores

STEPS = ("smooth", "centre", "scale", "shift")
USUAL = STEPS[:3]
MEDIANS_S = (0.4, 0.8, 1.2, 2.0, 4.0, 8.0, 12.0, 20.0)
SHIFTS_S = (0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A clip's truth and prediction at the same times, all (n,): `t_s` s, rising."""

    t_s: Values
    truth: Values
    predicted: Values


def apply(chain: PostProcessing, t_s: Values, predicted: Values) -> Values:
    """Return a trace (n,) after the chain; `t_s` (n,) s, rising."""
    values = median(t_s, predicted, chain.median_s) + chain.bias
    values = (values - chain.centre) * chain.gain + chain.centre
    return np.clip(shifted(t_s, values, chain.shift_s), -1.0, 1.0)


def median(t_s: Values, values: Values, width_s: float) -> Values:
    """Return at each time the median of the values within half of `width_s` before and after it; at the ends of fewer."""
    if width_s <= 0:
        return values
    # A shade wider than half, so that 0.4 s at 25 Hz is 11 samples and not now 10 and now 11.
    half = width_s / 2 + 1e-9
    first, past = np.searchsorted(t_s, t_s - half), np.searchsorted(t_s, t_s + half, "right")
    return np.array([np.median(values[a:b]) for a, b in zip(first, past, strict=True)])


def shifted(t_s: Values, values: Values, by_s: float) -> Values:
    """Return a trace said `by_s` seconds later, as annotators answer later than they see; its first value fills the beginning."""
    return values if by_s <= 0 or not len(values) else np.interp(t_s - by_s, t_s, values)


def fit(pairs: Sequence[Pair], steps: Collection[str] = USUAL, source: str = "a development part") -> PostProcessing:
    """Fit the chain on the clips of a development part, taken together; steps that do not raise their CCC are left out. No median and no
    shift longer than half of the shortest clip is tried: it would make a constant of that clip.

    Raises:
        ValueError: a step is none of `STEPS`.
    """
    unknown = sorted(set(steps) - set(STEPS))
    if unknown:
        raise ValueError(f"no step {', '.join(map(repr, unknown))}; there are: {', '.join(STEPS)}")
    best = PostProcessing(source=source)
    if not pairs:
        return best
    reached = _ccc(best, pairs)
    longest = min(float(pair.t_s[-1] - pair.t_s[0]) for pair in pairs) / 2
    # A width is judged with the later steps done: by itself a median may seem to help only because it flattens what is too large.
    for width in (0.0, *(width for width in MEDIANS_S if "smooth" in steps and width <= longest)):
        smooth = [replace(pair, predicted=median(pair.t_s, pair.predicted, width)) for pair in pairs]
        chain, found = _later(PostProcessing(source=source), smooth, steps, longest)
        if found > reached:
            best, reached = chain.model_copy(update={"median_s": width}), found
    return best


def _later(chain: PostProcessing, pairs: Sequence[Pair], steps: Collection[str], longest: float) -> tuple[PostProcessing, float]:
    """Return the chain with those of the steps after smoothing that raise the CCC, and the CCC reached."""
    reached = _ccc(chain, pairs)
    for step in STEPS[1:]:
        best = chain
        for candidate in _candidates(step, chain, pairs, steps, longest) if step in steps else ():
            found = _ccc(candidate, pairs)
            if found > reached:
                best, reached = candidate, found
        chain = best
    return chain, reached


def _candidates(step: str, chain: PostProcessing, pairs: Sequence[Pair], steps: Collection[str], longest: float) -> list[PostProcessing]:
    if step == "shift":
        return [chain.model_copy(update={"shift_s": by}) for by in SHIFTS_S if by <= longest]
    truth = np.concatenate([pair.truth for pair in pairs])
    said = np.concatenate([pair.predicted for pair in pairs])
    centred = float(truth.mean() - said.mean())
    if step == "centre":
        return [chain.model_copy(update={"bias": centred})]
    # A prediction that never moves cannot be spread, and one spread to a truth that never moves would be one.
    if said.min() == said.max() or truth.min() == truth.max():
        return []
    # Centring alone may lower the CCC of a prediction so large that the range cuts its top off; with its size put right it does not.
    biases = {chain.bias, centred if "centre" in steps else chain.bias}
    gain = float(truth.std() / said.std())
    return [chain.model_copy(update={"bias": bias, "centre": float(said.mean()) + bias, "gain": gain}) for bias in sorted(biases)]


def _ccc(chain: PostProcessing, pairs: Sequence[Pair]) -> float:
    said = np.concatenate([apply(chain, pair.t_s, pair.predicted) for pair in pairs])
    found = scores.ccc(np.concatenate([pair.truth for pair in pairs]), said)
    return -1.0 if math.isnan(found) else found
