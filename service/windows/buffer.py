"""A track's samples: the last B that passed the quality gates.

Owns admission to the buffer, the gap rule, and what a sample owes to its predecessor and is fixed when it arrives: its distance and
its optical flow. Does not own which of them make a window (`window.py`) or how flow is computed (`perception/flow.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from service.inputs import Perception
from service.windows.keyframes import START, Itq, hamming


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sampled frame of one track.

    `values`: what a window is made of, by name, no batch axis (outputs of the frame graph, or crops and their flow where there is
    none); empty where no window can take the sample any more; `change`: Hamming distance of its ITQ code to its predecessor's
    (`START` without one, 0 without ITQ); `move`: Euclidean distance of the features; `feature` (D,): the features themselves, where
    the selector is not ITQ.
    """

    frame: int
    t_ns: int
    values: Arrays
    change: float = 0.0
    move: float = 0.0
    feature: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A sample on its way in. `moving`: crops (3, H, W) by the name under which their flow from the sample before is wanted;
    `feature` (D,): what keyframes are chosen by."""

    frame: int
    t_ns: int
    values: Arrays
    moving: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    feature: NDArray[np.generic] | None = None


class Buffer:
    """Holds the last `capacity` samples of one track (None: all); a gap of more than `gap_ns` clears it.

    `frames`: T of the model. A buffer of a whole clip holds every sample, but where the selector is ITQ only the T that it would
    choose keep their values: a sample's distance never changes, so one that T others beat is out for good.
    """

    __slots__ = ("_best", "_code", "_feature", "_frames", "_pixels", "samples")

    def __init__(self, capacity: int | None, frames: int = 1) -> None:
        self.samples: deque[Sample] = deque(maxlen=capacity)
        self._frames = frames
        self._code = 0
        self._feature: NDArray[np.float64] | None = None
        self._pixels: Mapping[str, NDArray[np.generic]] = {}
        self._best: list[int] = []

    def __len__(self) -> int:
        return len(self.samples)

    def add(self, arrival: Arrival, gap_ns: int, itq: Itq | None, perception: Perception) -> bool:
        """Append a sample; return whether the gap before it cleared the buffer."""
        # A buffer of a whole clip (no capacity) keeps all: its one window is chosen over the whole track.
        cleared = self.samples.maxlen is not None and bool(self.samples) and arrival.t_ns - self.samples[-1].t_ns > gap_ns
        if cleared:
            self.samples.clear()
        values = {**arrival.values, **self._moved(arrival.moving, perception)}
        vector = None if arrival.feature is None else np.array(arrival.feature, np.float64).ravel()
        if itq is None or vector is None:
            self.samples.append(Sample(arrival.frame, arrival.t_ns, values, feature=vector))
            return cleared
        code, change, move = itq.code(vector), START, START
        if self.samples and self._feature is not None:
            change = float(hamming(self._code, code))
            move = float(np.linalg.norm(vector - self._feature))
        self._code, self._feature = code, vector
        self.samples.append(Sample(arrival.frame, arrival.t_ns, values, change, move))
        if self.samples.maxlen is None:
            self._drop_the_beaten()
        return cleared

    def _moved(self, crops: Mapping[str, NDArray[np.generic]], perception: Perception) -> Arrays:
        """Return the flow of `crops` from the sample before; the first sample has its successor's, and none until that comes."""
        if not crops:
            return {}
        before, self._pixels = self._pixels, {name: np.array(crop) for name, crop in crops.items()}
        if not self.samples:
            return {name: np.zeros((2, *crop.shape[1:]), np.float32) for name, crop in crops.items()}
        flows: Arrays = {name: perception.flow(before[name], crop) for name, crop in crops.items()}
        if len(self.samples) == 1:
            first = self.samples[0]
            self.samples[0] = replace(first, values={**first.values, **flows})
        return flows

    def _drop_the_beaten(self) -> None:
        self._best.append(len(self.samples) - 1)
        if len(self._best) > self._frames:
            # The order of `keyframes.by_change`.
            worst = max(self._best, key=lambda i: (-self.samples[i].change, -self.samples[i].move, i))
            self._best.remove(worst)
            self.samples[worst] = replace(self.samples[worst], values={})
