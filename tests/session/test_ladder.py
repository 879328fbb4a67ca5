"""When the live loop is behind, and when it may do more again."""

from __future__ import annotations

import itertools

from service.ladder import LEVELS, Ladder

BUDGET = 33_000_000


def _run(ladder: Ladder, round_ns: int, rounds: int) -> list[int]:
    return [ladder.level for _ in range(rounds) if ladder.observe(round_ns, BUDGET) or True]


def test_twenty_slow_rounds_are_one_step_and_nineteen_none() -> None:
    ladder = Ladder()
    assert _run(ladder, BUDGET + 1, 19)[-1] == 0
    assert _run(ladder, BUDGET + 1, 1) == [1]


def test_it_climbs_one_level_at_a_time_and_ends_at_refusing() -> None:
    ladder = Ladder()
    levels = _run(ladder, 2 * BUDGET, 200)
    assert sorted(set(levels)) == list(range(LEVELS + 1))
    assert all(b - a in (0, 1) for a, b in itertools.pairwise(levels))
    assert ladder.full
    assert ladder.factor == 4


def test_single_slow_rounds_do_not_count() -> None:
    ladder = Ladder()
    for i in range(400):
        ladder.observe(5 * BUDGET if i % 3 == 0 else BUDGET // 2, BUDGET)
    assert ladder.level == 0


def test_a_hundred_calm_rounds_are_one_step_back() -> None:
    ladder = Ladder()
    _run(ladder, 2 * BUDGET, 40)
    assert ladder.level == 2
    assert _run(ladder, BUDGET // 2, 99)[-1] == 2
    assert _run(ladder, BUDGET // 2, 1) == [1]
    assert _run(ladder, round(0.8 * BUDGET), 300)[-1] == 1, "between 70 % and 100 % of the budget it stays"


def test_a_round_as_long_as_the_budget_is_not_behind() -> None:
    ladder = Ladder()
    assert _run(ladder, BUDGET, 100)[-1] == 0
    # The median counts: of twenty rounds nine that are too long do not move it, eleven do.
    for slow, level in ((9, 0), (11, 1)):
        ladder = Ladder()
        _run(ladder, BUDGET, 20 - slow)
        assert _run(ladder, BUDGET + 2, slow)[-1] == level


def test_only_the_last_step_is_full() -> None:
    ladder, told = Ladder(), {}
    for _ in range(20 * LEVELS):
        ladder.observe(2 * BUDGET, BUDGET)
        told[ladder.level] = (ladder.factor, ladder.full)
    assert told == {0: (1, False), 1: (1, False), 2: (2, False), 3: (4, False), 4: (4, True)}


def test_calm_rounds_are_a_hundred_in_a_row_for_each_step() -> None:
    ladder, calm = Ladder(), round(0.69 * BUDGET)
    _run(ladder, 2 * BUDGET, 60)
    assert ladder.level == 3
    _run(ladder, calm, 99)
    _run(ladder, round(0.7 * BUDGET), 1)  # not under 70 %
    assert _run(ladder, calm, 99)[-1] == 3
    assert _run(ladder, calm, 1) == [2]
    assert _run(ladder, calm, 99)[-1] == 2
    assert _run(ladder, calm, 1) == [1]


def test_a_step_is_judged_on_twenty_rounds_of_its_own() -> None:
    ladder = Ladder()
    assert _run(ladder, 2 * BUDGET, 20)[-1] == 1
    assert ladder.median_ns == 0
    assert _run(ladder, 2 * BUDGET, 19)[-1] == 1
    assert ladder.median_ns == 2 * BUDGET
    assert _run(ladder, 2 * BUDGET, 1) == [2]
