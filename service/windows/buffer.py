"""A track's samples: the last B that passed the quality gates.

Owns admission to the buffer, the gap rule and each sample's distance to its predecessor, fixed when it arrives. Does
not own which of them make a window (`window.py`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from service.windows.keyframes import START, Itq, hamming


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sampled frame of one track.

    `values`: what a window is made of, by name, no batch axis (outputs of the frame graph, or crops where there is
    none); `change`: Hamming distance of its ITQ code to its predecessor's (`START` without one, 0 without ITQ);
    `move`: Euclidean distance of the features; `feature` (D,): the features themselves, where
    the selector is not ITQ.
    """

    frame: int
    t_ns: int
    values: Arrays
    change: float = 0.0
    move: float = 0.0
    feature: NDArray[np.float64] | None = None


class Buffer:
    """Holds the last `capacity` samples of one track (None: all); a gap of more than `gap_ns` clears it."""

    __slots__ = ("_code", "_feature", "samples")

    def __init__(self, capacity: int | None) -> None:
        self.samples: deque[Sample] = deque(maxlen=capacity)
        self._code = 0
        self._feature: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def add(self, frame: int, t_ns: int, values: Arrays, gap_ns: int, itq: Itq | None, feature: NDArray[np.generic] | None) -> bool:
        """Append a sample; return whether the gap before it cleared the buffer."""
        # A buffer of a whole clip (no capacity) keeps all: its one window is chosen over the whole track.
        cleared = self.samples.maxlen is not None and bool(self.samples) and t_ns - self.samples[-1].t_ns > gap_ns
        if cleared:
            self.samples.clear()
        vector = None if feature is None else np.array(feature, np.float64)
        if itq is None or vector is None:
            self.samples.append(Sample(frame, t_ns, values, feature=vector))
            return cleared
        code, change, move = itq.code(vector), START, START
        if self.samples and self._feature is not None:
            change = float(hamming(self._code, code))
            move = float(np.linalg.norm(vector - self._feature))
        self._code, self._feature = code, vector
        self.samples.append(Sample(frame, t_ns, values, change, move))
        return cleared
