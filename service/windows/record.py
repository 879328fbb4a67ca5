"""What a session keeps of one track: its buffer and what was said of it so far.

Owns admission of a sample, smoothing, and the sums a clip prediction is made of. Comes and goes with its track.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.inputs import Perception
from service.settings import Settings, Taken
from service.windows import value as values
from service.windows.buffer import Arrival, Buffer
from service.windows.value import Value


@dataclass(slots=True)
class Record:
    """`first`, `last`: frames it was seen in; `previous`: last smoothed value; `total`: sum of `windows` values."""

    buffer: Buffer
    first: int
    last: int
    confirmed: bool = False
    previous: Value | None = None
    total: Value | None = None
    windows: int = 0

    def clear(self, buffer: Buffer) -> None:
        """Forget all samples and opinions: the model has changed, and `buffer` is its empty one."""
        self.buffer = buffer
        self.previous = self.total = None
        self.windows = 0

    def admit(self, taken: Taken, settings: Settings, perception: Perception) -> None:
        """Put one sample's per-frame values into the buffer."""
        moving = {name: taken.inputs[name] for name in settings.moving}
        # Copies: a row is a view into its batch, and one cached view would keep the whole batch alive.
        kept = {name: np.array(taken.outputs[name]) for name in settings.kept if name not in moving}
        arrival = Arrival(taken.frame, taken.t_ns, kept, moving, taken.feature)
        if self.buffer.add(arrival, settings.gap_ns, settings.model.itq, perception):
            self.previous = None

    def say(self, value: Value, settings: Settings, ends: bool) -> Value:
        """Count a window's value in, calibrated, and return what is said but for its calibration: the causally smoothed value."""
        if ends:
            counted = values.calibrated(value, settings.manifest)
            self.total = counted if self.total is None else values.added(self.total, counted)
            self.windows += 1
        if settings.manifest.smoothing is not None:
            value = self.previous = values.smoothed(value, self.previous, settings.manifest.smoothing.alpha)
        return value
