"""The pictures of a report, drawn with matplotlib: confusion, traces, folds.

Owns how they look. matplotlib is an extra and imported here alone; figures are made without its global state, so no window or display
is ever touched.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from service.evaluation import chain, scores
from service.evaluation.hearing import Heard, Sampled, sampled
from service.evaluation.judging import LabelScores, spread
from service.evaluation.run import Evaluation
from service.evaluation.scores import NONE
from service.evaluation.shown import worded
from service.refusal import check_plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH, SAID, FINISHED, NOTHING = "#444444", "#c44e52", "#4c72b0", "#dddddd"
MOST_TRACES = 6
_DPI = 110


def draw(done: Evaluation, folder: Path) -> list[tuple[str, str]]:
    """Draw what there is into `folder`; return each picture's file name and its caption.

    Raises:
        PlottingMissing: matplotlib is not there.
        OSError: a file cannot be written.
    """
    check_plotting("--report")
    drawn: list[tuple[str, str, Figure]] = []
    if done.pooled.clip is not None:
        drawn.append(("confusion.png", "Confusion by clip: shares of each true label, with counts", _confusion(done.pooled.clip)))
    for dimension in done.pooled.traces:
        caption, figure = _traces(done, dimension)
        drawn.append((f"{dimension}.png", caption, figure))
    if len(done.folds) > 1:
        drawn.append(("folds.png", "Each fold (dots), their mean, and one standard deviation", _folds(done)))
    for name, _, figure in drawn:
        # Without the library's name and version in it, the same figures give the same bytes.
        figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})
    return [(name, caption) for name, caption, _ in drawn]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _confusion(found: LabelScores) -> Figure:
    used = [k for k in range(len(found.labels)) if found.counts[k].any() or found.counts[:, k].any()]
    columns = [*used, len(found.labels)] if found.counts[:, -1].any() else used
    counts = found.counts[np.ix_(used, columns)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [*found.labels, NONE]
    side = 1.6 + 0.62 * len(columns)
    figure = _figure(side + 1.2, 1.5 + 0.62 * len(used))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), [names[k] for k in columns], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(used)), [f"{names[k]} ({counts[row].sum()})" for row, k in enumerate(used)])
    axes.set_xlabel("said")
    axes.set_ylabel("truth")
    for row in range(len(used)):
        for column in range(len(columns)):
            if counts[row, column]:
                color = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    figure.colorbar(image, ax=axes, label="share of the true label", shrink=0.9)
    return figure


def _traces(done: Evaluation, dimension: str) -> tuple[str, Figure]:
    ranked = []
    for one in done.heard:
        found = sampled(one, dimension)
        if found is not None:
            agreed = scores.ccc(found.pair.truth, found.pair.predicted)
            ranked.append((-2.0 if math.isnan(agreed) else agreed, one, found))
    ranked.sort(key=lambda row: (-row[0], row[1].clip.source.name))
    places = sorted({round(k * (len(ranked) - 1) / max(1, MOST_TRACES - 1)) for k in range(MOST_TRACES)})
    chosen = [ranked[place] for place in places if place < len(ranked)]
    figure = _figure(9, 0.9 + 1.9 * len(chosen))
    for row, (agreed, one, found) in enumerate(chosen):
        _one_trace(done, figure, len(chosen), row, one, found, dimension, agreed)
    which = "all clips" if len(ranked) == len(chosen) else f"{len(chosen)} of {len(ranked)} clips, from the best CCC to the worst"
    return f"{dimension.capitalize()}, truth and prediction: {which}", figure


def _one_trace(done: Evaluation, figure: Figure, rows: int, row: int, one: Heard, found: Sampled, dimension: str, agreed: float) -> None:
    from matplotlib.patches import Patch

    axes = figure.add_subplot(rows, 1, row + 1)
    pair = found.pair
    axes.plot(pair.t_s, pair.truth, color=TRUTH, linewidth=1.6, label="truth")
    axes.plot(pair.t_s, pair.predicted, color=SAID, linewidth=1.2, label="model")
    if dimension in done.chains:
        finished = chain.apply(done.chains[dimension], pair.t_s, pair.predicted)
        axes.plot(pair.t_s, finished, color=FINISHED, linewidth=1.2, linestyle="--", label="post-processed")
    trace = one.trace
    if trace is not None and not trace.held.all():
        # Where the model said nothing of its own, the ground is grey.
        axes.fill_between(trace.t_s, 0, 1, where=~trace.held, transform=axes.get_xaxis_transform(), color=NOTHING, step="mid")
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel(dimension, fontsize=9)
    axes.set_xlim(pair.t_s[0], max(pair.t_s[-1], pair.t_s[0] + 1e-3))
    axes.grid(alpha=0.3)
    said = "not defined" if agreed < -1 else f"{agreed:.2f}"
    axes.set_title(f"{one.clip.source.name}   CCC {said}", fontsize=9, loc="left")
    if row == rows - 1:
        axes.set_xlabel("s")
    if row == 0:
        handles = [*axes.get_lines(), Patch(color=NOTHING, label="interpolated")]
        figure.legend(handles=handles, loc="outside upper right", fontsize=8, ncols=4, frameon=False)


def _folds(done: Evaluation) -> Figure:
    over = {name: one for name, one in spread(list(done.folds.values())).items() if one.folds and "rmse" not in name}
    names = list(over)
    figure = _figure(8, 1.2 + 0.5 * len(names))
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        values = [found.figures().get(name, math.nan) for found in done.folds.values()]
        axes.plot(values, [place] * len(values), "o", color=FINISHED, alpha=0.5, markersize=6)
        std = 0.0 if math.isnan(over[name].std) else over[name].std
        axes.errorbar(over[name].mean, place, xerr=std, fmt="|", color=SAID, markersize=14, capsize=4, linewidth=1.6)
    axes.set_yticks(range(len(names)), [worded(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(min(0.0, *axes.get_xlim()), 1.02)
    axes.grid(alpha=0.3, axis="x")
    return figure
