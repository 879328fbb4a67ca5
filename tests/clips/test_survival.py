from __future__ import annotations

import http.client
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clips import made
from tests.clips.at_work import ClipServer


class Sender:
    """Sends clips from a thread, each until it is acknowledged, whatever happens to the server meanwhile."""

    def __init__(self, server: ClipServer, clips: list[Path]) -> None:
        self.acknowledged: dict[str, str] = {}
        self._server = server
        self._clips = clips
        self._thread = threading.Thread(target=self._send, name="sender")

    def _send(self) -> None:
        for clip in self._clips:
            while clip.name not in self.acknowledged:
                try:
                    answer = self._server.send(clip, key=clip.name)
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)
                    continue
                if answer.status == 202:
                    self.acknowledged[clip.name] = answer.json["id"]
                else:
                    assert answer.status in (503, 409), answer.body
                    time.sleep(0.02)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def _seen(server: ClipServer, sender: Sender, results: dict[str, Any], frames: dict[str, int], some: int) -> None:
    """Look at some clips: what is done is whole, and stays as it was when it was first seen."""
    names = list(sender.acknowledged)
    for name in random.sample(names, min(some, len(names))):
        id = sender.acknowledged[name]
        answer = server.get(f"/v1/clips/{id}/result")
        if answer.status == 409:
            assert answer.code == "clip-not-done"
            assert name not in results
            continue
        assert answer.status == 200, (name, answer.body)
        assert [event["frame"] for event in answer.json["events"]] == list(range(1, frames[name] + 1))
        done = (answer.body, server.state(id)["ended_utc"])
        assert results.setdefault(name, done) == done


def _survives(tmp_path: Path, clips: int, server_kills: int, decoder_kills: int, frames: int) -> None:
    counts = {f"{number:03}.mp4": random.randint(frames, 2 * frames) for number in range(clips)}
    paths = [made.clip(tmp_path / name, count, seed=count) for name, count in counts.items()]
    server = ClipServer(tmp_path / "state")
    server.start()
    kills = [True] * server_kills + [False] * decoder_kills
    random.shuffle(kills)
    results: dict[str, Any] = {}
    try:
        with Sender(server, paths) as sender:
            for of_server in kills:
                if of_server:
                    time.sleep(random.uniform(0.0, 0.6))
                    server.kill()
                    server.start()
                    _seen(server, sender, results, counts, 5)
                else:
                    _kill_a_decoder(server)
                    time.sleep(random.uniform(0.0, 0.5))  # the same clip is not killed for ever
        assert len(set(sender.acknowledged.values())) == clips
        server.eventually(lambda: len(list((tmp_path / "state/results").iterdir())) == clips, "all clips are done", 300)
        for name in sender.acknowledged:
            assert server.ended(sender.acknowledged[name])["state"] == "done"
        _seen(server, sender, results, counts, clips)
        assert len(results) == clips
        server.eventually(lambda: {entry.split("/")[0] for entry in server.files()} == {"results"}, "inputs are deleted")
    finally:
        server.stop()


def _kill_a_decoder(server: ClipServer) -> None:
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        try:
            for child in server.decoders(working=True):
                child.send_signal(signal.SIGKILL)
                return
        except psutil.NoSuchProcess:
            continue


def test_a_queue_of_10_survives_2_kills(tmp_path: Path) -> None:
    _survives(tmp_path, 10, server_kills=2, decoder_kills=0, frames=2)


@pytest.mark.proof
def test_a_queue_of_200_survives_30_kills(tmp_path: Path) -> None:
    _survives(tmp_path, 200, server_kills=30, decoder_kills=0, frames=2)


@pytest.mark.proof
def test_a_queue_of_200_survives_200_kills_most_of_them_of_decoders(tmp_path: Path) -> None:
    _survives(tmp_path, 200, server_kills=30, decoder_kills=170, frames=40)
