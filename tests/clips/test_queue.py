"""Order of the queue, room in it, and who waits for an end: on clips that nobody works on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.clips.files import StorageFull
from service.clips.limits import ClipRefused
from service.clips.store import Clip, ClipOptions, Store
from tests.clips.at_rest import ENDED_S, Time, ended, opened

OUTCOME: dict[str, Any] = {"frames": {}}


def queued(id: str, key: str | None = None) -> Clip:
    return Clip(id, "queued", f"{id}.mp4", 3, ClipOptions("tiny", 2, 4, True), key, "f", 5.0)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store(tmp_path / "clips.sqlite3", lambda: 77.0)
    yield made
    made.close()


def claimed(store: Store) -> str | None:
    clip = store.claim()
    return None if clip is None else clip.id


def test_first_come_first_served_and_what_a_server_ended_over_goes_behind(store: Store) -> None:
    for id in ("a", "b", "c", "d"):
        store.add(queued(id))
    assert claimed(store) == "a"
    assert [store.ahead(id) for id in ("b", "c", "d")] == [1, 2, 3]
    store.recover()
    assert [store.ahead(id) for id in ("b", "c", "d", "a")] == [0, 1, 2, 3]
    store.add(queued("e"))
    assert [claimed(store) for _ in range(6)] == ["b", "c", "d", "e", "a", None]


def test_one_that_is_given_back_keeps_its_place(store: Store) -> None:
    for id in ("a", "b"):
        store.add(queued(id))
    assert claimed(store) == "a"
    store.release("a")
    assert claimed(store) == "a"


def test_a_row_is_what_was_put_in(store: Store) -> None:
    store.add(queued("a", "key"))
    assert store.find("a") == store.keyed("key") == queued("a", "key")
    assert not store.end("a", "done", OUTCOME), "it was not running"
    assert claimed(store) == "a"
    assert store.end("a", "done", OUTCOME)
    found = store.find("a")
    assert found is not None
    assert (found.state, found.ended_s, found.outcome) == ("done", 77.0, OUTCOME)
    assert (store.count("queued", "running"), store.count("done")) == (0, 1)
    assert store.delete("a")
    assert not store.delete("a")
    assert store.keyed("key") is None


def test_uploads_under_way_take_room_and_leave_it_again(tmp_path: Path) -> None:
    ended(tmp_path, "done", "done")
    ended(tmp_path, "waiting", "queued")
    with opened(tmp_path, Time(), queue=3) as clips:
        with clips.room(), clips.room():
            with pytest.raises(ClipRefused) as refused, clips.room():
                pass
            assert (refused.value.code, refused.value.limit, refused.value.actual) == ("queue-full", 3, 3)
        with clips.room():
            pass


def test_a_key_is_held_while_its_request_is_served(tmp_path: Path) -> None:
    with opened(tmp_path, Time()) as clips:
        with clips.holding("k") as earlier, clips.holding("other"), clips.holding(None), clips.holding(None):
            assert earlier is None
            with pytest.raises(ClipRefused) as refused, clips.holding("k"):
                pass
            assert refused.value.code == "idempotency-in-progress"
        with clips.holding("k"):
            pass


def test_a_body_larger_than_the_disk_is_not_begun(tmp_path: Path) -> None:
    with opened(tmp_path, Time()) as clips:
        clips.check_room_for(1)
        with pytest.raises(StorageFull):
            clips.check_room_for(clips.files.free_bytes + 2**40)


@pytest.mark.parametrize("state", ["done", "failed"])
def test_who_waits_for_what_has_ended_waits_no_longer(tmp_path: Path, state: str) -> None:
    ended(tmp_path, "one", state)
    with opened(tmp_path, Time()) as clips:
        clip = asyncio.run(asyncio.wait_for(clips.ended("one", 3600), 20))
        assert (clip.state, clip.ended_s) == (state, ENDED_S)


def test_who_waits_in_vain_gets_the_clip_as_it_is_then(tmp_path: Path) -> None:
    ended(tmp_path, "one", "queued")
    with opened(tmp_path, Time()) as clips:
        assert asyncio.run(clips.ended("one", 0.05)).state == "queued"
