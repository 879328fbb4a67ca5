"""A source's health: lost, frozen, silent, back; a still scene is not frozen."""

from __future__ import annotations

import numpy as np
import pytest

from capture.frame import Frame, Packet, SourceState
from capture.health import FROZEN_AFTER_NS, SILENT_AFTER_NS, Health, digest_of

MS = 1_000_000
RNG = np.random.default_rng(0)
STILL = RNG.integers(30_000, 30_100, (60, 80)).astype(np.uint16)


def frame(t_ms: float, picture: object = None, flags: frozenset[str] = frozenset()) -> Frame:
    data = STILL.copy() if picture is None else np.asarray(picture)
    return Frame("thermal", "thermal", 1, None, round(t_ms * MS), data, flags=flags)


def noisy() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """The still scene as a sensor gives it: one count of noise in a few pixels."""
    picture = STILL.copy()
    picture[tuple(RNG.integers(0, (60, 80)))] += 1
    picture[RNG.integers(0, 60), :] ^= 1
    return picture


@pytest.mark.parametrize("fps", [9, 30])
def test_the_same_bytes_are_frozen_within_a_second_and_other_bytes_back(fps: int) -> None:
    health = Health("thermal", "thermal")
    said = [health.frame(frame(1000 * i / fps)) for i in range(3 * fps)]
    ((at, state),) = [(i, state) for i, state in enumerate(said) if state is not None]
    assert isinstance(state, SourceState)
    assert (state.state, state.since_ns) == ("frozen", 0)
    assert FROZEN_AFTER_NS <= 10**9 * at / fps <= 10**9
    back = health.frame(frame(9_000, noisy()))
    assert back is not None
    assert (back.state, health.state) == ("back", "well")


def test_noise_in_a_still_scene_does_not_alarm() -> None:
    health = Health("thermal", "thermal")
    for i in range(900):
        picture = STILL + RNG.integers(0, 2, STILL.shape).astype(np.uint16)
        assert health.frame(frame(33 * i, picture)) is None


def test_a_shutter_that_says_so_is_not_frozen() -> None:
    health = Health("thermal", "thermal")
    assert [health.frame(frame(33 * i, flags=frozenset({"shutter"}))) for i in range(100)] == [None] * 100


def test_silence_is_a_loss_and_a_frame_its_end() -> None:
    health = Health("thermal", "thermal")
    health.frame(frame(0))
    assert health.tick(SILENT_AFTER_NS - 1) is None
    lost = health.tick(SILENT_AFTER_NS)
    assert lost is not None
    assert (lost.state, lost.since_ns) == ("lost", 0)
    assert health.tick(SILENT_AFTER_NS * 2) is None
    again = health.frame(frame(9_000, noisy()))
    assert again is not None
    assert again.state == "back"


def test_what_the_reader_says_is_told_once() -> None:
    health = Health("thermal", "thermal")
    lost = SourceState("thermal", "thermal", "lost", 5)
    back = SourceState("thermal", "thermal", "back", 9)
    assert health.told(lost) is lost
    assert health.told(lost) is None
    assert health.tick(10**12) is None
    assert health.told(back) is back
    assert health.told(back) is None


def test_a_digest_is_of_the_packet_where_there_is_one() -> None:
    one = Frame("c", "color", 1, None, 0, packet=Packet("jpeg", b"one"))
    two = Frame("c", "color", 2, None, 0, packet=Packet("jpeg", b"two"))
    assert digest_of(one) == digest_of(Frame("c", "color", 3, None, 0, packet=Packet("jpeg", b"one"))) != digest_of(two)
