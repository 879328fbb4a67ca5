"""What a manifest says was measured of its graphs: cost, and how far they are from the network they were made of.

Owns those keys. Does not own the measurements (the exporters').
"""

from __future__ import annotations

from pydantic import Field

from engines.terms import Count, Positive, Strict


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
