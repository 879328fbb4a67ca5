"""Row 3: cut off in the middle of the stream, which ffmpeg itself passes over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import made
from tests.clips.at_work import ClipServer


@pytest.fixture
def half(tmp_path: Path) -> bytes:
    whole = made.clip(tmp_path / "whole.mp4", frames=90, size=(320, 240), options={"movflags": "faststart"}).read_bytes()
    return whole[: len(whole) // 2]


def test_it_is_refused_with_what_was_decoded(clip_server: ClipServer, half: bytes) -> None:
    answer = clip_server.send(half, "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-truncated")
    assert answer.json["limit"] == 90
    assert 20 < answer.json["actual"] < 70
    assert f"{answer.json['actual']} of 90 frames decoded" in answer.json["detail"]


def test_it_is_taken_as_partial_where_that_is_allowed(clip_server: ClipServer, half: bytes) -> None:
    answer = clip_server.send(half, "?wait=30", allow_partial=True)
    assert answer.status == 200
    assert answer.json["partial"] is True
    frames = answer.json["frames"]
    assert (frames["expected"], frames["decoded"]) == (90, len(answer.json["events"]))
    assert answer.json["clip_prediction"]
