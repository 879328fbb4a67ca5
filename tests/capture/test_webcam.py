"""What of the webcam driver runs without a webcam: its errors, its packets, its stamps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.driver import SourceError, create
from capture.drivers.webcam import kernel_stamp_ns, rgb_from_yuyv, trimmed

JPEG = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()


def test_a_missing_camera_is_named_with_those_there_are() -> None:
    with pytest.raises(SourceError) as caught:
        create("webcam:4000").open()
    assert caught.value.code == "no-such-device"
    assert "/dev/video4000: there is no such camera" in str(caught.value)
    there = sorted(str(path) for path in Path("/dev").glob("video*"))
    assert (there[0] if there else "there is no /dev/video* here: plug the camera in") in str(caught.value)


def test_something_else_under_dev_is_no_camera(capfd: pytest.CaptureFixture[str]) -> None:
    for path, code in (("/dev/null", "device-unusable"), ("/dev/shm", "device-unusable")):
        with pytest.raises(SourceError) as caught:
            create(f"webcam:{path}").open()
        assert caught.value.code == code
        assert path in str(caught.value)
    capfd.readouterr()


@given(st.binary(max_size=50).filter(lambda tail: b"\xff\xd9" not in tail and not tail.startswith(b"\xd9")))
def test_a_packet_ends_with_its_picture(tail: bytes) -> None:
    assert trimmed(JPEG + tail) == JPEG


START, END = b"\xff\xd8\xff", b"\xff\xd9"


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xfe" + END, b"\x00" + START + END, b"\x89PNG", END])
def test_a_packet_that_begins_otherwise_is_none(data: bytes) -> None:
    assert trimmed(data) is None


@given(st.binary(max_size=50), st.binary(max_size=50).filter(lambda tail: END not in tail))
def test_a_packet_ends_at_its_last_end_marker(body: bytes, tail: bytes) -> None:
    # In the body there may be one more: a thumbnail's.
    assert trimmed(START + body + END + tail) == START + body + END
    assert trimmed(START + END + body + END + tail) == START + END + body + END


@given(st.binary(max_size=50).filter(lambda body: END not in START + body))
def test_a_packet_without_an_end_marker_is_left_to_the_decoder(body: bytes) -> None:
    assert trimmed(START + body) == START + body


def test_yuyv_is_rgb() -> None:
    raw = np.zeros((4, 6, 2), np.uint8)
    raw[..., 0], raw[..., 1] = 235, 128  # white in video range
    assert (rgb_from_yuyv(raw) == 255).all()
    raw[:, 0::2, 1], raw[:, 1::2, 1] = 90, 240  # U, V of red
    raw[..., 0] = 81
    red = rgb_from_yuyv(raw).reshape(-1, 3).mean(axis=0)
    assert red[0] > 250
    assert red[1] < 5
    assert red[2] < 5


@pytest.mark.parametrize(("position_ms", "expected"), [(0.0, None), (99_000.25, 99_000_250_000), (100_001.0, None), (80_000.0, None)])
def test_only_a_stamp_just_before_arrival_is_the_kernels(position_ms: float, expected: int | None) -> None:
    assert kernel_stamp_ns(position_ms, arrival_ns=100_000_000_000) == expected
