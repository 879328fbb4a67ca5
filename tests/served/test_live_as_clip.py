"""The live socket says of a clip's frames what `mien analyze` says of the clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clips import bundles
from capture.frame import Bundle
from service.analyze import analyse
from service.events import Event, wire
from service.intake import Source
from tests.goldens import record
from tests.served.server import encoded, framed, served, talk

MARGIN, AGREE = 0.1, 0.98


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as port:
        yield port


def _analysed(media: Path, clip: str) -> list[dict[str, Any]]:
    with record.analyser() as composed:
        return [wire(e) for e in analyse(Source(media / clip, clip), composed) if isinstance(e, Event)]


def _pushed(port: int, clip: list[Bundle], kind: str) -> list[dict[str, Any]]:
    pictures = ((bundle, bundle.frame("color")) for bundle in clip)
    with talk(port, policy="all") as said:
        said.push(framed(encoded(frame.data, kind), kind, bundle.t_ns) for bundle, frame in pictures if frame is not None)  # type: ignore[arg-type]
        closed = said.close()
    assert (closed["received"], closed["used"], closed["rejected"]) == (len(clip), len(clip), 0)
    return [{key: value for key, value in message.items() if key not in ("delivery", "id")} for message in said.of("result")]


def _without_clock(event: dict[str, Any], clock: str) -> dict[str, Any]:
    for face in event["faces"]:
        if face["prediction"]:
            assert face["prediction"]["sync"].pop("clock") == clock
    return event


def test_a_clips_frames_as_png_give_the_same_events(port: int, media: Path) -> None:
    pushed = _pushed(port, bundles(media / "single_face.mp4"), "png")
    analysed = _analysed(media, "single_face.mp4")
    assert len(pushed) == 72
    assert [_without_clock(e, "client") for e in pushed] == [_without_clock(e, "media") for e in analysed]


@pytest.mark.proof
def test_as_good_jpeg_the_clear_labels_agree(port: int, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clear = agree = selections = windows = 0
    for clip in ("single_face.mp4", "WolfgangLanger_Pexels.mp4"):
        pushed = {e["frame"]: e for e in _pushed(port, bundles(media / clip), "jpeg")}
        for event in _analysed(media, clip):
            for face, other in zip(event["faces"], pushed[event["frame"]]["faces"], strict=False):
                if not face["prediction"] or not other["prediction"]:
                    continue
                first, second = (score["probability"] for score in face["prediction"]["scores"][:2])
                windows += 1
                selections += face["prediction"]["window"]["frames"] == other["prediction"]["window"]["frames"]
                if first - second >= MARGIN:
                    clear += 1
                    agree += face["prediction"]["label"] == other["prediction"]["label"]
    with capsys.disabled():
        print(f"\nJPEG q95 4:4:4: labels of clear windows agree {agree}/{clear}; the same keyframes were chosen in {selections}/{windows}")
    assert clear >= 60
    assert agree / clear >= AGREE
