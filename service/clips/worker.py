"""The clip worker: one thread that takes clips from the queue, one after another, and sees each to its end.

Owns the children (one at work, one started ahead), what is tried again, and the order at the end: result on the disk, then the
state, then the input deleted. Does not own the queue (`store.py`), a pass (`run.py`) or what clients see (`queue.py`).

A child that crashes or hangs is the clip's doing: one retry, then `poison-clip`. One that somebody else killed is not; that is
tried again up to `KILLED` times.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from engines.engine import DeviceFull, EngineError
from service.clips.decoder import Cancelled, Crashed, Decoder
from service.clips.files import Files, StorageFull
from service.clips.limits import ClipRefused, Limits
from service.clips.run import LoopFailed, Run
from service.clips.store import Clip, Store
from service.events import GPU_MEMORY
from service.live import LiveLoop
from service.models import UnknownModel

log = logging.getLogger("mien.clips")
CRASHES = 2
KILLED = 20
IDLE_S = 5.0
FULL_S = 0.5
"""How often a full disk is tried again."""


class Worker:
    """Works until stopped. `changed` is called with the id of a clip whenever there is something new to tell of it, and whether it
    has ended."""

    def __init__(
        self, store: Store, files: Files, loop: LiveLoop, limits: Limits, spawn: Callable[[], Decoder], changed: Callable[[str, bool], None]
    ) -> None:
        self.run: Run | None = None
        self._store = store
        self._files = files
        self._loop = loop
        self._limits = limits
        self._spawn = spawn
        self._changed = changed
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._unwanted: set[str] = set()
        self._ahead: Decoder | None = None
        self._passes = 0
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="clips", daemon=True)

    # For any thread.

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Leave the clip at work to the next start, and end."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """There is a clip in the queue."""
        self._wake.set()

    def forget(self, id: str) -> None:
        """Stop working on a clip that has been deleted."""
        self._unwanted.add(id)

    # The worker's thread.

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self._ahead = self._ahead or self._spawn()
                clip = self._storing(self._store.claim)
                if clip is not None:
                    self._see_to(clip)
                    continue
                self._wake.wait(IDLE_S)
                self._wake.clear()
        except Cancelled:
            pass
        except Exception:
            log.exception("the clip worker has ended by an error; clips wait until the server is restarted")
        finally:
            if self._ahead is not None:
                self._ahead.kill()

    def _see_to(self, clip: Clip) -> None:
        self._changed(clip.id, False)
        try:
            outcome = self._outcome(clip)
            if outcome is None:
                return
            texts, members = outcome
            if texts is not None:
                self._storing(lambda: self._files.keep(clip.id, texts))
            state: Any = "failed" if texts is None else "done"
            if not self._storing(lambda: self._store.end(clip.id, state, members)):
                self._files.erase(clip.id)  # deleted while it was being written
            self._files.erase_input(clip.id)
        except (Cancelled, LoopFailed):
            if self._store.find(clip.id) is not None:
                self._storing(lambda: self._store.release(clip.id))
            if not self._loop.healthy:
                self._stop.set()
        finally:
            self.run = None
            self._unwanted.discard(clip.id)
            self._changed(clip.id, True)

    def _outcome(self, clip: Clip) -> tuple[dict[str, str] | None, dict[str, Any]] | None:
        """Return the result's texts (None: there is none) and what is to be kept with the state; None: it was deleted."""
        crashes = killed = 0
        while True:
            try:
                return self._pass(clip)
            except ClipRefused as refused:
                return None, refused.members()
            except (EngineError, UnknownModel) as error:
                log.error("clip %s: model %r cannot be used: %s", clip.id, clip.options.model, error)
                if isinstance(error, DeviceFull):
                    return None, ClipRefused(GPU_MEMORY, "The GPU has no memory to load this model. Try again later.").members()
                return None, ClipRefused("model-broken", f"The folder of model {clip.options.model!r} cannot be used.").members()
            except Cancelled:
                if self._stop.is_set():
                    raise
                return None
            except Crashed as crashed:
                killed += crashed.killed
                crashes += not crashed.killed
                log.warning("clip %s: its decoder came to a bad end: %s", clip.id, crashed)
                if crashes >= CRASHES or killed >= KILLED:
                    tries = crashes + killed
                    return None, ClipRefused("poison-clip", f"Its decoder came to a bad end {tries} times. Convert the clip.").members()

    def _pass(self, clip: Clip) -> tuple[dict[str, str], dict[str, Any]]:
        decoder, self._ahead = self._ahead or self._spawn(), None
        try:
            directory = self._storing(lambda: self._files.private(clip.id))
        except FileNotFoundError:
            self._ahead = decoder
            raise ClipRefused("clip-unreadable", "The upload has gone from the disk. Send it again.") from None
        self._passes += 1
        run = Run(clip, self._loop, self._limits, lambda: self._wanted(clip.id), lambda: self._changed(clip.id, False))
        decoder.wanted = lambda: self._wanted(clip.id)
        try:
            decoder.begin(directory, clip.name)
            self._ahead = self._spawn()  # it starts while this one works
            self.run = run
            texts = run.finish(decoder, f"clip:{clip.id}:{self._passes}")
        finally:
            decoder.kill()
            self._files.drop(directory)
        if not (run.offline or self._warned):
            self._warned = True
            log.warning("this system gives decoders no network namespace; they are kept from the network by ffmpeg's white lists alone")
        tally = run.tally
        frames = {"expected": tally.expected, "decoded": tally.decoded, "errors": tally.errors, "with_face": tally.with_face}
        return texts, {"frames": frames, "partial": tally.partial}

    def _wanted(self, id: str) -> bool:
        return not self._stop.is_set() and id not in self._unwanted

    def _storing(self, act: Callable[[], Any]) -> Any:
        """Do what writes to the disk; while the disk is full, wait: what was accepted is not given up."""
        full = False
        while True:
            try:
                return act()
            except StorageFull:
                if not full:
                    log.error("the disk of %s is full; clips wait until there is room", self._files.directory)
                full = True
                if self._stop.wait(FULL_S):
                    raise Cancelled from None
