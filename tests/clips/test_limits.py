"""Limits, from the header and as counted."""

from __future__ import annotations

import pytest

from service.clips.limits import ClipRefused, Counted, Limits

SECOND_NS = 10**9


@pytest.mark.parametrize("size", [(4096, 2304), (2304, 4096), (1, 1)])
def test_clips_may_lie_or_stand(size: tuple[int, int]) -> None:
    Limits().check_header(*size, 18_000, 600 * SECOND_NS)


@pytest.mark.parametrize(
    ("header", "limit", "actual"),
    [
        ((4098, 100, None, None), 4096, 4098),
        ((2306, 2306, None, None), 2304, 2306),
        ((64, 48, 18_001, None), 18_000, 18_001),
        ((64, 48, None, 700 * SECOND_NS), 600, 700),
        ((64, 48, 2000, 10 * SECOND_NS), 120, 200),
        ((64, 48, 10, 100 * SECOND_NS), 1, 0),
    ],
)
def test_what_a_header_announces_is_checked(header: tuple[int, int, int | None, int | None], limit: int, actual: int) -> None:
    with pytest.raises(ClipRefused) as refused:
        Limits().check_header(*header)
    assert (refused.value.code, refused.value.limit, refused.value.actual) == ("clip-limits-exceeded", limit, actual)


def _count(stamps: list[int], limits: Limits) -> Counted:
    counted = Counted(limits)
    for t_ns in stamps:
        counted.add(64, 48, t_ns)
    counted.end()
    return counted


def test_rounded_stamps_of_the_highest_rate_pass() -> None:
    assert _count([round(number * 1000 / 120) * 10**6 for number in range(1000)], Limits()).frames == 1000


@pytest.mark.parametrize(
    ("stamps", "limits"),
    [
        ([number * 33_000_000 for number in range(31)], Limits(max_frames=30)),
        ([0, 601 * SECOND_NS], Limits()),
        ([-301 * SECOND_NS, 300 * SECOND_NS], Limits()),
        (list(range(1000)), Limits()),
        ([0] * 20, Limits()),
        ([number * 2 * SECOND_NS for number in range(20)], Limits()),
    ],
)
def test_what_was_not_announced_is_counted(stamps: list[int], limits: Limits) -> None:
    with pytest.raises(ClipRefused, match="allowed are"):
        _count(stamps, limits)
