"""Row 7: lists that name other files and addresses, called .mp4. ffmpeg would follow them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips.at_work import ClipServer


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A named pipe and a listening socket: to open either leaves a trace."""
    os.mkfifo(tmp_path / "bait.mp4")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield tmp_path / "bait.mp4", listener


LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{file}'\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXTINF:1,\nfile:{file}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
}


@pytest.mark.parametrize("kind", LISTS)
def test_nothing_they_name_is_opened(clip_server: ClipServer, bait: tuple[Path, socket.socket], kind: str) -> None:
    file, listener = bait
    port = listener.getsockname()[1]
    text = LISTS[kind].format(file=file, url=f"http://127.0.0.1:{port}/a.ts", port=port)
    answer = clip_server.send(text.encode(), "?wait=30", name="clip.mp4")
    assert (answer.status, answer.code) == (415, "unsupported-container")
    with pytest.raises(BlockingIOError):
        listener.accept()
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):  # nobody has the pipe open for reading
        os.open(file, os.O_WRONLY | os.O_NONBLOCK)
