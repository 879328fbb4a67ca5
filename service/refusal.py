"""What a user asked for and cannot be had: the errors whose text is for people.

Owns the one kind that the command line turns into a line and exit code 2 (`commands/telling.py`), and that of a missing drawing library,
which two commands want. Does not own any other text: each is worded where it is found.
"""

from __future__ import annotations


class Refusal(ValueError):
    """It cannot be done. The text says what, which one, what is there and what would do."""


class PlottingMissing(Refusal):
    """matplotlib, which draws plots, is not installed."""


def check_plotting(wanted_by: str) -> None:
    """Import the drawing library for something that a user asked for, such as `--plot`.

    Raises:
        PlottingMissing: it is not there.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PlottingMissing(f"{wanted_by} draws with matplotlib, which is missing ({error}): pip install 'mien[plots]'") from None
