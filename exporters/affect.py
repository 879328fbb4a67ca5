"""One point of valence and arousal per expression label, from a published table.

Owns the table and where each number comes from. Does not own its use: the service takes the probability-weighted mean of the
points and marks it derived. It is not a measurement of valence or arousal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.finishing import DerivedAffect

SOURCE = (
    "pleasure and arousal means of Russell & Mehrabian 1977, Evidence for a three-factor theory of emotions, J. Research in "
    "Personality 11, 273-294 (terms happy, sad, angry, fearful, disgusted, surprised); neutral = (0, 0) by definition; "
    "contempt, where present = midpoint of angry and disgusted, our choice, not in the table"
)
_TABLE: Mapping[str, tuple[float, float]] = {
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "angry": (-0.51, 0.59),
    "fearful": (-0.64, 0.60),
    "disgusted": (-0.60, 0.35),
    "surprised": (0.40, 0.67),
}
"""Source: Russell & Mehrabian 1977, items 31, 151, 82, 101, 75, 52; (pleasure, arousal), each in [−1, 1]."""


def derived(labels: Sequence[str]) -> DerivedAffect:
    """Give the points of `labels`.

    Raises:
        ValueError: a label has no point; it is named.
    """
    angry, disgusted = _TABLE["angry"], _TABLE["disgusted"]
    midpoint = (round((angry[0] + disgusted[0]) / 2, 3), round((angry[1] + disgusted[1]) / 2, 3))
    points = {**_TABLE, "neutral": (0.0, 0.0), "contempt": midpoint}
    unknown = [label for label in labels if label not in points]
    if unknown:
        raise ValueError(f"no valence-arousal point for {', '.join(unknown)}; there are points for {', '.join(sorted(points))}")
    return DerivedAffect(points={label: points[label] for label in labels}, source=SOURCE)
