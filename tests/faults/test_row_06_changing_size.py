"""Row 6: the picture changes its size in the middle of the stream."""

from __future__ import annotations

from pathlib import Path

from tests.clips import made
from tests.clips.at_work import ClipServer


def test_every_picture_is_judged_at_its_own_size(clip_server: ClipServer, tmp_path: Path) -> None:
    small = made.clip(tmp_path / "small.ts", size=(64, 48))
    large = made.clip(tmp_path / "large.ts", size=(320, 240), first=12)
    answer = clip_server.send(small.read_bytes() + large.read_bytes(), "?wait=30")
    assert answer.status == 200
    assert answer.json["frames"]["decoded"] == 24
    # A face as large as the picture, so another face: in frame 13 the old one is remembered and the new one is tentative.
    faces = [(event["frame"], *event["faces"]) for event in answer.json["events"] if event["type"] == "result"]
    assert [(frame, face["track"], face["bbox"], face["score"] is None) for frame, face in faces] == [
        (frame, 1 if frame < 14 else 2, [0.0, 0.0, *((64.0, 48.0) if frame < 14 else (320.0, 240.0))], frame == 13)
        for frame in range(1, 25)
    ]


def test_it_may_not_grow_beyond_the_limits(clip_server: ClipServer, tmp_path: Path) -> None:
    small = made.clip(tmp_path / "small.ts", size=(64, 48))
    huge = made.clip(tmp_path / "huge.ts", frames=1, size=(4112, 16), first=12)
    answer = clip_server.send(small.read_bytes() + huge.read_bytes(), "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-limits-exceeded")
