"""Scores of a set of clips: labels and traces, by clip and by frame; and the folds that the clips fall into.

Owns what is compared with what, and the division into folds by subject. The formulas are `scores.py`'s. No prediction counts as a wrong
label; of a trace there is nothing to compare then, and the clip is counted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.finishing import PostProcessing
from service.evaluation import chain, scores
from service.evaluation.dataset import DIMENSIONS, DatasetError, Labelled
from service.evaluation.hearing import Heard, sampled, within
from service.evaluation.scores import NONE, Counts

MANY_FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class LabelScores:
    """`counts` (K, K + 1): a row per true label of `labels`, a column per predicted one, none last; by clip or by frame."""

    labels: tuple[str, ...]
    counts: Counts

    def figures(self) -> dict[str, float]:
        """Return accuracy, macro F1 and macro recall; NaN where one is not defined."""
        return {
            "accuracy": scores.accuracy(self.counts),
            "macro_f1": scores.macro_f1(self.counts),
            "macro_recall": scores.macro_recall(self.counts),
        }


@dataclass(frozen=True, slots=True)
class TraceScores:
    """One dimension. `n` values of `clips` clips were compared, `interpolated` of them at frames without a value of their own; `missing`:
    clips without a value; `outside`: truths after their clip's end."""

    n: int
    clips: int
    missing: int
    interpolated: int
    outside: int
    rmse: float
    cc: float
    ccc: float

    def figures(self) -> dict[str, float]:
        """Return RMSE, CC and CCC; NaN where one is not defined."""
        return {"rmse": self.rmse, "cc": self.cc, "ccc": self.ccc}


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """All scores of a set of clips; None or empty: there is nothing to compare. `clip` and `frame`: labels; per dimension `traces` at the
    annotator's times as the model says them, `finished` after post-processing, `means`: a clip's prediction with its mean truth."""

    clips: int
    clip: LabelScores | None
    frame: LabelScores | None
    traces: Mapping[str, TraceScores]
    finished: Mapping[str, TraceScores]
    means: Mapping[str, TraceScores]

    def figures(self) -> dict[str, float]:
        """Return every figure under one name, as `frame accuracy` or `valence ccc post-processed`."""
        found: dict[str, float] = {}
        for level, of_labels in (("clip", self.clip), ("frame", self.frame)):
            found |= {} if of_labels is None else {f"{level} {name}": value for name, value in of_labels.figures().items()}
        for kind, per_dimension in (("", self.traces), (" post-processed", self.finished), (" of clips", self.means)):
            for dimension, of_trace in per_dimension.items():
                found |= {f"{dimension} {name}{kind}": value for name, value in of_trace.figures().items()}
        return found


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over folds: mean and standard deviation (n − 1) of those in which it is defined, and how many these are."""

    mean: float
    std: float
    folds: int


def speaks_by_frame(heard: Sequence[Heard]) -> bool:
    """Tell whether any clip has labels by frame: models of clip scope, and pictures, have none."""
    return any(one.trace is not None and one.trace.labels for one in heard)


def judge(heard: Sequence[Heard], labels: tuple[str, ...], chains: Mapping[str, PostProcessing], by_frame: bool | None = None) -> Scores:
    """Score clips against their truth; `labels`: the model's; `chains`: post-processing per dimension; `by_frame`: whether labels are
    scored by frame too, by default if some clip has them (of a fold it is not the fold's clips that decide)."""
    by_frame = speaks_by_frame(heard) if by_frame is None else by_frame
    traces = {dimension: _traces(heard, dimension, None) for dimension in DIMENSIONS}
    finished = {dimension: _traces(heard, dimension, fitted) for dimension, fitted in chains.items()}
    means = {dimension: _means(heard, dimension) for dimension in DIMENSIONS}
    return Scores(
        len(heard), _by_clip(heard, labels), _by_frame(heard, labels) if by_frame else None,
        {d: found for d, found in traces.items() if found is not None},
        {d: found for d, found in finished.items() if found is not None},
        {d: found for d, found in means.items() if found is not None},
    )  # fmt: skip


def folds(clips: Sequence[Labelled], wanted: int | None) -> dict[str, list[Labelled]]:
    """Divide clips so that no subject is in two folds: by the CSV's `fold`, else a fold per subject, at most `wanted` (or 10): larger
    subjects first, each to the fold with the fewest clips. Empty: there is one subject or fold, or the CSV names neither.

    Raises:
        DatasetError: a subject is in two of the CSV's folds, or `wanted` cannot be had.
    """
    found: defaultdict[str, list[Labelled]] = defaultdict(list)
    if any(clip.fold for clip in clips):
        if wanted is not None:
            raise DatasetError("--folds divides subjects, and the CSV has a column fold, which divides them already; give one of the two")
        of_subject: dict[str, str] = {}
        for clip in clips:
            if clip.subject and of_subject.setdefault(clip.subject, clip.fold) != clip.fold:
                raise DatasetError(f"subject {clip.subject!r} is in folds {of_subject[clip.subject]!r} and {clip.fold!r}; it may be in one")
            found[clip.fold].append(clip)
        return dict(sorted(found.items())) if len(found) > 1 else {}
    sizes = Counter(clip.subject for clip in clips if clip.subject)
    if wanted is not None and not 2 <= wanted <= len(sizes):
        there = f"there are {len(sizes)} subjects outside the development part" if sizes else "the CSV has no column subject"
        raise DatasetError(f"--folds {wanted}: {there}; folds divide subjects, so it must be from 2 to their number")
    if len(sizes) < 2:
        return {}
    count = wanted or min(len(sizes), MANY_FOLDS)
    if count == len(sizes):
        place = {subject: subject for subject in sizes}
    else:
        filled, place = [0] * count, {}
        for subject in sorted(sizes, key=lambda name: (-sizes[name], name)):
            least = filled.index(min(filled))
            filled[least] += sizes[subject]
            place[subject] = f"{least + 1:0{len(str(count))}d}"
    for clip in clips:
        found[place[clip.subject]].append(clip)
    return dict(sorted(found.items()))


def spread(of_folds: Sequence[Scores]) -> dict[str, Spread]:
    """Return each figure's mean and deviation over folds."""
    figures = [one.figures() for one in of_folds]
    found = {}
    for name in dict.fromkeys(name for one in figures for name in one):
        values = np.array([one[name] for one in figures if not math.isnan(one.get(name, math.nan))])
        mean = float(values.mean()) if len(values) else math.nan
        found[name] = Spread(mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan, len(values))
    return found


def _by_clip(heard: Sequence[Heard], labels: tuple[str, ...]) -> LabelScores | None:
    pairs = [(one.clip.label, one.label or NONE) for one in heard if one.clip.label is not None]
    return LabelScores(labels, scores.confusion([true for true, _ in pairs], [said for _, said in pairs], labels)) if pairs else None


def _by_frame(heard: Sequence[Heard], labels: tuple[str, ...]) -> LabelScores | None:
    """Compare every used frame with its clip's label. A clip too short for a window says nothing by frame; one in which no face was
    found is wrong in all of its frames."""
    rows = [one for one in heard if one.clip.label is not None and (one.trace is not None or one.label is None)]
    if not rows:
        return None
    truth = [one.clip.label or "" for one in rows for _ in range(one.frames)]
    said = [label for one in rows for label in (one.trace.labels if one.trace is not None else [NONE] * one.frames)]
    return LabelScores(labels, scores.confusion(truth, said, labels))


def _traces(heard: Sequence[Heard], dimension: str, fitted: PostProcessing | None) -> TraceScores | None:
    there = [one for one in heard if one.clip.annotation is not None and dimension in one.clip.annotation.values]
    found = [one for one in (sampled(one, dimension) for one in there) if one is not None]
    if not found:
        return None
    truth = np.concatenate([one.pair.truth for one in found])
    said = np.concatenate(
        [one.pair.predicted if fitted is None else chain.apply(fitted, one.pair.t_s, one.pair.predicted) for one in found]
    )
    lost = sum(one.interpolated for one in found), sum(one.outside for one in found)
    return TraceScores(len(truth), len(found), len(there) - len(found), *lost, *_three(truth, said))


def _means(heard: Sequence[Heard], dimension: str) -> TraceScores | None:
    there = [one for one in heard if one.clip.annotation is not None and dimension in one.clip.annotation.values]
    pairs = [
        (one.clip.annotation.values[dimension][inside], one.values[dimension], int((~inside).sum()))
        for one, inside in ((one, within(one)) for one in there)
        if one.clip.annotation is not None and dimension in one.values and inside.any()
    ]
    if not pairs:
        return None
    truth, said = np.array([values.mean() for values, _, _ in pairs]), np.array([value for _, value, _ in pairs])
    outside = sum(left_out for _, _, left_out in pairs)
    return TraceScores(len(pairs), len(pairs), len(there) - len(pairs), 0, outside, *_three(truth, said))


def _three(truth: chain.Values, said: chain.Values) -> tuple[float, float, float]:
    return scores.rmse(truth, said), scores.cc(truth, said), scores.ccc(truth, said)
