"""A reader's thread: it ends when told or when its source does, gets a lost camera back, and lets no error die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

import capture.reader
from capture.driver import Driver, EndOfStream, SourceError, create
from capture.frame import Frame, SourceInfo, SourceState
from capture.mailbox import Closed, Mailbox, MailboxFull
from capture.reader import Reader
from tests.waiting import PATIENCE_S, until


class Unsteady:
    """A live camera that follows a script: a frame ("f"), nothing yet ("."), a loss ("!"), an open that fails ("x"), a bug ("b").

    An "x" is met at open, everything else at read; when the script is over it gives frames for ever.
    """

    def __init__(self, script: str, opens: Callable[[], None] = lambda: None) -> None:
        self.name = "door"
        self.calls: list[tuple[str, str]] = []  # what was called, and in which thread
        self.opened_ns: list[int] = []
        self._script = list(script)
        self._opens = opens
        self._inner: Driver = create("synthetic:?width=32&height=32&realtime=0", self.name)

    def open(self) -> SourceInfo:
        self._note("open")
        self.opened_ns.append(time.monotonic_ns())
        self._opens()
        if self._script[:1] == ["x"]:
            self._script.pop(0)
            raise SourceError("no-such-device", "door: there is no such camera")
        return self._inner.open()

    def read(self) -> list[Frame]:
        self._note("read")
        step = self._script.pop(0) if self._script else "f"
        if step == "!":
            raise SourceError("source-lost", "door: unplugged")
        if step == "b":
            raise ZeroDivisionError("a bug")
        time.sleep(0.001)
        return self._inner.read() if step == "f" else []

    def close(self) -> None:
        self._note("close")

    def _note(self, call: str) -> None:
        self.calls.append((call, threading.current_thread().name))


def test_a_source_with_an_end_is_read_to_its_end() -> None:
    box: Mailbox[list[Frame]] = Mailbox(100, "all")
    reader = Reader(create("synthetic:?width=32&height=32&count=40&realtime=0", "clip"), box.put, pytest.fail, box.close)
    info = reader.start()
    assert info == reader.info
    assert info.ends
    until(lambda: not reader.alive, "the thread ends")
    taken = [box.take() for _ in range(40)]
    assert [frame.seq for frames in taken for frame in frames or []] == list(range(1, 41))
    with pytest.raises(Closed):
        box.take()
    reader.stop()
    assert reader.error is None


def test_the_driver_is_used_in_its_own_thread_alone() -> None:
    driver = Unsteady("ff.f!")
    frames: list[Frame] = []
    reader = Reader(driver, frames.extend, lambda _: None)
    reader.start()
    until(lambda: len(frames) >= 5, "five frames")
    reader.stop()
    assert {thread for _, thread in driver.calls} == {"capture:door"}
    assert driver.calls[0][0] == "open"
    assert driver.calls[-1][0] == "close"
    assert not reader.alive


def test_a_lost_camera_is_told_and_comes_back() -> None:
    driver = Unsteady("ff!xxf!.f")
    happened: list[str] = []
    states: list[SourceState] = []

    def notify(state: SourceState) -> None:
        states.append(state)
        happened.append(state.state)

    reader = Reader(driver, lambda frames: happened.extend("frame" for _ in frames), notify)
    reader.start()
    until(lambda: happened.count("back") == 2 and happened[-1] == "frame", "it is back for good")
    assert not reader.lost
    reader.stop()
    assert happened[:8] == ["frame", "frame", "lost", "back", "frame", "lost", "back", "frame"]
    assert [(state.source, state.modality, state.detail) for state in states[:2]] == [
        ("door", "color", "door: unplugged"),
        ("door", "color", ""),
    ]
    # 0.1 s, then twice as long each time; after a return from the beginning again.
    gaps = [(b - a) / 1e9 for a, b in zip(driver.opened_ns, driver.opened_ns[1:], strict=False)]
    assert len(gaps) == 4
    assert all(gap >= least for gap, least in zip(gaps, [0.1, 0.2, 0.4, 0.1], strict=True))


def test_opening_that_fails_at_first_is_the_callers() -> None:
    ended: list[BaseException | None] = []
    reader = Reader(Unsteady("x"), pytest.fail, pytest.fail, ended.append)
    with pytest.raises(SourceError, match="no such camera"):
        reader.start()
    assert not reader.alive
    assert ended == [reader.error]
    with pytest.raises(SourceError, match="no such camera"):
        reader.stop()


def test_opening_that_hangs_is_given_up() -> None:
    release = threading.Event()
    reader = Reader(Unsteady("f", lambda: release.wait(PATIENCE_S) and None), pytest.fail, pytest.fail)
    with pytest.raises(SourceError) as caught:
        reader.start(timeout_s=0.05)
    assert caught.value.code == "open-timeout"
    with pytest.raises(SourceError) as caught:
        reader.stop(timeout_s=0.05)
    assert caught.value.code == "stop-timeout"
    release.set()
    reader.stop()
    assert not reader.alive


def test_no_error_dies_in_the_thread() -> None:
    box: Mailbox[list[Frame]] = Mailbox()
    reader = Reader(Unsteady("fb"), box.put, pytest.fail, box.close)
    reader.start()
    until(lambda: not reader.alive, "the thread ends")
    assert box.take() is not None
    with pytest.raises(ZeroDivisionError):
        box.take()
    assert isinstance(reader.error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        reader.stop()


def test_a_source_with_an_end_is_not_opened_again() -> None:
    class Broken:
        name = "clip"

        def open(self) -> SourceInfo:
            return SourceInfo("clip", "broken", "color", 1, 1, None, "media", ends=True)

        def read(self) -> list[Frame]:
            raise SourceError("clip-unreadable", "clip: damaged")

        def close(self) -> None:
            pass

    reader = Reader(Broken(), pytest.fail, pytest.fail)
    reader.start()
    until(lambda: not reader.alive, "the thread ends")
    with pytest.raises(SourceError, match="damaged"):
        reader.stop()


def test_a_mailbox_that_may_lose_nothing_ends_the_reader_when_full() -> None:
    box: Mailbox[list[Frame]] = Mailbox(3, "all")
    reader = Reader(Unsteady(""), box.put, pytest.fail, box.close)
    reader.start()
    until(lambda: not reader.alive, "the thread ends")
    assert [box.take() is not None for _ in range(3)] == [True] * 3
    with pytest.raises(MailboxFull):
        box.take()


def test_a_taker_that_leaves_ends_the_reader_without_an_error() -> None:
    box: Mailbox[list[Frame]] = Mailbox()
    reader = Reader(Unsteady(""), box.put, pytest.fail)
    reader.start()
    box.close()
    until(lambda: not reader.alive, "the thread ends")
    reader.stop()


def test_stop_does_not_wait_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture.reader, "FIRST_BACKOFF_S", 3600.0)
    reader = Reader(Unsteady("f!"), lambda _: None, lambda _: None)
    reader.start()
    until(lambda: reader.lost, "it is lost")
    reader.stop()
    assert not reader.alive


def test_stop_before_start() -> None:
    fresh = Reader(Unsteady(""), pytest.fail, pytest.fail)
    fresh.stop()
    with pytest.raises(RuntimeError, match="not been opened"):
        _ = fresh.info


def test_a_reader_never_waits_for_its_taker() -> None:
    box: Mailbox[list[Frame]] = Mailbox()
    driver = create("synthetic:?width=32&height=32&count=500&realtime=0", "fast")
    reader = Reader(driver, box.put, pytest.fail, box.close)
    reader.start()
    until(lambda: not reader.alive, "the thread ends")
    last = box.take()
    assert last is not None
    assert last[0].seq == 500
    assert box.counts.received == 500 == box.counts.taken + box.counts.superseded
    with pytest.raises(EndOfStream):
        driver.read()
