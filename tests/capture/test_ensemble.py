"""A rig's devices: opened, started and stopped together; what the matching took is a log that gives the same bundles again."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from capture.driver import SourceError, create
from capture.ensemble import Device, Ensemble
from capture.frame import Bundle, Frame, Modality, SourceInfo, SourceState, Tick
from capture.rig import Given, Rig, RigSource, Told

MS = 10**6


class Scripted:
    """A camera that opens after a while, or not at all, and gives frames of its modalities together."""

    def __init__(self, name: str, modalities: tuple[Modality, ...] = ("color",), open_s: float = 0.0, fails: bool = False) -> None:
        self.name, self.closed, self.opened_at = name, 0, 0.0
        self._modalities, self._open_s, self._fails, self._seq = modalities, open_s, fails, 0

    def open(self) -> SourceInfo:
        time.sleep(self._open_s)  # a device that takes its time
        if self._fails:
            raise SourceError("no-such-device", f"{self.name} is not there")
        self.opened_at = time.monotonic()
        return SourceInfo(self.name, "scripted", self._modalities[0], 1, 1, 100.0, "host", ends=False)

    def read(self) -> list[Frame]:
        time.sleep(0.01)  # its rate: 100 frames a second
        self._seq += 1
        now, data = time.monotonic_ns(), np.random.default_rng(self._seq).integers(0, 255, (2, 2)).astype(np.uint16)
        return [Frame(self.name, modality, self._seq, None, now, data.copy()) for modality in self._modalities]

    def close(self) -> None:
        self.closed += 1


def ensemble(devices: list[Device], told: list[Told], heard: list[Given]) -> Ensemble:
    return Ensemble("test", devices, 30 * MS, 60 * MS, told.append, heard.append)


def test_all_start_at_one_instant_however_long_one_takes_to_open() -> None:
    slow, quick = Scripted("slow", open_s=0.4), Scripted("quick", ("depth",))
    told: list[Told] = []
    heard: list[Given] = []
    rig = ensemble([Device(slow, {"color": RigSource("c", "color")}), Device(quick, {"depth": RigSource("d", "depth")})], told, heard)
    began = time.monotonic()
    infos = rig.start()
    assert time.monotonic() - began < 2.0, "side by side"
    assert {name: info.modality for name, info in infos.items()} == {"c": "color", "d": "depth"}
    time.sleep(0.3)  # frames come meanwhile
    rig.stop()
    count = len(heard)
    time.sleep(0.05)  # what must not come has no event to wait for
    assert len(heard) == count, "nothing after the stop"
    frames = [given for given in heard if isinstance(given, Frame)]
    firsts = {name: next(f.arrival_t_ns for f in frames if f.source == name) for name in ("c", "d")}
    assert min(firsts.values()) >= slow.opened_at * 1e9, "frames of the quick one wait for the slow one"
    assert abs(firsts["c"] - firsts["d"]) < 0.2e9
    bundles = [one for one in told if isinstance(one, Bundle)]
    assert [b.number for b in bundles] == list(range(1, sum(f.source == "c" for f in frames) + 1)), "one for each colour frame"
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
    time.sleep(0.8)  # frames come meanwhile
    rig.stop()
    came = {name: [g.arrival_t_ns for g in heard if isinstance(g, Frame) and g.source == name] for name in ("c", "d")}
    assert armed.from_ns is not None
    assert armed.until_ns is not None
    assert all(0 <= times[0] - armed.from_ns < 0.2e9 for times in came.values())
    assert all(0 < armed.until_ns - times[-1] < 0.2e9 for times in came.values())
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
    time.sleep(0.2)  # frames come meanwhile
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
    time.sleep(1.5)
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
        until, asked = time.monotonic() + 1.0, 0
        while time.monotonic() < until:
            for report in rig.reports.values():
                assert sum(report.fates.values()) == report.frames
            asked += 1
    finally:
        sys.setswitchinterval(usual)
        rig.stop()
    assert asked > 100


def shown(told: Told) -> object:
    if isinstance(told, SourceState):
        return told
    frames = {name: frame.seq for name, frame in told.frames.items()}
    return told.number, told.t_ns, told.arrival_ns, frames, dict(told.skew_ns), told.missing, told.held
