"""`mien serve` on a real tritonserver that is killed, hangs, and comes back: labels say so, nothing hangs, and labels return."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from time import monotonic, sleep

import cv2
import pytest

from engines.folder import open_folder
from exporters.targets.triton import write_repository
from tests.engines.contract import SHIPPED
from tests.served.server import Message, Talk, served, talk
from tests.tritonserver import ServerError, TritonServer

pytestmark = pytest.mark.proof
PERIOD_S = 1 / 30
RESUME_S, SLACK = 2.0, 5.0
"""What is promised on an idle machine, and what a busy one is given."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    home = tmp_path_factory.mktemp("triton")
    write_repository(open_folder(SHIPPED / "fer-small"), home / "repository", "python")
    try:
        made = TritonServer(home / "repository", home / "log")
    except ServerError as error:
        pytest.skip(str(error))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def port(server: TritonServer) -> Iterator[int]:
    with served(
        "--backend", "triton", "--threads", "1", environment={"MIEN_ENGINE__URL": server.url, "MIEN_ENGINE__TIMEOUT_S": "0.3"}
    ) as port:
        yield port


@pytest.fixture
def session(port: int, media: Path) -> Iterator[Talk]:
    """A session that is sent a face at 30 frames a second, as long as the test lasts."""
    with talk(port) as conversation:
        ended = threading.Event()

        def send() -> None:
            for picture in cycle(pictures(media)):
                if ended.wait(PERIOD_S):
                    return
                conversation.socket.send(picture)

        sender = threading.Thread(target=send)
        sender.start()
        yield conversation
        ended.set()
        sender.join()
        closed = conversation.close()
        assert closed["received"] == closed["used"] + sum(closed["dropped"].values()) + closed["rejected"]
        assert closed["rejected"] == 0, "faces are found here, server or not"


def pictures(media: Path) -> list[bytes]:
    """Twenty frames of the clip, as JPEG."""
    clip = cv2.VideoCapture(str(media / "single_face.mp4"))
    return [cv2.imencode(".jpg", clip.read()[1])[1].tobytes() for _ in range(20)]


def predicted(result: Message) -> bool:
    return any(face["prediction"] for face in result["faces"])


def lost(result: Message) -> bool:
    return any((face["no_call"] or {}).get("code") == "backend-lost" for face in result["faces"])


def until(session: Talk, wanted: Callable[[Message], bool], limit_s: float, begin: int = 0) -> tuple[Message, float]:
    """Return the first wanted result from message `begin` on, and the seconds it took to come."""
    began, at = monotonic(), begin
    while monotonic() < began + limit_s:
        while at < len(session.said):
            message, at = session.said[at], at + 1
            if message["type"] == "result" and wanted(message):
                return message, monotonic() - began
        sleep(0.002)
    raise AssertionError(f"not within {limit_s:g} s; the last was {session.said[-1]}")


def test_labels_come_from_the_server(session: Talk) -> None:
    result, _ = until(session, predicted, 20)
    assert result["backend"] == "triton:python"


def test_a_killed_server_is_said_and_labels_return_with_it(session: Talk, server: TritonServer, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        until(session, predicted, 20, len(session.said))
        server.kill()
        _, gone_s = until(session, lost, RESUME_S * SLACK, len(session.said))
        # While it is away: every due frame says so, and frames are answered as they come.
        before = len(session.of("result"))
        sleep(1.0)
        meanwhile = session.of("result")[before:]
        assert len(meanwhile) >= 1.0 / PERIOD_S / SLACK
        assert not any(map(predicted, meanwhile))
        assert sum(map(lost, meanwhile)) >= 1
        server.start()
        at = len(session.said)
        _, served_s = until(session, lambda result: result["due"] and not lost(result), RESUME_S * SLACK, at)
        _, labelled_s = until(session, predicted, RESUME_S * SLACK, at)
        with capsys.disabled():
            print(f"\nkilled: said after {gone_s:.2f} s; back: rows after {served_s:.2f} s, labels after {served_s + labelled_s:.2f} s")


def test_a_server_that_hangs_is_given_up_and_taken_back(session: Talk, server: TritonServer, capsys: pytest.CaptureFixture[str]) -> None:
    until(session, predicted, 20, len(session.said))
    server.signal(signal.SIGSTOP)
    try:
        _, gone_s = until(session, lost, 2.0 * SLACK, len(session.said))
        before = len(session.of("result"))
        sleep(1.0)
        assert len(session.of("result")) - before >= 1.0 / PERIOD_S / SLACK, "no frame waits for a server that was given up"
    finally:
        server.signal(signal.SIGCONT)
    _, back_s = until(session, predicted, RESUME_S * SLACK, len(session.said))
    with capsys.disabled():
        print(f"\nhanging: said after {gone_s:.2f} s; back: labels after {back_s:.2f} s")
