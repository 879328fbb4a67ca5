"""Clips that nobody works on: rows and files as a server leaves them, and a server's clips by clocks that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.clips.expiry import Clocks
from service.clips.files import Files
from service.clips.queue import Clips
from service.clips.store import Clip, ClipOptions, Store
from service.config import Clips as Settings
from service.live import LiveLoop
from tests.api.tiny import Brightness, Shelf

ENDED_S = 1_700_000_000.0


@dataclass
class Time:
    """Both clocks; `monotonic_s` begins at another value, as after a boot."""

    wall_s: float = ENDED_S
    monotonic_s: float = 50.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall_s, lambda: self.monotonic_s)

    def goes_on(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


def ended(directory: Path, id: str, state: str = "done", at_s: float = ENDED_S) -> None:
    """Leave a clip as a server does that has ended: `queued` is one it never came to."""
    files = Files(directory)
    store = Store(files.database, lambda: at_s)
    store.add(Clip(id, "queued", f"{id}.mp4", 3, ClipOptions("tiny", 1, None, False), None, "", at_s - 1))
    upload = files.upload()
    upload.write(b"abc")
    files.accept(upload, id)
    upload.discard()
    if state in ("done", "failed"):
        claimed = store.claim()
        assert claimed is not None
        assert claimed.id == id
        store.end(id, state, {"frames": {"expected": 1, "decoded": 1}})  # type: ignore[arg-type]
        files.erase_input(id)
    if state == "done":
        files.keep(id, {"json": "{}"})
    store.close()
    files.close()


@contextmanager
def opened(directory: Path, time: Time, **settings: Any) -> Iterator[Clips]:
    """The clips of a server that has started; nobody works on the queue, and nothing sweeps but `expire`."""
    clips = Clips(Settings(**settings), directory, LiveLoop(Shelf(), Brightness(), max_sessions=1), time.clocks())
    try:
        yield clips
    finally:
        asyncio.run(clips.stop(1))
