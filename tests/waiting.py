"""Waiting for what must come: one patience for the whole suite, and what did not come is named.

A test that waits for another thread or process does it here. Owns no time limit of a test (pyproject.toml has it).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE_S = 120.0
"""Far longer than anything takes on a busy machine, and shorter than the time limit of a test, which names nothing."""


def until(true: Callable[[], Found], what: str, limit_s: float = PATIENCE_S, every_s: float = 0.005) -> Found:
    """Call `true` until what it returns is true, and return that.

    Raises:
        AssertionError: it was not within `limit_s`; with `what` was awaited.
    """
    end = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        time.sleep(every_s)
    return found
