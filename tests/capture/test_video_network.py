"""Network cameras over real sockets: live frames, backlog thrown away, passwords sent but never shown, nothing hangs."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from capture.driver import SourceError, create
from capture.drivers.video import VideoDriver
from capture.frame import Frame, SourceState
from capture.reader import Reader
from tests.capture.rtsp_server import RtspServer
from tests.waiting import PATIENCE_S, until


def opened(uri: str) -> VideoDriver:
    driver = create(uri, "door")
    assert isinstance(driver, VideoDriver)
    return driver


def some(driver: VideoDriver, count: int) -> list[Frame]:
    got: list[Frame] = []
    until(lambda: got.extend(driver.read()) or len(got) >= count, f"{count} frames", every_s=0.0)
    return got


def test_rtsp_gives_live_frames_stamped_by_arrival(media: Path) -> None:
    with RtspServer(media / "single_face.mp4") as server:
        driver = opened(f"rtsp://127.0.0.1:{server.port}/cam")
        info = driver.open()
        got = some(driver, 20)
        driver.close()
    assert (info.width, info.height, info.clock, info.ends, info.frames) == (640, 360, "host", False, None)
    assert [frame.seq for frame in got] == list(range(1, 21))
    assert all(frame.device_t_ns is None for frame in got)
    assert all(frame.data is not None and frame.data.shape == (360, 640, 3) for frame in got)
    arrivals = [frame.arrival_t_ns for frame in got]
    assert arrivals == sorted(arrivals)


def test_the_backlog_is_thrown_away(media: Path) -> None:
    with RtspServer(media / "single_face.mp4", backlog=45) as server:
        driver = opened(f"rtsp://127.0.0.1:{server.port}/cam")
        driver.open()
        got = some(driver, 30)
        driver.close()
    assert driver.drained >= 30
    # Live pace from the first frame given: 29 intervals of 33 ms; from the backlog they would take next to nothing.
    assert got[-1].arrival_t_ns - got[0].arrival_t_ns >= 300_000_000


def test_the_password_is_sent_and_never_shown(media: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with RtspServer(media / "single_face.mp4", login="user:secret") as server:
        driver = opened(f"rtsp://user:secret@127.0.0.1:{server.port}/cam")
        info = driver.open()
        assert len(some(driver, 2)) == 2
        driver.close()
        assert "PLAY" in server.authorized
        with pytest.raises(SourceError) as caught:
            opened(f"rtsp://user:wrong@127.0.0.1:{server.port}/cam").open()
    assert caught.value.code == "source-unauthorized"
    for text in (repr(info), repr(driver), str(caught.value), *capfd.readouterr()):
        for secret in ("user", "secret", "wrong:", "wrong@"):
            assert secret not in text


def test_a_camera_that_does_not_answer_is_given_up(media: Path) -> None:
    with RtspServer(media / "single_face.mp4", mute=True) as server:
        began = time.monotonic()
        with pytest.raises(SourceError) as caught:
            opened(f"rtsp://127.0.0.1:{server.port}/cam#open_timeout_s=0.5").open()
        assert time.monotonic() - began < 5
    assert caught.value.code == "source-unreachable"
    with pytest.raises(SourceError, match="Connection refused"):
        opened(f"rtsp://127.0.0.1:{server.port}/cam").open()


def test_a_camera_that_goes_silent_is_lost(media: Path) -> None:
    with RtspServer(media / "single_face.mp4") as server:
        driver = opened(f"rtsp://127.0.0.1:{server.port}/cam")
        driver.open()
        assert some(driver, 1)
        server.cut()
        with pytest.raises(SourceError) as caught:
            some(driver, 1000)
        driver.close()
    assert caught.value.code == "source-lost"
    assert f"rtsp://127.0.0.1:{server.port}/…" in str(caught.value)


def test_a_reader_gets_the_camera_back(media: Path) -> None:
    states: list[SourceState] = []
    frames: list[Frame] = []
    arrived, back = threading.Event(), threading.Event()

    def put(read: list[Frame]) -> None:
        frames.extend(read)
        arrived.set()

    def notify(state: SourceState) -> None:
        states.append(state)
        if state.state == "back":
            back.set()

    with RtspServer(media / "single_face.mp4") as server:
        reader = Reader(opened(f"rtsp://user:secret@127.0.0.1:{server.port}/cam"), put, notify)
        reader.start()
        assert arrived.wait(PATIENCE_S)
        server.cut()
        assert back.wait(PATIENCE_S)
        reader.stop()
    assert [state.state for state in states] == ["lost", "back"]
    assert states[0].source == "door"
    assert "secret" not in states[0].detail
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))


def test_mjpeg_over_http(media: Path) -> None:
    picture = (media / "single_face.jpg").read_bytes()

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
            for _ in range(40):
                part = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                client.sendall(part + picture + b"\r\n")
                time.sleep(0.04)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        driver = opened(f"http://127.0.0.1:{server.getsockname()[1]}/cam.mjpg")
        info = driver.open()
        assert (info.width, info.height, info.ends) == (572, 562, False)
        got: list[Frame] = []
        with pytest.raises(SourceError, match=r"ended the stream|connection lost"):
            got.extend(frame for frames in iter(driver.read, None) for frame in frames)
        driver.close()
        thread.join()
    assert got
    assert driver.decoded == 40 == len(got) + driver.drained
    assert driver.corrupt == 0


def test_a_playlist_on_the_web_is_refused() -> None:
    asked: list[bytes] = []

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            asked.append(client.recv(4096).split(b"\r\n", 1)[0])
            body = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"
            client.sendall(
                b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        with pytest.raises(SourceError) as caught:
            opened(f"http://127.0.0.1:{server.getsockname()[1]}/live.m3u8").open()
        thread.join()
        server.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert caught.value.code == "source-unreachable"
    assert len(asked) == 1
