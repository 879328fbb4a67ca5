"""T samples out of a buffer.

Owns how a manifest's window and keyframe settings pick them, rolling or over a whole clip. Does not run anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Expression
from service.events import WindowOf
from service.windows import keyframes
from service.windows.buffer import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The T samples given to a network, in time order, and what the event says of them."""

    samples: tuple[Sample, ...]
    of: WindowOf

    def stacked(self, name: str) -> NDArray[np.generic]:
        """Return the samples' values of one name, stacked to (T, ...)."""
        return np.stack([sample.values[name] for sample in self.samples])


def choose(samples: Sequence[Sample], manifest: Expression, fitted: bool) -> Window:
    """Choose a full window of T from at least T samples. `fitted`: the model's ITQ file is there; without one, a model
    that asks for `itq` gets `uniform`, and its `Model.notes` say so."""
    n, selector = manifest.window.frames, manifest.keyframes.selector
    if selector == "itq" and not fitted and manifest.keyframes.fit is None:
        selector = "uniform"
    if selector == "uniform":
        indices = keyframes.uniform(len(samples), n)
    elif selector == "stride":
        indices = keyframes.stride(len(samples), n)
    elif selector == "random":
        indices = keyframes.random(len(samples), n, manifest.keyframes.seed or 0)
    elif manifest.keyframes.of_whole_clips:
        features = np.stack([sample.feature for sample in samples if sample.feature is not None])
        by_features = keyframes.kmeans if selector == "kmeans" else keyframes.itq_of_itself
        indices = by_features(features, n, manifest.keyframes.seed or 0)
    elif selector == "itq":
        indices = keyframes.by_change([s.change for s in samples], [s.move for s in samples], n)
    else:
        indices = list(range(len(samples) - n, len(samples)))
    chosen = tuple(samples[i] for i in indices)
    candidates = samples if selector != "none" else chosen
    return _window(chosen, candidates, selector != "none", 1.0)


def of_clip(samples: Sequence[Sample], manifest: Expression, fitted: bool) -> Window:
    """Choose a window over all of a track's samples (at least one); fewer than T: the last is repeated, `filled` < 1.

    A model without selector gets `uniform` here: the last T frames of a clip would not be the clip.
    """
    n = manifest.window.frames
    if len(samples) < n:
        return _window((*samples, *([samples[-1]] * (n - len(samples)))), samples, False, len(samples) / n)
    if manifest.keyframes.selector == "none" and len(samples) > n:
        chosen = tuple(samples[i] for i in keyframes.uniform(len(samples), n))
        return _window(chosen, samples, True, 1.0)
    return choose(samples, manifest, fitted)


def _window(chosen: tuple[Sample, ...], candidates: Sequence[Sample], selected: bool, filled: float) -> Window:
    frames = tuple(sample.frame for sample in chosen)
    span_ms = (chosen[-1].t_ns - chosen[0].t_ns) / 1e6
    return Window(chosen, WindowOf(frames, selected, (candidates[0].frame, candidates[-1].frame), span_ms, filled))
