"""The devices of a rig: opened side by side, started and stopped at one instant, read by a thread each, and one thread that matches.

Owns the readers, the thread `sync:<name>` and the moments at which nothing came (`Tick`). Does not own matching (`rig.py`) or what is done
with bundles. What the matching takes is a plain sequence of frozen inputs, each shown to `heard` before it is used: a log of it is the run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from capture.driver import Driver, SourceError, Startable
from capture.frame import Frame, Modality, SourceInfo, SourceState, Tick
from capture.mailbox import Mailbox
from capture.reader import Reader
from capture.rig import Given, Rig, RigSource, SourceReport, Told

log = logging.getLogger("mien.capture")
TICK_S = 0.02
ROOM = 512
LEAD_NS = 500_000_000
"""How far ahead a start or a stop is set, where devices must hear of it: longer than a `remote` driver takes to tell its node."""
ON_THE_WAY_NS = 200_000_000
"""How long frames from before a stop may be on their way."""
FOREVER_NS = 2**63


@dataclass(frozen=True, slots=True)
class Device:
    """One driver and the sources its frames are, by modality; frames of another modality are left out. `serial`: the only device taken."""

    driver: Driver
    sources: Mapping[Modality, RigSource]
    serial: str | None = None


class Ensemble:
    """Reads `devices` as one rig. The first source of the first device gives the rate.

    `tell` gets bundles and states, `heard` each input before them; both are called in the thread `sync:<name>` and must not wait.
    `infos`: what was learned of each source, once all are open; `overrun` counts inputs that were lost because that thread was late,
    `unwanted` by source the frames of its device that no source of the rig is for.
    """

    def __init__(
        self, name: str, devices: Sequence[Device], tolerance_ns: int, deadline_ns: int,
        tell: Callable[[Told], object], heard: Callable[[Given], object] = lambda given: None,
    ) -> None:  # fmt: skip
        self._name, self._devices = name, devices
        self._limits = (tolerance_ns, deadline_ns)
        self._tell, self._heard = tell, heard
        self._rig: Rig | None = None
        # Reports are asked for in other threads, where half an input must not be seen: its frame counted and its fate not.
        self._matching = threading.Lock()
        self._open = False
        self._armed = [d.driver for d in devices if isinstance(d.driver, Startable) and d.driver.armed]
        self._from_ns, self._until_ns = 0, FOREVER_NS
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._inbox: Mailbox[Given] = Mailbox(ROOM, "latest", self._wake.set)
        self._readers = [Reader(d.driver, self._putter(d), self._teller(d), self._ender(d), d.serial) for d in devices]
        self._thread = threading.Thread(target=self._run, name=f"sync:{name}", daemon=True)
        self.infos: dict[str, SourceInfo] = {}
        self.error: BaseException | None = None
        self.overrun = 0
        self.unwanted: dict[str, Counter[Modality]] = {}

    def start(self, timeout_s: float = 20.0) -> dict[str, SourceInfo]:
        """Open all devices side by side, then let their frames in from one instant on; return what was learned by source.

        Raises:
            SourceError: one could not be opened; all are closed again.
        """
        with ThreadPoolExecutor(len(self._readers), "open") as pool:
            opening = [pool.submit(reader.start, timeout_s) for reader in self._readers]
        failed = [error for error in (one.exception() for one in opening) if error is not None]
        if failed:
            self.stop()
            raise failed[0]
        infos, sources = self.infos, list[RigSource]()
        for device, one in zip(self._devices, opening, strict=True):
            for modality, source in device.sources.items():
                infos[source.name] = replace(one.result(), name=source.name, modality=modality)
                sources.append(source.learned(infos[source.name]))
        self._rig = Rig(sources, *self._limits)
        self._thread.start()
        self._from_ns = time.monotonic_ns() + (LEAD_NS if self._armed else 0)
        for driver in self._armed:
            driver.start(self._from_ns)
        self._open = True
        return infos

    def stop(self, timeout_s: float = 12.0) -> None:
        """Let no frame in from one instant on, end all readers side by side, give out what waits, and end the thread.

        That instant is now; where devices are armed it is as soon as all of them can have heard of it.

        Raises:
            SourceError: a device still hangs in its driver.
        """
        if self._armed and self._open:
            self._until_ns = time.monotonic_ns() + LEAD_NS
            for driver in self._armed:
                driver.stop(self._until_ns)
            # Nothing says that a frame is the last one from before; meanwhile the readers let them in.
            time.sleep((LEAD_NS + ON_THE_WAY_NS) / 1e9)
        self._open = False
        with ThreadPoolExecutor(len(self._readers), "close") as pool:
            closing = [pool.submit(reader.stop, timeout_s) for reader in self._readers]
        self._stopped.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        for one in closing:
            error = one.exception()
            if isinstance(error, SourceError) and error.code == "stop-timeout":
                raise error

    @property
    def over(self) -> bool:
        """Whether no bundle will come any more: the device of the first source has ended (a clip), or the matching has failed."""
        return self.error is not None or (self._open and not self._readers[0].alive)

    @property
    def reports(self) -> dict[str, SourceReport]:
        """Return how each source has been; empty before the start."""
        with self._matching:
            return {} if self._rig is None else self._rig.reports

    def _putter(self, device: Device) -> Callable[[list[Frame]], None]:
        names = [source.name for source in device.sources.values()]

        def put(frames: list[Frame]) -> None:
            for frame in frames:
                source = device.sources.get(frame.modality)
                if not self._open or not self._from_ns <= frame.arrival_t_ns < self._until_ns:
                    continue
                if source is None:
                    for name in names:
                        self.unwanted.setdefault(name, Counter())[frame.modality] += 1
                else:
                    self._receive(frame if frame.source == source.name else replace(frame, source=source.name))

        return put

    def _teller(self, device: Device) -> Callable[[SourceState], None]:
        def notice(state: SourceState) -> None:
            for modality, source in device.sources.items():
                self._receive(replace(state, source=source.name, modality=modality))

        return notice

    def _ender(self, device: Device) -> Callable[[BaseException | None], None]:
        def ended(error: BaseException | None) -> None:
            if self._open:
                self._teller(device)(SourceState("", "color", "lost", time.monotonic_ns(), "" if error is None else type(error).__name__))

        return ended

    def _receive(self, given: Given) -> None:
        lost = self._inbox.put(given)
        if lost:
            self.overrun += len(lost)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._wake.wait(TICK_S)
                self._wake.clear()
                while (given := self._inbox.take()) is not None:
                    self._advance(given)
                self._advance(Tick(time.monotonic_ns()))
            assert self._rig is not None
            with self._matching:
                rest = self._rig.flush()
            for bundle in rest:
                self._tell(bundle)
        except Exception as error:
            self.error = error
            log.exception("the matching of rig %s has ended by an error", self._name)

    def _advance(self, given: Given) -> None:
        assert self._rig is not None
        self._heard(given)
        with self._matching:
            said = self._rig.advance(given)
        for told in said:
            self._tell(told)
