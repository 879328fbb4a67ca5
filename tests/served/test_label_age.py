"""Ten times too fast: nothing is lost unaccounted for, and labels stay young."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.age import LIMITS, account, measure, report

LOADED = 5.0
"""Tests run on busy machines: the bound is given five times the time it has on an idle one."""


@pytest.mark.usefixtures("media")
@pytest.mark.parametrize("limit", LIMITS)
def test_at_ten_times_real_time_the_newest_wins_and_every_frame_is_accounted_for(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = measure(LIMITS[limit])
    with capsys.disabled():
        print("\n" + report(limit, run))
    received, accounted = account(run.closed)
    assert received == accounted == 360
    assert len(run.ages) == run.closed["used"]
    assert np.mean(run.ages <= LOADED * run.bounds) >= 0.99
