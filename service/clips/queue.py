"""The clips of a server, as its routes see them: taken in, looked up, followed, erased.

Owns room in the queue, Idempotency-Keys in progress, and erasing. Does not own rows (`store.py`), files (`files.py`), how
long results are kept (`expiry.py`), the work (`worker.py`) or who is told of it (`listeners.py`).
Its coroutines belong to one event loop; what may touch the disk runs beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service import config
from service.clips.decoder import Decoder
from service.clips.expiry import Clocks, Expiry
from service.clips.files import Files, InUse, StorageFull, Upload
from service.clips.limits import ClipRefused, Limits
from service.clips.listeners import Listeners
from service.clips.store import Clip, ClipOptions, Store
from service.clips.worker import Worker
from service.live import LiveLoop

SWEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a clip is. `lines`: its events so far, as JSON texts; a list that others append to."""

    share: float
    expected: int | None
    decoded: int
    lines: list[str]


class Clips:
    """All of it. Made before the event loop runs.

    Raises:
        ConfigError: the directory is another server's, or cannot be used.
    """

    def __init__(self, settings: config.Clips, directory: Path, loop: LiveLoop, clocks: Clocks | None = None) -> None:
        self.settings = settings
        self._clocks = clocks or Clocks()
        self._expiry = Expiry(settings.ttl_h, self._clocks)
        limits = Limits(settings.max_s, settings.max_frames, settings.max_width, settings.max_height, settings.min_fps, settings.max_fps)
        try:
            self.files = Files(directory)
            self._store = Store(self.files.database, self._clocks.wall_s)
            self._store.recover()
        except (OSError, ValueError, InUse, StorageFull) as error:
            why = "its disk is full" if isinstance(error, StorageFull) else str(error)
            raise config.ConfigError(f"clips.directory {directory}: {why}; set clips.directory to one for this server alone") from error
        clips = self._store.all()
        waiting = {clip.id for clip in clips if clip.state in ("queued", "running")}
        self.files.sweep(waiting, {clip.id for clip in clips if clip.state == "done"})
        spawn = partial(Decoder, limits, settings.memory_bytes, settings.stall_s)
        self.listeners = Listeners()
        self._worker = Worker(self._store, self.files, loop, limits, spawn, self.listeners.ring)
        self._arriving = 0
        self._keys: set[str] = set()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work on what waits."""
        self.listeners.begin()
        self._sweeper = asyncio.create_task(self._sweep(), name="clips:expire")
        self._worker.start()

    async def stop(self, timeout_s: float) -> None:
        """End; what is at work will be done after the next start."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.to_thread(self._worker.stop, timeout_s)
        self._store.close()
        self.files.close()

    # Taking in.

    @contextmanager
    def room(self) -> Iterator[None]:
        """Hold a place in the queue while an upload arrives.

        Raises:
            ClipRefused: "queue-full".
        """
        taken = self._arriving + self._store.count("queued", "running")
        if taken >= self.settings.queue:
            raise ClipRefused("queue-full", f"{taken} clips wait, the limit is {self.settings.queue}.", self.settings.queue, taken)
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    @contextmanager
    def holding(self, key: str | None) -> Iterator[Clip | None]:
        """Hold an Idempotency-Key while its request is served; give the clip that an earlier request made with it.

        Raises:
            ClipRefused: "idempotency-in-progress".
        """
        if key is None:
            yield None
            return
        if key in self._keys:
            raise ClipRefused("idempotency-in-progress", "The first request with this Idempotency-Key has not been answered yet.")
        self._keys.add(key)
        try:
            yield self._store.keyed(key)
        finally:
            self._keys.discard(key)

    def check_room_for(self, size: int) -> None:
        """Raise StorageFull if a body of `size` bytes is not going to fit on the disk."""
        if size > self.files.free_bytes:
            raise StorageFull

    async def accept(self, upload: Upload, name: str, options: ClipOptions, key: str | None, fingerprint: str) -> Clip:
        """Queue a complete upload; it is durable when this returns.

        Raises:
            StorageFull: it could not be made so.
        """
        clip = Clip(uuid.uuid4().hex, "queued", name, upload.size, options, key, fingerprint, self._clocks.wall_s())

        def keep() -> None:
            self.files.accept(upload, clip.id)
            try:
                self._store.add(clip)
            except BaseException:
                self.files.erase_input(clip.id)
                raise

        # Not to be torn in two by a client that goes away: what has begun is finished.
        await asyncio.shield(asyncio.to_thread(keep))
        self._worker.wake()
        return clip

    # Looking up.

    def find(self, id: str) -> Clip:
        """Return a clip.

        Raises:
            ClipRefused: "unknown-clip".
        """
        clip = self._store.find(id)
        if clip is None:
            raise ClipRefused("unknown-clip", "There is no such clip, or its time is over.")
        return clip

    def ahead(self, clip: Clip) -> int:
        """Return how many clips come before this one."""
        return self._store.ahead(clip.id) if clip.state == "queued" else 0

    def progress(self, clip: Clip) -> Progress:
        """Return how far a clip is."""
        outcome = clip.outcome or {}
        if clip.state == "done":
            frames = outcome["frames"]
            return Progress(1.0, frames["expected"], frames["decoded"], [])
        run = self._worker.run
        if clip.state != "running" or run is None or run.clip.id != clip.id:
            return Progress(0.0, None, 0, [])
        lines = run.result.lines if run.result is not None else []
        return Progress(run.progress, run.tally.expected, run.tally.decoded, lines)

    def expires_s(self, clip: Clip) -> float | None:
        """Return when a finished clip's result will be deleted, UTC seconds."""
        return self._expiry.expires_s(clip)

    def result(self, clip: Clip, suffix: str) -> Path:
        """Return the file of a done clip's result.

        Raises:
            ClipRefused: there is none: its own refusal, or "clip-not-done".
        """
        if clip.state == "failed":
            outcome = clip.outcome or {}
            raise ClipRefused(outcome["code"], outcome["detail"], outcome["limit"], outcome["actual"])
        if clip.state != "done":
            raise ClipRefused("clip-not-done", f"The clip is {clip.state}; ask for its state, or listen to its events.")
        return self.files.result(clip.id, suffix)

    # Following.

    async def ended(self, id: str, timeout_s: float) -> Clip:
        """Return a clip when it is done or failed, or after `timeout_s` as it is then.

        Raises:
            ClipRefused: it has been deleted.
        """
        until = time.monotonic() + timeout_s
        with self.listeners.listening(id, only_end=True) as end:
            while True:
                end.clear()
                clip = await asyncio.to_thread(self.find, id)
                left_s = until - time.monotonic()
                if clip.state in ("done", "failed") or left_s <= 0:
                    return clip
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(end.wait(), left_s)

    # Erasing.

    def delete(self, id: str) -> None:
        """Erase a clip, its input and its results.

        Raises:
            ClipRefused: "unknown-clip".
            StorageFull: the disk is so full that it cannot even be told to forget; try again.
        """
        self.find(id)
        try:
            self._store.delete(id)
        except StorageFull:
            self.files.erase(id)
            self._store.delete(id)
        self._worker.forget(id)
        self.files.erase(id)
        self._expiry.forget(id)
        self.listeners.ring(id, True)

    def expire(self) -> None:
        """Erase the clips whose time is over; while the server runs this happens by itself.

        Raises:
            ClipRefused: "unknown-clip": another has erased one meanwhile.
            StorageFull: see `delete`.
        """
        for clip in self._expiry.over(self._store.all()):
            self.delete(clip.id)

    async def _sweep(self) -> None:
        every_s = min(SWEEP_S, self._expiry.ttl_s / 4)
        while True:
            with contextlib.suppress(StorageFull, ClipRefused):
                await asyncio.to_thread(self.expire)
            await asyncio.sleep(every_s)


def default_directory(port: int) -> Path:
    """Return where a server's clips lie if nothing is configured."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "mien" / f"clips-{port}"
