"""The client and a real server, which also comes and goes."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import cv2
import pytest

from service.client import AsyncMien, FrameDropped, FrameRejected, Item, Lost, Mien, MienError, Reconnected, Result, SessionUpdated
from service.remote.pictures import encoded
from tests.served.server import free_port, served
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")), "MIEN_CLIPS__MAX_BYTES": "1000000"}


@pytest.fixture(scope="module")
def mien(state: dict[str, str]) -> Iterator[Mien]:
    with served("--camera", "front=synthetic:?fps=5", environment=state) as port:
        yield Mien(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def pictures(media: Path) -> list[Any]:
    clip = cv2.VideoCapture(str(media / "single_face.mp4"))
    reads = takewhile(lambda read: read[0], (clip.read() for _ in count()))
    return [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for _, picture in reads]


def outcomes(items: list[Item]) -> list[int]:
    """The numbers of all frames of a session that have an outcome, one for each."""
    found: list[int] = []
    for item in items:
        if isinstance(item, Result | FrameRejected):
            found.append(item.frame)
        elif isinstance(item, FrameDropped):
            found.extend(range(item.frames[0], item.frames[1] + 1))
        elif isinstance(item, Lost):
            found.extend(frame.frame for frame in item.frames)
    return sorted(found)


def test_every_frame_is_used_under_all_with_its_id(mien: Mien, pictures: list[Any]) -> None:
    with mien.live(policy="all", encoding="png") as live:
        for number, picture in enumerate(pictures[:40], start=1):
            assert live.push(picture, id=f"p{number}", t_capture_ns=number * 33_000_000) == number
        closed = live.close()
        items = list(live)
    results = [item for item in items if isinstance(item, Result)]
    assert [(r.frame, r.id) for r in results] == [(number, f"p{number}") for number in range(1, 41)]
    assert any(face.prediction is not None and face.prediction.label for r in results for face in r.faces)
    assert closed == items[-1] == live.closed
    assert (closed.received, closed.used) == (40, 40)
    assert live.in_flight == 0


def test_under_latest_each_frame_sent_has_one_outcome(mien: Mien, pictures: list[Any]) -> None:
    jpeg = encoded(pictures[0], "jpeg")
    with mien.live(policy="latest") as live:
        sent = [number for number in (live.push(jpeg) for _ in range(200)) if number is not None]
        live.close()
        items = list(live)
    assert outcomes(items) == sent == list(range(1, len(sent) + 1))


def test_settings_change_or_are_refused_as_a_whole(mien: Mien) -> None:
    with mien.live() as live:
        updated = live.update(hop=2, faces=3, model="faceapi-expression")
        assert (updated.model.id, updated.faces, updated.window.hop) == ("faceapi-expression", 3, 2)
        with pytest.raises(MienError, match="blazeface-front") as error:
            live.update(model="nobody", faces=1)
        assert error.value.code == "unknown-model"
        assert (live.settings.faces, live.settings.policy) == (3, "latest")
    with pytest.raises(MienError, match="unknown-model"), mien.live(model="nobody"):
        raise AssertionError("entered")


def test_a_cameras_events(mien: Mien) -> None:
    assert [(camera.name, camera.state) for camera in mien.streams()] == [("front", "running")]
    with mien.stream("front") as events:
        assert isinstance(events.started, SessionUpdated)
        items = [events.recv(PATIENCE_S) for _ in range(5)]
        events.close()
        list(events)
    assert {item.type for item in items if item is not None} == {"result"}
    with pytest.raises(MienError) as error, mien.stream("back"):
        raise AssertionError("entered")
    assert (error.value.code, error.value.status) == ("unknown-stream", 404)


def test_models(mien: Mien) -> None:
    models = mien.models()
    assert models.default in {model.id for model in models.models}
    details = mien.model(models.default)
    assert details.manifest["id"] == details.id
    assert details.card.startswith("#")


def test_a_clip_from_upload_to_erasure(mien: Mien, media: Path) -> None:
    seen: list[float] = []
    clip = media / "single_face.mp4"
    sent = mien.submit(clip, key="a-key", hop=2)
    assert mien.submit(clip, key="a-key", hop=2).id == sent.id
    assert mien.wait(sent.id, on_progress=lambda state: seen.append(state.progress)).frames is not None
    assert seen == sorted(seen)
    result = mien.result(sent.id)
    assert (len(result.events), result.frames.decoded, result.clip_prediction[0].label) == (72, 72, "happy")
    assert mien.result_as(sent.id, "vtt").startswith(b"WEBVTT")
    assert mien.clip(sent.id).options.hop == 2
    mien.delete(sent.id)
    with pytest.raises(MienError) as error:
        mien.clip(sent.id)
    assert (error.value.code, error.value.status) == ("unknown-clip", 404)


def test_clips_that_are_refused(mien: Mien, media: Path, tmp_path: Path) -> None:
    text, cut, large = tmp_path / 'a "te\nxt".txt', tmp_path / "cut.mp4", tmp_path / "large.mp4"
    text.write_text("no clip")
    cut.write_bytes((media / "single_face.mp4").read_bytes()[:150_000])
    shutil.copy(media / "noface_face.mov", large)
    for file, code in ((text, "unsupported-container"), (large, "clip-too-large"), (cut, "clip-unreadable")):
        with pytest.raises(MienError) as error:
            mien.analyze(file)
        assert error.value.code == code
        assert error.value.status is not None
    with pytest.raises(FileNotFoundError):
        mien.submit(tmp_path / "nothing.mp4")


def test_a_server_that_restarts(state: dict[str, str], pictures: list[Any], media: Path) -> None:
    port = free_port()
    mien = Mien(f"http://127.0.0.1:{port}", retry_s=30)
    jpegs = [encoded(picture, "jpeg") for picture in pictures]
    sessions: list[list[Item]] = [[]]

    def read() -> None:
        for item in live:
            if isinstance(item, Reconnected):
                sessions.append([])
                back.set()
            sessions[-1].append(item)

    back, reader = threading.Event(), threading.Thread(target=read)
    with served(environment=state, port=port):
        live = mien.live(policy="all", faces=2).__enter__()
        reader.start()
        first = [live.push(jpeg) for jpeg in jpegs]
        clip = mien.submit(media / "single_face.mp4")
    with served(environment=state, port=port):
        assert back.wait(PATIENCE_S)
        second = [live.push(jpeg) for jpeg in jpegs]
        closed = live.close()
        reader.join(PATIENCE_S)
        live.__exit__(None, None, None)
        assert mien.wait(clip.id).state == "done"
        mien.delete(clip.id)
    assert len(sessions) == 2
    assert outcomes(sessions[0]) == first == list(range(1, 73))
    assert outcomes(sessions[1]) == second == list(range(1, 73))
    assert (closed.used, live.settings.faces, live.settings.policy) == (72, 2, "all")
    assert not [thread.name for thread in threading.enumerate() if thread.name == "mien-client"]


async def _analyzed(mien: AsyncMien, clip: Path) -> str | None:
    await mien.wait_ready()
    return (await mien.analyze(clip)).clip_prediction[0].label


def test_the_same_with_an_event_loop(mien: Mien, media: Path) -> None:
    assert asyncio.run(_analyzed(AsyncMien(mien.url), media / "single_face.mp4")) == "happy"
