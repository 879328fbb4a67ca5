"""Row 2: an MP4 without its moov box."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips.at_work import ClipServer


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_clip_cut_before_its_index_is_unreadable(clip_server: ClipServer, media: Path, share: float) -> None:
    whole = (media / "single_face.mp4").read_bytes()
    assert whole.index(b"moov") > 0.9 * len(whole)
    answer = clip_server.send(whole[: int(share * len(whole))], "?wait=30")
    assert (answer.status, answer.code) == (422, "clip-unreadable")
    assert str(clip_server.directory) not in answer.body.decode()
