"""The `record` thread: takes what others hand it, in order, and writes it on a tape.

Owns the thread, its mailbox and what becomes of errors: nothing is lost silently. Whatever cannot be written or does not fit
ends the recording with an error, told at once. Does not own the file (`tape.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from capture.foxglove import Level
from capture.frame import Frame, SourceInfo, SourceState
from capture.mailbox import Closed, Mailbox, MailboxFull
from capture.recorded import RecordingError
from capture.tape import Note, Tape

log = logging.getLogger("mien.record")
MAX_ITEMS = 16_384
MAX_BYTES = 256 << 20
"""What may wait for the disk: about 8 s of 640x360 pixels at 60 fps, or a minute of a webcam's packets."""
FLUSH_S = 0.5
"""A killed recording loses at most what came in this time."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line for people."""

    level: Level
    name: str
    text: str
    t_ns: int


Item = Frame | SourceInfo | SourceState | Note | Line


class Recorder:
    """Writes items in the order in which they are put. `failed` is called once, in the thread that met the error.

    `put` may be called by any thread and never waits. After an error nothing more is taken: it is counted in `lost`.
    """

    def __init__(
        self, tape: Tape, failed: Callable[[RecordingError], object], *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.error: RecordingError | None = None
        self.lost = self.written = 0
        self._tape, self._failed, self._max_bytes = tape, failed, max_bytes
        self._lock = threading.Lock()
        self._waiting = 0
        self._wake = threading.Event()
        self._box = Mailbox[tuple[Item, ...]](max_items, "all", self._wake.set)
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, *items: Item) -> None:
        """Hand on items that belong together: all are written, or none."""
        size = sum(map(_size, items))
        with self._lock:
            fits = self._waiting + size <= self._max_bytes
            if fits and self.error is None:
                try:
                    self._box.put(items)
                except (MailboxFull, Closed):
                    fits = False
                else:
                    self._waiting += size
                    return
            self.lost += len(items)
            held = f"{len(self._box)} items of {self._waiting / 1e6:.0f} MB"
        text = f"{self._tape.path}: the disk is too slow, {held} wait for it; what came until then is kept; record less, or elsewhere"
        self._fail(RecordingError("recording-overflow", text))

    def close(self, values: dict[str, str] | None = None, timeout_s: float = 60.0) -> None:
        """Write what waits, end the file with `values`, and end the thread.

        Raises:
            RecordingError: what ended the recording, before or now.
        """
        self._box.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise RecordingError("storage-failed", f"{self._tape.path}: the disk did not answer within {timeout_s:g} s")
        try:
            said = {} if self.error is None else {"error": self.error.code, "lost": str(self.lost)}
            self._tape.close({**(values or {}), **said})
        except RecordingError as error:
            self._fail(error)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        flush_at = time.monotonic() + FLUSH_S
        try:
            while True:
                self._wake.wait(max(0.0, flush_at - time.monotonic()))
                self._wake.clear()
                while time.monotonic() < flush_at and (items := self._box.take()) is not None:
                    self._write(items)
                if time.monotonic() >= flush_at:
                    self._tape.flush()
                    flush_at = time.monotonic() + FLUSH_S
                    self._wake.set()
        except Closed:
            pass
        except RecordingError as error:
            self._fail(error)
        except Exception as error:
            log.exception("the record thread has ended by an error")
            self._fail(RecordingError("recording-failed", f"{self._tape.path}: {type(error).__name__}: {error}"))

    def _write(self, items: tuple[Item, ...]) -> None:
        for item in items:
            if isinstance(item, Frame):
                self._tape.frame(item)
            elif isinstance(item, Note):
                self._tape.note(item)
            elif isinstance(item, SourceInfo):
                self._tape.source(item)
            elif isinstance(item, SourceState):
                self._tape.state(item)
            else:
                self._tape.line(item.level, item.name, item.text, item.t_ns)
            self.written += 1
        with self._lock:
            self._waiting -= sum(map(_size, items))

    def _fail(self, error: RecordingError) -> None:
        with self._lock:
            if self.error is not None:
                return
            self.error = error
        self._box.close()
        self._failed(error)


def _size(item: Item) -> int:
    if isinstance(item, Frame):
        picture = len(item.packet.data) if item.packet is not None else 0 if item.data is None else item.data.nbytes
        return picture + 1024
    return len(item.data) if isinstance(item, Note) else 256
