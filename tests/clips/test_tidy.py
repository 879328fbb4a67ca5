"""What is kept is kept no longer than it may be, and what ends halfway is left to the next start."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from service.clips.queue import Clips
from service.config import Clips as Settings
from service.config import ConfigError
from service.live import LiveLoop
from tests.api.tiny import Brightness, Shelf
from tests.clips import made
from tests.clips.at_work import serving


def test_results_are_deleted_when_their_time_is_over(tmp_path: Path) -> None:
    clip = made.clip(tmp_path / "a.mp4")
    with serving(tmp_path / "state", ttl_h=3 / 3600) as server:
        id = server.send(clip).json["id"]
        ended = server.ended(id)
        ended_s, expires_s = (datetime.fromisoformat(ended[name][:-1] + "+00:00").timestamp() for name in ("ended_utc", "expires_utc"))
        assert expires_s - ended_s == pytest.approx(3, abs=0.0015)
        server.eventually(lambda: server.get(f"/v1/clips/{id}").status == 404, "it is forgotten")
        assert time.time() >= expires_s - 0.05  # a wall clock may be slewed meanwhile
        server.eventually(lambda: not server.files(), "it is erased")


def test_a_stopped_server_goes_on_where_it_was(tmp_path: Path, media: Path) -> None:
    clip = made.clip(tmp_path / "a.mp4")
    with serving(tmp_path / "state") as server:
        first = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
        second = server.send(clip).json["id"]
        server.eventually(lambda: server.state(first)["progress"] > 0, "the first is at work")
        server.stop()
        server.start()
        assert [server.ended(id)["state"] for id in (first, second)] == ["done", "done"]
        assert server.state(first)["frames"]["decoded"] == 472
        assert server.files() == {f"results/{id}" for id in (first, second)}


def test_one_directory_serves_one_server(tmp_path: Path) -> None:
    with serving(tmp_path / "state"), pytest.raises(ConfigError, match=r"in use by another process; set clips\.directory"):
        Clips(Settings(), tmp_path / "state", LiveLoop(Shelf(), Brightness(), max_sessions=1))


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        server.kill()
        for name in ("uploads/half", "inputs/unknown", "work/child/clip", "results/unknown/result.json"):
            path = tmp_path / "state" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("left over")
        server.start()
        assert server.files() == set()
