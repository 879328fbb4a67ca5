"""What travels between a node and its driver, and what four timestamps say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.exchange import Exchange, RemoteClock
from capture.frame import Frame, Packet
from capture.link import LinkError, pack, said, unpack, whole
from tests.record.test_tape import pictures, same

MS = 1_000_000


@given(st.lists(st.tuples(pictures(), st.none() | st.integers(-(2**62), 2**62), st.integers(0, 2**62)), max_size=4))
@settings(max_examples=60)
def test_frames_arrive_as_they_were_sent(sent: list[tuple[dict[str, Any], int | None, int]]) -> None:
    frames = [
        Frame("cam", "depth", seq, device, arrival, **picture, scale=0.1, unit="m", dropped_before=seq, flags=frozenset({"x"}))
        for seq, (picture, device, arrival) in enumerate(sent, 1)
    ]
    for before, after in zip(frames, unpack(pack(frames, 95)), strict=True):
        if before.data is not None and before.data.ndim == 3 and before.data.size:
            assert after.packet is not None  # colour pixels travel as JPEG
            assert after.packet.format == "jpeg"
        else:
            assert same(before, after)


@given(st.binary(max_size=200), st.binary(max_size=40))
@settings(max_examples=100)
def test_whatever_comes_is_frames_or_refused(data: bytes, tail: bytes) -> None:
    frame = Frame("cam", "thermal", 1, None, 5, data=np.arange(6, dtype=np.uint16).reshape(2, 3))
    good = pack([frame, Frame("cam", "color", 2, 1, 5, packet=Packet("jpeg", data))], 95)
    for message in (data, good[: len(good) - 1 - len(tail)], good + b"x", good[:4] + data + good[4:] if data else b""):
        with pytest.raises(LinkError):
            unpack(message)


@pytest.mark.parametrize(
    "picture",
    [
        {"packet": "gif"}, {"png": "uint16", "shape": [2, 3]}, {"png": "float32", "shape": [1, 1]}, {"raw": "uint16", "shape": [9, 9]},
        {"raw": "object", "shape": [1, 1]}, {"raw": "uint8", "shape": [10**6, 10**6]}, {"raw": "uint8", "shape": [-1, 1]}, {}, 3,
    ],
)  # fmt: skip
def test_a_picture_that_is_none_is_refused(picture: Any) -> None:
    facts = {"source": "a", "modality": "depth", "seq": 1, "device_t_ns": None, "arrival_t_ns": 1, "bytes": 0, "picture": picture}
    head = json.dumps({"frames": [facts]}).encode()
    with pytest.raises(LinkError):
        unpack(len(head).to_bytes(4, "little") + head)


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", '{"type":3}', "{"])
def test_a_message_needs_a_type(text: str) -> None:
    with pytest.raises(LinkError):
        said(text)
    for body in ({"type": "x"}, {"type": "x", "n": "3"}, {"type": "x", "n": True}, {"type": "x", "n": 2**63}, {"type": "x", "n": 1.5}):
        with pytest.raises(LinkError):
            whole(body, "n")


@given(
    st.integers(-(10**15), 10**15), st.floats(-50e-6, 50e-6), st.integers(0, 50 * MS), st.integers(0, 50 * MS),
    st.lists(st.tuples(st.integers(0, 100 * MS), st.integers(0, 100 * MS), st.integers(0, 2000 * MS)), min_size=1, max_size=60),
)  # fmt: skip
def test_the_offset_is_known_to_its_uncertainty(
    offset_ns: int, drift: float, out_ns: int, back_ns: int, rest: list[tuple[int, int, int]]
) -> None:
    """Whatever delays, however unlike the two ways: the truth is within what the estimate says of itself."""
    clock, now = RemoteClock(), 0
    for jitter_out, jitter_back, pause in rest:
        now += pause
        theirs = lambda at: at + offset_ns + round(at * drift)  # noqa: E731
        heard = now + out_ns + jitter_out
        received = heard + 1000 + back_ns + jitter_back
        clock.add(Exchange(now, theirs(heard), theirs(heard + 1000), received))
        now = received
        estimate = clock.offset(now)
        assert estimate is not None
        assert abs(estimate.offset_ns - (theirs(now) - now)) <= estimate.uncertainty_ns + 10
        assert abs(estimate.ours(estimate.theirs(now)) - now) == 0


def test_the_least_delayed_of_the_last_eight_is_believed() -> None:
    clock = RemoteClock()
    assert clock.offset(0) is None
    for n in range(20):
        delay = MS if n == 14 else 40 * MS
        clock.add(Exchange(n * 1000 * MS, n * 1000 * MS + 500 + delay, n * 1000 * MS + 500 + delay, n * 1000 * MS + delay + MS))
    estimate = clock.offset(19_041 * MS)
    assert estimate is not None
    assert estimate.uncertainty_ns < 2 * MS
    clock.add(Exchange(5, 9, 8, 10))  # answered before it was heard
    clock.add(Exchange(5, 9, 100, 10))  # longer there than away
    assert len(clock) == 8
