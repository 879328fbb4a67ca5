"""Row 19: what is no image, a broken one, or one too large costs its sender a frame, and nobody any memory."""

from __future__ import annotations

import os
import threading

import cv2
import numpy as np
import psutil
import pytest

from tests.api.tiny import Running, framed, picture, rest, running, said, tell

MIB = 2**20


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A real JPEG of 16000×16000 that fits a message: optimised Huffman tables, one colour."""
    ok, data = cv2.imencode(".jpg", np.zeros((16000, 16000), np.uint8), [cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    assert ok
    assert len(data) < 2 * MIB
    return data.tobytes()


def _rejection(server: Running, message: bytes) -> tuple[str, int]:
    """Send one frame, then a good one on the same connection; return the rejection's code and number."""
    with server.connect() as socket:
        said(socket)
        tell(socket, "session.update", policy="all")
        said(socket)
        socket.send(message)
        rejected = said(socket)
        assert rejected["type"] == "frame.rejected"
        socket.send(picture())
        assert (said(socket)["frame"]) == 2
        tell(socket, "session.close")
        closed = rest(socket)[0][-1]
        assert (closed["received"], closed["used"], closed["rejected"]) == (2, 1, 1)
        return rejected["code"], rejected["frame"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "not-an-image"),
        (b"not a picture", "not-an-image"),
        (b"GIF89a" + bytes(100), "not-an-image"),
        (b"\xff\xd8\xff", "image-broken"),
        (picture()[:-20], "image-broken"),
        (picture()[:200], "image-broken"),
        (picture(kind="png")[:-30], "image-broken"),
        (framed(picture(kind="png"), "jpeg"), "image-broken"),
        (framed(b"not a picture"), "not-an-image"),
    ],
)
def test_an_unusable_image_costs_one_frame(message: bytes, code: str) -> None:
    with running() as server:
        assert _rejection(server, message) == (code, 1)
        assert f'mien_frames_rejected_total{{code="{code}"}} 1.0' in server.request("/metrics")[2].decode()


def test_a_bomb_is_refused_by_its_header_and_takes_no_memory(bomb: bytes) -> None:
    with running() as server:
        process, most, done = psutil.Process(os.getpid()), [0], threading.Event()
        before = process.memory_info().rss

        def watch() -> None:
            while not done.wait(0.001):
                most[0] = max(most[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert _rejection(server, bomb) == ("image-too-large", 1)
        done.set()
        watcher.join()
    assert most[0] - before < 64 * MIB


def test_ten_in_a_row_are_an_error_then_1008() -> None:
    with running() as server, server.connect() as socket:
        said(socket)
        for _ in range(10):
            socket.send(b"nothing")
        messages, code = rest(socket)
    assert [m["type"] for m in messages] == ["frame.rejected"] * 10 + ["error"]
    assert (messages[-1]["code"], code) == ("too-many-broken", 1008)


def test_broken_ones_found_at_decoding_count_too() -> None:
    with running(session={"policy": "all"}) as server, server.connect() as socket:
        said(socket)
        for _ in range(10):
            socket.send(picture()[:-20])
        messages, code = rest(socket)
    assert [m.get("code") for m in messages] == ["image-broken"] * 10 + ["too-many-broken"]
    assert code == 1008


def test_a_good_one_in_between_begins_the_count_anew() -> None:
    with running(session={"policy": "all"}) as server, server.connect() as socket:
        said(socket)
        for _ in range(3):
            for _ in range(9):
                socket.send(b"nothing")
            socket.send(picture())
            # The answer is awaited, for a rejection at the socket overtakes what is being decoded.
            said(socket, "result")
        tell(socket, "session.close")
        messages, code = rest(socket)
    assert (messages[-1]["rejected"], messages[-1]["used"], code) == (27, 3, 1000)
