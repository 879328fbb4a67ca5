"""Row 15: the disk is full: a small tmpfs, filled."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.api.tiny import picture
from tests.clips import made
from tests.clips.at_work import serving
from tests.small_disk import small_disk

MIB = 1 << 20
WITHIN_S, SLACK = 2.0, 5


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    with small_disk(tmp_path / "disk", 12) as path:
        yield path


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_uploads_are_refused_live_goes_on_and_all_recovers(disk: Path, tmp_path: Path) -> None:
    clip = made.clip(tmp_path / "a.mp4")
    with serving(disk / "state") as server, connect(f"ws://127.0.0.1:{server.port}/v1/live") as live:
        live.recv()
        assert server.send(clip, "?wait=30").status == 200
        _fill(disk / "filler")
        for data in (clip.read_bytes(), bytes(9 * MIB)):
            answer = server.send(data)
            assert (answer.status, answer.code) == (507, "storage-full")
        live.send(picture())
        assert json.loads(live.recv(10))["type"] == "result"
        assert server.get("/readyz").status == 200
        (disk / "filler").unlink()
        answer = server.send(clip, "?wait=30")
        assert answer.status == 200
        assert answer.seconds < SLACK * WITHIN_S
        assert not any(entry.startswith(("uploads/", "inputs/", "work/")) for entry in server.files())


def test_an_accepted_clip_waits_for_room(disk: Path, tmp_path: Path, media: Path) -> None:
    with serving(disk / "state") as server:
        id = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
        server.signal_decoder(signal.SIGSTOP)
        _fill(disk / "filler")
        server.signal_decoder(signal.SIGCONT)
        server.eventually(lambda: server.state(id)["progress"] == 1.0, "all its frames are done")
        assert server.state(id)["state"] == "running"
        assert server.get(f"/v1/clips/{id}/result").code == "clip-not-done"
        (disk / "filler").unlink()
        server.eventually(lambda: server.state(id)["state"] == "done", "it is done", SLACK * WITHIN_S)
        assert len(server.get(f"/v1/clips/{id}/result").json["events"]) == 472
