"""Row 6: the picture changes its size in the middle of the stream."""

from __future__ import annotations

from pathlib import Path

from tests.clips import made
from tests.clips.at_work import ClipServer


def test_it_gives_a_result_or_is_refused(clip_server: ClipServer, tmp_path: Path) -> None:
    small = made.clip(tmp_path / "small.ts", size=(64, 48))
    large = made.clip(tmp_path / "large.ts", size=(320, 240), first=12)
    answer = clip_server.send(small.read_bytes() + large.read_bytes(), "?wait=30")
    if answer.status == 200:
        boxes = {tuple(face["bbox"]) for event in answer.json["events"] if event["type"] == "result" for face in event["faces"]}
        assert {(0.0, 0.0, 64.0, 48.0), (0.0, 0.0, 320.0, 240.0)} <= boxes
    else:
        assert (answer.status, answer.code) == (422, "clip-inconsistent")


def test_it_may_not_grow_beyond_the_limits(clip_server: ClipServer, tmp_path: Path) -> None:
    small = made.clip(tmp_path / "small.ts", size=(64, 48))
    huge = made.clip(tmp_path / "huge.ts", frames=1, size=(4112, 16), first=12)
    answer = clip_server.send(small.read_bytes() + huge.read_bytes(), "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-limits-exceeded")
