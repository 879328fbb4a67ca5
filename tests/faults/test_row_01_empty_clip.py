"""Row 1: a clip of no bytes."""

from __future__ import annotations

from tests.clips.at_work import ClipServer


def test_an_empty_clip_is_called_empty(clip_server: ClipServer) -> None:
    answer = clip_server.send(b"", "?wait=30")
    assert (answer.status, answer.code) == (422, "empty-clip")
