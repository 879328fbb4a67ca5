"""FAULTS row 30: a camera unplugged and plugged in again: told at once, labels again soon, and only the same camera is taken back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from capture.driver import SourceError
from capture.frame import Frame, SourceInfo, SourceState
from capture.reader import Reader
from capture.usb import device_of, serial_of
from service.events import Event, SourceEvent
from service.feed import FeedOptions
from service.live import LiveLoop
from service.rig_file import RigFile
from service.rigs import open_rig
from tests.api.tiny import Brightness
from tests.api.tiny import Shelf as TinyShelf
from tests.live.test_live_loop import Heard
from tests.waiting import PATIENCE_S, until

AT_S, FOR_S = 1.0, 1.2
SLACK = 5


class Timed(Heard):
    """Notes when each output came."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def __call__(self, output: object) -> None:
        self.at.append(time.monotonic())
        super().__call__(output)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["color", "thermal"])
def test_row_30_an_unplugged_camera_is_lost_and_comes_back(source: str) -> None:
    faults = {source: f"&faults=unplug@{AT_S}+{FOR_S}"}
    sizes = {"color": "width=64&height=48&fps=30", "thermal": "fps=9"}
    rig = RigFile.model_validate(
        {"sources": {n: {"modality": n, "uri": f"virtual:{n}?{sizes[n]}{faults.get(n, '')}"} for n in ("color", "thermal")}}
    )
    loop, heard = LiveLoop(TinyShelf(), Brightness(), max_sessions=2), Timed()  # type: ignore[arg-type]
    loop.start()
    began = time.monotonic()
    camera = open_rig(loop, "rig", rig, FeedOptions("tiny"), heard)
    opened = time.monotonic()  # the sensor's second 0 lies between
    try:
        until(lambda: _labels_after(heard, "back"), "labels again")
        said = [
            (output.message.state, at)
            for output, at in zip(heard.outputs, heard.at, strict=False)
            if isinstance(output.message, SourceEvent)
        ]
        assert [state for state, _ in said] == ["lost", "back"]
        (_, lost), (_, back) = said
        # The driver knows at its next read.
        assert began + AT_S <= lost <= opened + AT_S + 0.5 * SLACK
        assert began + AT_S + FOR_S <= back <= opened + AT_S + FOR_S + 2.0 * SLACK
        labels = _labels_after(heard, "back")
        assert labels[0] <= opened + AT_S + FOR_S + 2.0 * SLACK
        if source == "thermal":
            between = [
                at for output, at in zip(heard.outputs, heard.at, strict=False) if isinstance(output.message, Event) and lost < at < back
            ]
            assert len(between) > FOR_S * 30 / SLACK, "colour goes on"
    finally:
        camera.close()
        loop.stop(PATIENCE_S)
    counts = camera.feed.ledger.counts()
    assert counts.in_flight == 0


def _labels_after(heard: Timed, state: str) -> list[float]:
    """When labels came, after a state was told."""
    seen, labels = False, []
    for output, at in zip(list(heard.outputs), heard.at, strict=False):
        seen = seen or (isinstance(output.message, SourceEvent) and output.message.state == state)
        if seen and isinstance(output.message, Event) and any(face.prediction for face in output.message.faces):
            labels.append(at)
    return labels


class Swapped:
    """A camera that is lost once, and another device stands in its place for a while."""

    name = "cam"

    def __init__(self, serials: list[str]) -> None:
        self.serials, self.reads = serials, 0

    def open(self) -> SourceInfo:
        serial = self.serials.pop(0)
        return SourceInfo("cam", "swapped", "color", 1, 1, 30.0, "host", False, serial=serial)

    def read(self) -> list[Frame]:
        self.reads += 1
        if self.reads == 1:
            raise SourceError("source-lost", "gone")
        time.sleep(0.01)
        return []

    def close(self) -> None:
        pass


def test_row_30_another_device_under_the_same_number_is_not_taken() -> None:
    driver = Swapped(["A", "B", "B", "A"])
    states: list[SourceState] = []
    reader = Reader(driver, lambda frames: None, states.append)
    assert reader.start().serial == "A"
    until(lambda: not driver.serials, "all have been opened")
    reader.stop()
    assert driver.serials == []
    assert [state.state for state in states] == ["lost"]


def test_row_30_a_rig_file_may_insist_on_a_serial_number() -> None:
    reader = Reader(Swapped(["B"]), lambda frames: None, lambda state: None, serial="A")
    with pytest.raises(SourceError, match="serial B, not A") as refused:
        reader.start()
    assert refused.value.code == "other-device"


def test_row_30_a_webcam_is_found_by_its_serial_under_another_number(tmp_path: Path) -> None:
    # The kernel's tree: class links to devices, `device` in each to the USB interface, whose parent has the serial number.
    tree = tmp_path / "class"
    tree.mkdir()
    for number, (serial, index) in enumerate((("A", 0), ("A", 1), ("B", 0), (None, 0))):
        interface = tmp_path / f"usb{serial or number}" / "1.0"
        node = interface / "video4linux" / f"video{number}"
        node.mkdir(parents=True)
        (node / "index").write_text(f"{index}\n")
        (node / "device").symlink_to(interface)
        if serial is not None:
            (interface.parent / "serial").write_text(f"{serial}\n")
        (tree / f"video{number}").symlink_to(node)
    assert [serial_of(Path(f"/dev/video{n}"), tree) for n in range(4)] == ["A", "A", "B", None]
    assert (device_of("B", tree), device_of("A", tree), device_of("C", tree)) == (Path("/dev/video2"), Path("/dev/video0"), None)
