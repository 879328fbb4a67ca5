"""Row 28, for clips: the decoder crashes or hangs. One retry, then the clip is called poison, and the next one is served."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import made
from tests.clips.at_work import ClipServer, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClipServer]:
    with serving(tmp_path / "state", stall_s=4.0) as it:
        yield it


def _signalled(server: ClipServer, id: str, number: signal.Signals, times: int) -> None:
    for _ in range(times):
        server.eventually(lambda: bool(server.decoders(True)) or server.state(id)["state"] == "failed", "a decoder works")
        child = server.decoders(True)[0]
        child.send_signal(number)
        server.eventually(lambda child=child: not child.is_running(), "the decoder is gone")  # type: ignore[misc]


@pytest.mark.parametrize("number", [
    pytest.param(signal.SIGSEGV, id="crash"), pytest.param(signal.SIGSTOP, id="hang", marks=pytest.mark.proof),
])  # fmt: skip
def test_a_clip_that_kills_its_decoder_twice_is_poison(server: ClipServer, media: Path, tmp_path: Path, number: signal.Signals) -> None:
    id = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
    _signalled(server, id, number, 2)
    failed = server.ended(id)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "poison-clip")
    answer = server.get(f"/v1/clips/{id}/result")
    assert (answer.status, answer.code) == (422, "poison-clip")
    assert server.send(made.clip(tmp_path / "a.mp4"), "?wait=30").status == 200
    assert not any(entry.startswith(("inputs/", "work/")) for entry in server.files())


def test_once_is_forgiven(server: ClipServer, media: Path) -> None:
    id = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
    _signalled(server, id, signal.SIGSEGV, 1)
    assert server.ended(id)["state"] == "done"
    assert server.state(id)["frames"]["decoded"] == 472


def test_a_decoder_that_others_kill_is_not_the_clips_doing(server: ClipServer, media: Path) -> None:
    id = server.send(media / "WolfgangLanger_Pexels.mp4").json["id"]
    _signalled(server, id, signal.SIGKILL, 4)
    assert server.ended(id)["state"] == "done"
