"""A picture of `mien bench`: milliseconds per result, medians with quartiles, a bar per way.

Owns what is drawn. Does not own the drawing (matplotlib, extra `plots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.bench.variants import Measured
from service.refusal import Refusal, check_plotting


class NoPlots(Refusal):
    """Nothing could be drawn, or not in that format."""


def check(path: Path) -> None:
    """Refuse a picture that could not be written, before minutes are spent on what it shows.

    Raises:
        PlottingMissing: matplotlib is not there.
        NoPlots: it writes no such format, or there is no such folder.
    """
    check_plotting("--plot")
    from matplotlib.backend_bases import FigureCanvasBase

    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in formats:
        raise NoPlots(f"--plot {path}: no format {path.suffix!r}; there are: {', '.join(formats)}")
    if not path.absolute().parent.is_dir():
        raise NoPlots(f"--plot {path}: there is no folder {path.parent}")


def draw(measured: Sequence[Measured], path: Path, title: str) -> None:
    """Write a picture in the format of the path's suffix (png, svg, pdf); ways that did not run are left out.

    Raises:
        PlottingMissing: matplotlib is not there.
        NoPlots: nothing ran, or it writes no such format.
        OSError: the file cannot be written.
    """
    check_plotting("--plot")
    from matplotlib.figure import Figure

    shown = [one for one in measured if one.why is None]
    if not shown:
        raise NoPlots("nothing ran, so there is nothing to draw")
    figure = Figure(figsize=(9, 1.2 + 0.34 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(one.model for one in shown))
    medians = [one.median_ms for one in shown]
    spread = [[m - one.quartiles_ms[0] for m, one in zip(medians, shown, strict=True)],
              [one.quartiles_ms[1] - m for m, one in zip(medians, shown, strict=True)]]  # fmt: skip
    colours = [f"C{models.index(one.model) % 10}" for one in shown]
    axes.barh(range(len(shown)), medians, xerr=spread, color=colours, height=0.7, error_kw={"lw": 1, "capsize": 2})
    axes.set_yticks(range(len(shown)), [_name(one) for one in shown], fontsize=8)
    axes.invert_yaxis()
    widest = max(medians)
    if widest / min(medians) > 50:
        axes.set_xscale("log")
    for row, (one, value) in enumerate(zip(shown, medians, strict=True)):
        ratio = "" if one.ratio is None or one.ratio == 1 else f", {one.ratio:.2f}×"
        axes.annotate(
            f"{value:.3g} ms{ratio}{_lost(one)}", (value + spread[1][row], row), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    # Room for the longest words at the end of a bar.
    axes.margins(x=0.18 if all(one.difference is None for one in shown) else 0.45)
    axes.set_xlabel("ms per result (median, quartiles)")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise NoPlots(f"{path}: {error}") from None


def _lost(one: Measured) -> str:
    """Say what the way loses, beside its speed."""
    if one.difference is None:
        return ""
    agree = one.difference.agreement
    return f", differs by {one.difference.largest:.1e}" if agree is None else f", {agree:.1%} of labels"


def _name(one: Measured) -> str:
    return f"{one.model} {one.precision}, {one.runtime}, threads {one.threads}, batch {one.batch}"
