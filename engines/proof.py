"""What a manifest says was measured of its graphs: cost, and how far they are from the network they were made of.

Owns those keys. Does not own the measurements (the exporters').
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from engines.terms import Count, Part, Positive, Sha256, Strict, Unit


class Cost(Strict):
    """Multiply-accumulates, in units of 10⁹, per sampled frame and per window."""

    gmac_per_frame: float = Field(ge=0)
    gmac_per_window: float = Field(ge=0, default=0.0)


class Parity(Strict):
    """One compared tensor: largest absolute error against the reference, beside how far the reference itself moves."""

    tensor: str
    reference: str
    batch: tuple[Count, ...]
    max_abs_error: float = Field(ge=0)
    spread: float = Field(ge=0)
    tolerance: Positive


class Reduced(Strict):
    """What another precision than fp32 costs, measured against the fp32 graphs of the same weights.

    `of`: sha256 of the fp32 folder's manifest. `kept`: graphs that stayed fp32. `windows`: how many results were compared, of `samples`
    (sha256 of the file; None: of drawn clips). `agreement`: share of them with the same label, or with valence and arousal within 0.05.
    `max_abs_error` by output. `size`, `fp32_size`: bytes of the graphs. `target`: the runtime it is for; `runtime`: what ran there,
    None if it could not be had, and `speed` the fp32 graphs' time over its own per result, one thread.
    """

    of: Sha256
    kept: tuple[Part, ...] = ()
    windows: Count
    samples: Sha256 | None = None
    agreement: Unit
    max_abs_error: Mapping[str, Annotated[float, Field(ge=0)]]
    size: Count
    fp32_size: Count
    target: str
    runtime: str | None = None
    speed: Positive | None = None
