"""A rig's devices: opened, started and stopped together; what the matching took is a log that gives the same bundles again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from capture.driver import SourceError, create
from capture.ensemble import Device, Ensemble
from capture.frame import Bundle, Frame, Modality, SourceInfo, SourceState, Tick
from capture.rig import Given, Rig, RigSource, Told
from tests.waiting import PATIENCE_S, until

MS = 10**6


class Scripted:
    """A camera whose opening takes as long as `opens`, or fails, and that gives frames of its modalities together.

    `arrivals_ns`: of all that it gave, by number; `opened_ns`: when it was open.
    """

    def __init__(
        self, name: str, modalities: tuple[Modality, ...] = ("color",), opens: Callable[[], object] = lambda: None, fails: bool = False
    ) -> None:
        self.name, self.closed, self.opened_ns = name, 0, 0
        self.arrivals_ns: list[int] = []
        self._modalities, self._opens, self._fails = modalities, opens, fails

    def open(self) -> SourceInfo:
        self._opens()
        if self._fails:
            raise SourceError("no-such-device", f"{self.name} is not there")
        self.opened_ns = time.monotonic_ns()
        return SourceInfo(self.name, "scripted", self._modalities[0], 1, 1, 100.0, "host", ends=False)

    def read(self) -> list[Frame]:
        time.sleep(0.01)  # its rate: 100 frames a second
        seq, now = len(self.arrivals_ns) + 1, time.monotonic_ns()
        data = np.random.default_rng(seq).integers(0, 255, (2, 2)).astype(np.uint16)
        frames = [Frame(self.name, modality, seq, None, now, data.copy()) for modality in self._modalities]
        self.arrivals_ns.append(now)
        return frames

    def close(self) -> None:
        self.closed += 1


def ensemble(devices: list[Device], told: list[Told], heard: list[Given]) -> Ensemble:
    return Ensemble("test", devices, 30 * MS, 60 * MS, told.append, heard.append)


def given_frames(heard: list[Given], source: str) -> list[Frame]:
    return [given for given in heard if isinstance(given, Frame) and given.source == source]


def test_all_start_at_one_instant_however_long_one_takes_to_open() -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)  # passed if they open side by side alone
    quick = Scripted("quick", ("depth",), opens=both.wait)

    def slowly() -> None:
        both.wait()
        until(lambda: len(quick.arrivals_ns) >= 5, "the quick one gives frames")

    slow = Scripted("slow", opens=slowly)
    told: list[Told] = []
    heard: list[Given] = []
    rig = ensemble([Device(slow, {"color": RigSource("c", "color")}), Device(quick, {"depth": RigSource("d", "depth")})], told, heard)
    infos = rig.start()
    started = {"c": len(slow.arrivals_ns), "d": len(quick.arrivals_ns)}
    assert {name: info.modality for name, info in infos.items()} == {"c": "color", "d": "depth"}
    until(lambda: all(len(given_frames(heard, name)) >= 10 for name in ("c", "d")), "ten frames of each")
    rig.stop()
    count = len(heard)
    time.sleep(0.05)  # what must not come has no event to wait for
    assert len(heard) == count, "nothing after the stop"
    firsts = {name: given_frames(heard, name)[0] for name in ("c", "d")}
    assert min(frame.arrival_t_ns for frame in firsts.values()) >= slow.opened_ns, "frames of the quick one wait for the slow one"
    assert all(firsts[name].seq <= started[name] + 1 for name in ("c", "d")), "and none after that is left out"
    bundles = [one for one in told if isinstance(one, Bundle)]
    assert [b.number for b in bundles] == list(range(1, len(given_frames(heard, "c")) + 1)), "one for each colour frame"
    assert slow.closed == quick.closed == 1


def test_devices_that_can_be_told_start_and_stop_with_all_others() -> None:
    class Armed(Scripted):
        armed = True
        from_ns: int | None = None
        until_ns: int | None = None

        def start(self, at_ns: int | None = None) -> None:
            self.from_ns = at_ns

        def stop(self, at_ns: int | None = None) -> None:
            self.until_ns = at_ns

    armed, plain, heard = Armed("armed"), Scripted("plain", ("depth", "ir")), list[Given]()
    rig = ensemble([Device(armed, {"color": RigSource("c", "color")}), Device(plain, {"depth": RigSource("d", "depth")})], [], heard)
    rig.start()
    until(lambda: all(len(given_frames(heard, name)) >= 10 for name in ("c", "d")), "ten frames of each")
    asked_ns = time.monotonic_ns()
    rig.stop()
    assert armed.from_ns is not None
    assert armed.until_ns is not None
    assert armed.until_ns > asked_ns
    for name, device in (("c", armed), ("d", plain)):
        came = [frame.seq for frame in given_frames(heard, name)]
        due = [seq for seq, at_ns in enumerate(device.arrivals_ns, 1) if armed.from_ns <= at_ns < armed.until_ns]
        assert came == due[: len(came)]
        assert device.arrivals_ns[came[-1] - 1] >= asked_ns, "they go on until the instant"
    assert {name: set(kinds) for name, kinds in rig.unwanted.items()} == {"d": {"ir"}}


def test_one_that_does_not_open_closes_all() -> None:
    good, bad = Scripted("good"), Scripted("bad", ("depth",), fails=True)
    rig = ensemble([Device(good, {"color": RigSource("c", "color")}), Device(bad, {"depth": RigSource("d", "depth")})], [], [])
    with pytest.raises(SourceError, match="bad is not there"):
        rig.start()
    assert (good.closed, bad.closed) == (1, 1)
    assert not [thread for thread in threading.enumerate() if thread.name in ("capture:good", "capture:bad", "sync:test")]


def test_one_device_may_be_several_sources_and_unwanted_pictures_are_left_out() -> None:
    both = Scripted("both", ("color", "depth", "ir"))
    told: list[Told] = []
    heard: list[Given] = []
    rig = ensemble([Device(both, {"color": RigSource("c", "color"), "depth": RigSource("d", "depth")})], told, heard)
    rig.start()
    until(lambda: len(told) > 10, "ten bundles")
    rig.stop()
    assert {given.source for given in heard if isinstance(given, Frame)} == {"c", "d"}
    complete = [one for one in told if isinstance(one, Bundle) and set(one.frames) == {"c", "d"}]
    assert len(complete) > 5
    assert all(b.frames["c"].seq == b.frames["d"].seq for b in complete[1:])


def test_the_log_of_inputs_is_the_run() -> None:
    told: list[Told] = []
    heard: list[Given] = []
    sources = {
        "color": RigSource("c", "color"), "depth": RigSource("d", "depth"), "thermal": RigSource("t", "thermal", hold_ns=200 * MS),
    }  # fmt: skip
    uris = {
        "color": "virtual:color?width=64&height=48&fps=60", "depth": "virtual:depth?fps=60&offset_ms=300&faults=jump@0.5:2",
        "thermal": "virtual:thermal?fps=20&faults=unplug@0.4+0.4",
    }  # fmt: skip
    devices = [Device(create(uri, modality), {modality: sources[modality]}) for modality, uri in uris.items()]  # type: ignore[dict-item,index]
    rig = ensemble(devices, told, heard)
    infos = rig.start()
    until(
        lambda: {s.source for s in told if isinstance(s, SourceState) and s.state in ("timebase-reset", "back")} == {"d", "t"},
        "both faults",
    )
    rig.stop()
    again = Rig([source.learned(infos[source.name]) for source in sources.values()], 30 * MS, 60 * MS)
    repeated = [one for given in heard for one in again.advance(given)] + again.flush()
    assert [shown(one) for one in repeated] == [shown(one) for one in told]
    assert {type(given) for given in heard} == {Frame, SourceState, Tick}
    assert [one.state for one in told if isinstance(one, SourceState) and one.source == "d"] == ["timebase-reset"]


def test_a_report_is_never_of_half_an_input() -> None:
    both = Device(Scripted("both", ("color", "depth")), {"color": RigSource("c", "color"), "depth": RigSource("d", "depth")})
    rig = ensemble([both], [], [])
    rig.start()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asked, frames = 0, 0
        while asked < 1000 or frames < 100:
            for report in rig.reports.values():
                assert sum(report.fates.values()) == report.frames
                frames = report.frames
            asked += 1
    finally:
        sys.setswitchinterval(usual)
        rig.stop()


def shown(told: Told) -> object:
    if isinstance(told, SourceState):
        return told
    frames = {name: frame.seq for name, frame in told.frames.items()}
    return told.number, told.t_ns, told.arrival_ns, frames, dict(told.skew_ns), told.missing, told.held
