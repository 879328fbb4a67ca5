"""What is sent on a socket, in which order, how old it is, and how it ends: on a socket that only takes down what it gets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from service.api.outbox import HARD_LIMIT, LAST_TEXT, ROOM, Outbox
from service.events import Event, ModelName, Rejected
from service.messages import Closed, Dropped, Failure, Output, Timing

NAME = ModelName("tiny", "0" * 12)
SECOND = 1_000_000_000


class Taken:
    """A socket: takes at once, or, `stuck`, never."""

    def __init__(self, stuck: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []
        self._stuck = stuck

    async def send_text(self, text: str) -> None:
        if self._stuck:
            await asyncio.Event().wait()
        self.sent.append(json.loads(text))

    async def send(self, close: dict[str, Any]) -> None:
        self.sent.append(close)


def sent(act: Callable[[Outbox], None], socket: Taken | None = None, behind_s: float = 60.0, **options: Any) -> list[dict[str, Any]]:
    """Everything that the socket gets of what `act` puts in, its close last."""
    taken = socket or Taken()

    async def work() -> None:
        outbox = Outbox(behind_s, options.pop("age", lambda seconds: None), **options)
        act(outbox)
        await asyncio.sleep(0)  # what was put in is queued
        await asyncio.wait_for(outbox.run(taken), 20)  # type: ignore[arg-type]

    asyncio.run(work())
    return taken.sent


def result(frame: int, due: bool = False, timing: Timing | None = None, dropped: int = 0) -> Output:
    return Output(Event(frame, frame, due, (), "no-face" if due else None, NAME, "onnx"), f"id-{frame}", timing, None, dropped)


def end(outbox: Outbox) -> None:
    outbox.end(1000, "client")


def test_the_age_of_a_due_result_is_counted_in_seconds_and_sent_in_milliseconds() -> None:
    ages: list[float] = []
    now_ns = time.monotonic_ns()
    timing = Timing(now_ns - 3 * SECOND, 1_500_000, 20_000_400, 7_000_600, now_ns - SECOND)

    def act(outbox: Outbox) -> None:
        for one in (result(1, True, timing), result(2, False, timing), result(3, True, None)):
            outbox.publish(one)
        end(outbox)

    due, other, bare, _ = sent(act, age=ages.append)
    delivery = due["delivery"]
    spent = {name: delivery["timing"][name] for name in ("decode", "wait", "infer")}
    assert spent == {"decode": 1.5, "wait": 20.0, "infer": 7.001}
    assert 3000 <= delivery["age_ms"] < 3000 + 20_000
    assert delivery["timing"]["send"] == pytest.approx(delivery["age_ms"] - 2000, abs=0.002)
    assert "delivery" in other
    assert "delivery" not in bare
    assert ages == [pytest.approx(delivery["age_ms"] / 1000)]
    assert delivery["dropped_since_last"] == 0


def test_everything_is_sent_in_the_order_it_came_in() -> None:
    def act(outbox: Outbox) -> None:
        outbox.say({"type": "hello"})
        outbox.publish(result(1))
        outbox.publish(Output(Dropped((2, 3), "rate")))
        outbox.publish(Output(Rejected(4, "image-broken", "x"), "four"))
        outbox.fail("bad-change", "hop is 0")
        outbox.publish(result(5))
        end(outbox)
        outbox.publish(result(6))

    messages = sent(act)
    assert [message["type"] for message in messages] == [
        "hello", "result", "frame.dropped", "frame.rejected", "error", "result", "websocket.close",
    ]  # fmt: skip
    assert (messages[1]["id"], messages[3]["id"], messages[5]["frame"]) == ("id-1", "four", 5)
    assert messages[-1] == {"type": "websocket.close", "code": 1000, "reason": "client"}


@pytest.mark.parametrize(("reason", "code"), [("client", 1000), ("draining", 1012), ("shutdown", 1012), ("ended", 1000)])
def test_a_session_that_is_closed_says_its_counts_and_then_closes(reason: str, code: int) -> None:
    closed = Output(Closed(7, 4, {"rate": 2}, 1, reason))
    account, close = sent(lambda outbox: outbox.publish(closed))
    counts = {"received": 7, "used": 4, "dropped": {"rate": 2}, "rejected": 1}
    assert account == {"type": "session.closed", "reason": reason, **counts}
    assert close == {"type": "websocket.close", "code": code, "reason": reason}


def test_a_failure_that_ends_a_session_is_the_last_word() -> None:
    def act(outbox: Outbox) -> None:
        outbox.publish(Output(Failure("internal", "the rounds have failed", False)))
        outbox.publish(result(1))

    (close,) = sent(act)
    assert (close["type"], close["code"], close["reason"]) == ("websocket.close", 1011, "internal")
    assert json.loads(close[LAST_TEXT]) == {
        "type": "error", "code": "internal", "detail": "the rounds have failed", "retryable": False,
    }  # fmt: skip


def test_every_output_is_listened_to_also_one_that_gives_way() -> None:
    listened: list[Output] = []

    def act(outbox: Outbox) -> None:
        for frame in range(1, 31):
            outbox.publish(result(frame))
        end(outbox)

    messages = sent(act, heard=listened.append, newest_wins=True)
    assert [output.id for output in listened] == [f"id-{frame}" for frame in range(1, 31)]
    assert [message["frame"] for message in messages[:-1]] == list(range(23, 31))


def test_after_the_end_nothing_is_kept() -> None:
    async def work() -> tuple[list[Output], bool]:
        listened: list[Output] = []
        outbox = Outbox(5.0, lambda seconds: None, heard=listened.append)
        outbox.end(1000, "client")
        await asyncio.sleep(0)
        await outbox.run(Taken())  # type: ignore[arg-type]
        for frame in range(2 * ROOM):
            outbox.publish(result(frame))
        await asyncio.sleep(0)
        return listened, outbox.full

    assert asyncio.run(work()) == ([], False)


def test_a_pusher_loses_no_result() -> None:
    def act(outbox: Outbox) -> None:
        for frame in range(1, 2 * HARD_LIMIT):
            outbox.publish(result(frame))
        end(outbox)

    assert [message["frame"] for message in sent(act)[:-1]] == list(range(1, 2 * HARD_LIMIT))


@pytest.mark.parametrize(("waiting", "full"), [(ROOM, False), (ROOM + 1, True)])
def test_the_reading_side_is_stopped_above_the_room(waiting: int, full: bool) -> None:
    async def work() -> bool:
        outbox = Outbox(5.0, lambda seconds: None)
        for number in range(waiting):
            outbox.say({"number": number})
        await asyncio.sleep(0)
        return outbox.full

    assert asyncio.run(work()) is full


def test_who_does_not_read_for_so_long_is_closed_with_the_reason() -> None:
    def act(outbox: Outbox) -> None:
        outbox.say({"type": "hello"})
        outbox.say({"type": "again"})

    began = time.monotonic()
    (close,) = sent(act, Taken(stuck=True), behind_s=0.3)
    assert time.monotonic() - began > 0.25
    assert (close["code"], close["reason"]) == (4408, "slow-reader")
    last = json.loads(close[LAST_TEXT])
    assert (last["code"], last["retryable"]) == ("slow-reader", True)
    assert last["detail"] == "a message has waited 0.3 s to be read, the limit; 1 more wait"


@pytest.mark.parametrize(("messages", "code"), [(HARD_LIMIT - 1, 1000), (HARD_LIMIT + 1, 4408)])
def test_a_subscriber_with_too_much_waiting_that_is_no_result_is_closed(messages: int, code: int) -> None:
    def act(outbox: Outbox) -> None:
        for number in range(messages):
            outbox.publish(Output(Dropped((number + 1, number + 1), "rate")))
        end(outbox)

    assert sent(act, newest_wins=True)[-1]["code"] == code
