"""The folder of plans: what was kept is found again, byte by byte, and whatever was done to it meanwhile it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.engine import EngineError
from engines.plans.cache import NONE_YET, PlanCache, default_directory
from tests.plans.plans_of_tests import IDENTITY, OTHER, other

PLAN = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_plan_is_found_again(cache: PlanCache) -> None:
    assert cache.find(IDENTITY).plan is None
    assert cache.find(IDENTITY).reason == NONE_YET
    cache.keep(IDENTITY, PLAN, 12.34)
    assert cache.find(IDENTITY).plan == PLAN
    assert PlanCache(cache.directory).find(IDENTITY).plan == PLAN


@pytest.mark.parametrize("field", sorted(OTHER))
def test_it_is_no_other_identitys(cache: PlanCache, field: str) -> None:
    cache.keep(IDENTITY, PLAN, 1)
    assert cache.find(other(field)).plan is None


@pytest.mark.parametrize("field", sorted(OTHER))
def test_another_identitys_files_under_this_ones_name_are_not_taken(cache: PlanCache, field: str) -> None:
    cache.keep(other(field), PLAN, 1)
    for suffix in (".json", ".plan"):
        os.rename(cache.directory / f"{other(field).name}{suffix}", cache.directory / f"{IDENTITY.name}{suffix}")
    found = cache.find(IDENTITY)
    assert found.plan is None
    assert found.reason.startswith(f"its passport is another's: {field} is ")


def plan(cache: PlanCache) -> Path:
    return cache.directory / f"{IDENTITY.name}.plan"


def paper(cache: PlanCache) -> Path:
    return cache.directory / f"{IDENTITY.name}.json"


def flipped(cache: PlanCache) -> None:
    data = bytearray(plan(cache).read_bytes())
    data[-1] ^= 1
    plan(cache).write_bytes(data)


def cut(cache: PlanCache) -> None:
    plan(cache).write_bytes(PLAN[:-1])


def longer(cache: PlanCache) -> None:
    plan(cache).write_bytes(PLAN + b"x")


def gone(cache: PlanCache) -> None:
    plan(cache).unlink()


def no_passport(cache: PlanCache) -> None:
    paper(cache).unlink()


def empty_passport(cache: PlanCache) -> None:
    paper(cache).write_bytes(b"")


def huge_passport(cache: PlanCache) -> None:
    paper(cache).write_bytes(paper(cache).read_bytes() + b" " * 2**17)


def linked(cache: PlanCache) -> None:
    plan(cache).rename(cache.directory / "elsewhere")
    plan(cache).symlink_to(cache.directory / "elsewhere")


def linked_passport(cache: PlanCache) -> None:
    paper(cache).rename(cache.directory / "elsewhere")
    paper(cache).symlink_to(cache.directory / "elsewhere")


def piped(cache: PlanCache) -> None:
    plan(cache).unlink()
    os.mkfifo(plan(cache))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flipped, "it was changed: the plan's sha256 is"),
        (cut, "it was changed: the plan has 10239 bytes, its passport says 10240"),
        (longer, "it was changed: the plan has 10241 bytes"),
        (gone, "the plan itself is missing"),
        (no_passport, "its passport is missing"),
        (empty_passport, "its passport is broken"),
        (huge_passport, "its passport cannot be read"),
        (linked, "the plan cannot be read"),
        (linked_passport, "its passport cannot be read"),
        (piped, "the plan cannot be read: it is not a plain file"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_was_tampered_with_is_not_used_and_building_mends_it(cache: PlanCache, harm: Callable[[PlanCache], None], said: str) -> None:
    cache.keep(IDENTITY, PLAN, 1)
    harm(cache)
    found = cache.find(IDENTITY)
    assert found.plan is None
    assert found.reason.startswith(said)
    cache.keep(IDENTITY, PLAN, 1)
    assert cache.find(IDENTITY).plan == PLAN


def test_a_writer_that_dies_between_leaves_nothing_that_is_used(cache: PlanCache) -> None:
    """The new plan is there, the passport is still the old one's."""
    cache.keep(IDENTITY, PLAN, 1)
    plan(cache).write_bytes(b"a new plan, its passport not yet written")
    assert cache.find(IDENTITY).plan is None


def test_files_are_their_owners_alone(cache: PlanCache) -> None:
    cache.keep(IDENTITY, PLAN, 1)
    assert {oct(path.stat().st_mode & 0o777) for path in cache.directory.iterdir()} == {"0o600"}
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert not [path for path in cache.directory.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_into_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans").chmod(mode)
    with pytest.raises(EngineError, match="only this user may write there"):
        PlanCache(tmp_path / "plans")


def test_a_link_or_file_for_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(EngineError, match="is a link or a file"):
        PlanCache(tmp_path / "link")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineError, match="plans cannot be kept there"):
        PlanCache(tmp_path / "file")


def test_timings_are_kept_per_device_and_only_whole(cache: PlanCache) -> None:
    assert cache.timings(IDENTITY) == b""
    cache.keep_timings(IDENTITY, b"times")
    assert cache.timings(other("onnx_sha256")) == b"times"
    assert cache.timings(other("capability")) == cache.timings(other("sdk_version")) == b""
    (file,) = cache.directory.glob("timings-*")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert cache.timings(IDENTITY) == b""


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/mien/plans"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/mien/plans"),
        ({"XDG_CACHE_HOME": "here", "HOME": "/h"}, "/h/.cache/mien/plans"),
    ],
    ids=["set", "empty", "relative"],
)
def test_plans_lie_in_the_users_cache(variables: dict[str, str], wanted: str) -> None:
    assert default_directory(variables) == Path(wanted)
