"""The thread that reads one camera: opens, reads and closes its driver, and opens it again when it was lost.

Owns the thread, the back-off and what becomes of errors. Does not own devices (`drivers/`), where frames go (a callable, usually
`Mailbox.put`) or what a lost source means to sessions (they get `SourceState`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from capture.driver import Driver, EndOfStream, SourceError
from capture.frame import Frame, SourceInfo, SourceState, State
from capture.mailbox import Closed

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 0.5
"""How long a lost source is left alone before it is opened again: at first, and at most."""


class Reader:
    """One camera's thread, `capture:<name>`.

    `put` gets each read's frames; `notify` the states `lost` and `back` (just before the first frame after a loss); `ended`,
    once, None when the source has ended or the reader was stopped, else the error that ended it: `Mailbox.close` fits.
    All three are called in the thread and must not wait. A live source is reopened for ever; one with an end never is. `serial`: the only
    device taken; without it, once a device that says its serial number was opened, only that one is taken back.
    """

    def __init__(
        self,
        driver: Driver,
        put: Callable[[list[Frame]], object],
        notify: Callable[[SourceState], object],
        ended: Callable[[BaseException | None], object] | None = None,
        serial: str | None = None,
    ) -> None:
        self._driver, self._put, self._notify, self._ended = driver, put, notify, ended
        self._stop, self._opened = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture:{driver.name}", daemon=True)
        self._info: SourceInfo | None = None
        self._error: BaseException | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._lost = False
        self._serial = serial

    @property
    def info(self) -> SourceInfo:
        """Return what the last successful open learned.

        Raises:
            RuntimeError: the source has not been opened yet.
        """
        if self._info is None:
            raise RuntimeError(f"camera {self._driver.name!r} has not been opened yet; call start()")
        return self._info

    @property
    def opened(self) -> bool:
        """Return whether the source was ever open."""
        return self._info is not None

    @property
    def error(self) -> BaseException | None:
        """Return the error that ended the thread, or None."""
        return self._error

    @property
    def lost(self) -> bool:
        """Return whether the source is lost at present."""
        return self._lost

    @property
    def alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def start(self, timeout_s: float = 15.0) -> SourceInfo:
        """Start the thread and return what the first open learned.

        Raises:
            SourceError: the first open failed, or took longer than `timeout_s` ("open-timeout"); the reader has ended.
        """
        self._thread.start()
        if not self._opened.wait(timeout_s):
            self._stop.set()
            raise SourceError("open-timeout", f"camera {self._driver.name!r} did not open within {timeout_s:g} s; check that it answers")
        if self._info is None:
            self._thread.join(timeout_s)
            raise self._error or SourceError("source-lost", f"camera {self._driver.name!r} was stopped while opening")
        return self._info

    def stop(self, timeout_s: float = 12.0) -> None:
        """End the thread, wait for it, and raise what had ended it before, if anything did.

        Raises:
            SourceError: its own end, or "stop-timeout": the device still hangs in a call after `timeout_s`.
            BaseException: whatever else had ended the thread.
        """
        self._stop.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise SourceError("stop-timeout", f"camera {self._driver.name!r} still hangs in its driver after {timeout_s:g} s; left behind")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._info = self._same()
            self._opened.set()
            while not self._stop.is_set():
                self._read_or_reopen()
        except (EndOfStream, Closed):  # Closed: nobody takes the frames any more
            pass
        except Exception as error:
            self._error = error
        finally:
            self._driver.close()
            self._opened.set()
            if self._ended is not None:
                self._ended(self._error)

    def _read_or_reopen(self) -> None:
        try:
            if self._lost:
                self._info = self._same()
            self._read()
        except SourceError as error:
            if self.info.ends:
                raise
            self._driver.close()
            if not self._lost:
                self._tell("lost", str(error))
            self._stop.wait(self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)

    def _same(self) -> SourceInfo:
        """Open the driver and make sure of the device: a number such as /dev/video0 may be another camera's by now.

        Raises:
            SourceError: the driver's, or "other-device".
        """
        info = self._driver.open()
        self._serial = self._serial or info.serial
        if info.serial != self._serial:
            self._driver.close()
            told = "no serial number" if info.serial is None else f"serial {info.serial}"
            raise SourceError(
                "other-device", f"camera {self._driver.name!r} is now a device with {told}, not {self._serial}; plug that one in"
            )
        return info

    def _read(self) -> None:
        while not self._stop.is_set():
            frames = self._driver.read()
            if not frames:
                continue
            if self._lost:
                self._tell("back", "")
                self._backoff_s = FIRST_BACKOFF_S
            self._put(frames)

    def _tell(self, state: State, detail: str) -> None:
        self._lost = state == "lost"
        self._notify(SourceState(self._driver.name, self.info.modality, state, time.monotonic_ns(), detail))
