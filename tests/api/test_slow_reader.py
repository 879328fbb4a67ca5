"""Who does not read is told, and closed; nobody else notices (FAULTS row 22)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from service.api.outbox import RESULTS, Outbox
from service.events import Event, ModelName
from service.messages import Dropped, Output, Timing
from tests.api.deaf import Deaf
from tests.api.tiny import picture, rest, running, said, tell


def test_a_session_that_does_not_read_stops_being_read_and_is_closed_with_4408() -> None:
    with running(session={"policy": "all"}, behind_s=0.3) as server:
        deaf = Deaf(server, "/v1/live")
        server.eventually(lambda: server.service.connections, "it is connected")
        deaf.send_until(picture(size=(8, 8)), lambda: not server.service.connections)
        messages, code = deaf.read("slow-reader")
        assert server.service.loop.stats().sessions == 0
    assert (messages[-1]["type"], messages[-1]["code"], messages[-1]["retryable"], code) == ("error", "slow-reader", True, 4408)
    results = [m["frame"] for m in messages if m["type"] == "result"]
    assert len(results) > 64
    assert results == list(range(1, len(results) + 1))


def test_a_subscriber_that_does_not_read_is_closed_and_another_goes_on() -> None:
    camera = "synthetic:?width=64&height=48&fps=1000&faces=1"
    with running(cameras={"door": camera}, behind_s=0.3) as server, server.connect("/v1/streams/door/events") as reader:
        said(reader, "result")
        deaf = Deaf(server, "/v1/streams/door/events")
        server.eventually(lambda: len(server.service.connections) == 2, "both are connected")
        frames = []
        while len(server.service.connections) == 2:
            frames.append(said(reader, "result")["frame"])
        messages, code = deaf.read("slow-reader")
        after = said(reader, "result")["frame"]
        tell(reader, "session.close")
        assert rest(reader)[1] == 1000
    assert (messages[0]["type"], messages[-1]["code"], code) == ("session.updated", "slow-reader", 4408)
    assert len(frames) > 100
    assert frames == sorted(set(frames))
    assert after > frames[-1]


class Stuck:
    """A socket whose first message is not taken before `go`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def send_text(self, text: str) -> None:
        await self.go.wait()
        self.sent.append(json.loads(text))

    async def send(self, close: dict[str, Any]) -> None:
        self.sent.append(close)


def _result(frame: int, dropped: int) -> Output:
    return Output(Event(frame, frame, False, (), None, ModelName("tiny", "0"), "synthetic"), None, Timing(0, 0, 0, 0, 0), None, dropped)


def test_results_that_a_subscriber_has_no_room_for_give_way_to_newer_ones_and_are_counted() -> None:
    async def run() -> list[dict[str, Any]]:
        socket = Stuck()
        outbox = Outbox(5.0, lambda seconds: None, newest_wins=True)
        task = asyncio.create_task(outbox.run(socket))  # type: ignore[arg-type]
        outbox.publish(_result(1, 0))
        await asyncio.sleep(0)
        for frame in range(2, 31):
            outbox.publish(_result(frame, frame % 3))
            outbox.publish(Output(Dropped((frame, frame), "rate")))
        outbox.end(1000, "client")
        await asyncio.sleep(0)
        socket.go.set()
        await task
        return socket.sent

    sent = asyncio.run(run())
    results = [m for m in sent if m["type"] == "result"]
    assert [m["frame"] for m in results] == [1, *range(31 - RESULTS, 31)]
    missed = 29 - RESULTS
    assert sum(m["delivery"]["dropped_since_last"] for m in results) == missed + sum(n % 3 for n in range(2, 31))
    assert [m["frames"] for m in sent if m["type"] == "frame.dropped"] == [[n, n] for n in range(2, 31)]
    assert sent[-1] == {"type": "websocket.close", "code": 1000, "reason": "client"}
