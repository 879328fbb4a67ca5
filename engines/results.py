"""What one result of an expression model is, and what it costs, with graphs that can be run.

Owns the order of its graphs over a window, as the service runs them: every frame through the frame graph, then the window graph; or the
whole. Does not own who runs graphs (any callable: an engine's `run`, an ONNX Runtime session) or which windows (`samples.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from engines.manifest import Expression
from engines.samples import Rows
from engines.terms import Part

Run = Callable[[Arrays], Arrays]
Runs = Mapping[Part, Run]


def results(runs: Runs, manifest: Expression, windows: Rows) -> dict[str, NDArray[np.generic]]:
    """Run every window, one at a time: what the service's graphs say of it, by output name. A model of frames alone: of its last frame."""
    said = [_result(runs, manifest, {name: values[k : k + 1] for name, values in windows.items()}) for k in range(_count(windows))]
    return {name: np.concatenate([one[name] for one in said]) for name in said[0]}


def between(runs: Runs, manifest: Expression, windows: Rows) -> dict[str, NDArray[np.generic]]:
    """Return what a window graph is given: the frame graph's outputs for each window, (windows, T, …)."""
    wanted = [tensor.name for tensor in manifest.graphs["window"].inputs]
    made = [_frames(runs, {name: values[k : k + 1] for name, values in windows.items()}) for k in range(_count(windows))]
    return {name: np.concatenate([one[name] for one in made]) for name in wanted}


def one_result(runs: Runs, manifest: Expression, windows: Rows, given: Rows) -> Callable[[], None]:
    """Return what makes one result of each of some windows again and again, all at once, as sessions that go on do.

    That is `hop` new samples through the frame graph, then the window graph on `given` (`between` makes it); or the whole graph.
    """
    if "full" in runs:
        return lambda: _nothing([runs["full"](windows)])
    frame = {name: np.ascontiguousarray(values[:, -1]) for name, values in windows.items()}

    def do() -> None:
        _nothing([runs["frame"](frame) for _ in range(manifest.window.hop)])
        if "window" in runs:
            _nothing([runs["window"](given)])

    return do


def _nothing(_: Sequence[Arrays]) -> None:
    """Take results, as a reader would."""


def _result(runs: Runs, manifest: Expression, window: Rows) -> Arrays:
    if "full" in runs:
        return runs["full"](window)
    if "window" in runs:
        return runs["window"](_frames(runs, window, [tensor.name for tensor in manifest.graphs["window"].inputs]))
    return runs["frame"]({name: np.ascontiguousarray(values[:, -1]) for name, values in window.items()})


def _frames(runs: Runs, window: Rows, wanted: Sequence[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """Run one window's frames; outputs (1, T, …)."""
    made = runs["frame"]({name: np.ascontiguousarray(values[0]) for name, values in window.items()})
    return {name: np.asarray(values)[None] for name, values in made.items() if wanted is None or name in wanted}


def _count(windows: Rows) -> int:
    return len(next(iter(windows.values())))
