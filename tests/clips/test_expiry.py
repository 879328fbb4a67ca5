"""A result is kept its hours and no longer, by clocks that the test sets: nothing here waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.clips.limits import ClipRefused
from service.clips.queue import Clips
from tests.clips.at_rest import ENDED_S, Time, ended, opened

DAY_S = 86_400.0


def there(clips: Clips, *ids: str) -> list[str]:
    """Which of these are still known, after what is due has been erased."""
    clips.expire()
    return [id for id in ids if known(clips, id)]


def known(clips: Clips, id: str) -> bool:
    try:
        return clips.find(id).id == id
    except ClipRefused:
        return False


@pytest.mark.parametrize(("ttl_h", "ttl_s"), [(24.0, 86_400.0), (0.5, 1_800.0), (1.5 / 3600, 1.5)])
def test_it_is_there_until_just_before_its_time_and_gone_just_after(tmp_path: Path, ttl_h: float, ttl_s: float) -> None:
    ended(tmp_path, "one")
    time = Time()
    with opened(tmp_path, time, ttl_h=ttl_h) as clips:
        assert clips.expires_s(clips.find("one")) == pytest.approx(ENDED_S + ttl_s, abs=1e-3)
        time.goes_on(ttl_s - 0.01)
        assert there(clips, "one") == ["one"]
        assert clips.files.result("one", "json").read_text() == "{}"
        time.goes_on(0.02)
        assert there(clips, "one") == []
        assert list((tmp_path / "results").iterdir()) == []


def test_each_has_its_own_time_and_what_has_not_ended_has_none(tmp_path: Path) -> None:
    ended(tmp_path, "early", at_s=ENDED_S - 3600)
    ended(tmp_path, "failed", "failed", at_s=ENDED_S)
    ended(tmp_path, "late", at_s=ENDED_S + 7200)
    ended(tmp_path, "waiting", "queued", at_s=ENDED_S - 100 * DAY_S)
    time = Time(wall_s=ENDED_S + 7200)
    with opened(tmp_path, time) as clips:
        every = ("early", "failed", "late", "waiting")
        assert clips.expires_s(clips.find("waiting")) is None
        assert there(clips, *every) == list(every)
        for hours, left in ((20.5, every), (1.0, every[1:]), (1.0, every[2:]), (1.0, every[2:]), (1.0, every[3:]), (9999.0, every[3:])):
            time.goes_on(3600 * hours)
            assert there(clips, *every) == list(left), hours


@pytest.mark.parametrize("jump_s", [3 * DAY_S, -3 * DAY_S])
def test_a_wall_clock_that_is_set_changes_nothing(tmp_path: Path, jump_s: float) -> None:
    ended(tmp_path, "one")
    time = Time()
    with opened(tmp_path, time) as clips:
        assert there(clips, "one") == ["one"]
        time.wall_s += jump_s
        time.goes_on(DAY_S - 1)
        assert there(clips, "one") == ["one"]
        time.goes_on(2)
        assert there(clips, "one") == []


def test_a_restart_keeps_the_end_and_a_clock_that_lies_grants_no_more_than_the_whole(tmp_path: Path) -> None:
    ended(tmp_path, "one")
    with opened(tmp_path, Time(ENDED_S + DAY_S / 2)) as clips:
        assert there(clips, "one") == ["one"]
    late, without_clock = Time(ENDED_S + DAY_S / 2, 5.0), Time(0.0, 5.0)
    for time, left_s in ((late, DAY_S / 2), (without_clock, DAY_S)):
        with opened(tmp_path, time) as clips:
            assert there(clips, "one") == ["one"]
            assert clips.files.result("one", "json").read_text() == "{}"
            time.goes_on(left_s - 1)
            assert there(clips, "one") == ["one"]
    with opened(tmp_path, without_clock) as clips:
        time = without_clock
        assert there(clips, "one") == ["one"]
        time.goes_on(DAY_S + 1)
        assert there(clips, "one") == []


def test_several_whose_time_is_over_go_at_once(tmp_path: Path) -> None:
    for id in ("a", "b", "c"):
        ended(tmp_path, id)
    with opened(tmp_path, Time(ENDED_S + DAY_S + 1)) as clips:
        assert there(clips, "a", "b", "c") == []
