"""Server cameras: one clock from the first frame on, and an end that is told."""

from __future__ import annotations

from pathlib import Path

from service.cameras import open_camera
from service.events import Event, Rejected, SourceEvent
from service.feed import FeedOptions
from service.live import LiveLoop
from tests.api.tiny import Brightness
from tests.live.test_live_loop import Heard
from tests.waiting import PATIENCE_S, until


def _camera(media: Path, query: str) -> Heard:
    from tests.api.tiny import Shelf as TinyShelf

    loop = LiveLoop(TinyShelf(), Brightness(), max_sessions=2)  # type: ignore[arg-type]
    loop.start()
    heard = Heard()
    camera = open_camera(loop, "cam", f"video:{media / 'single_face.mp4'}{query}", FeedOptions("tiny"), heard)
    until(lambda: heard.of(SourceEvent) or len(heard.of(Event)) >= 30, "an end, or thirty results")
    camera.close()
    loop.stop(PATIENCE_S)
    return heard


def test_a_clips_clock_is_its_own_from_the_first_frame(media: Path) -> None:
    for _ in range(5):
        heard = _camera(media, "?loop=1")
        assert not heard.of(Rejected)
        assert len(heard.of(Event)) >= 30


def test_a_clip_that_is_over_is_lost(media: Path) -> None:
    heard = _camera(media, "")
    (lost,) = [output.message for output in heard.of(SourceEvent)]
    assert isinstance(lost, SourceEvent)
    assert (lost.name, lost.state) == ("cam", "lost")


def test_a_frozen_camera_is_told() -> None:
    from tests.api.tiny import Shelf as TinyShelf

    loop, heard = LiveLoop(TinyShelf(), Brightness(), max_sessions=2), Heard()  # type: ignore[arg-type]
    loop.start()
    camera = open_camera(loop, "cam", "virtual:color?width=64&height=48&fps=30&faults=freeze@0.5+1.5", FeedOptions("tiny"), heard)
    until(lambda: len(heard.of(SourceEvent)) >= 2, "frozen and back")
    camera.close()
    loop.stop(PATIENCE_S)
    assert [output.message.state for output in heard.of(SourceEvent) if isinstance(output.message, SourceEvent)] == ["frozen", "back"]
