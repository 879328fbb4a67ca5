"""Connections that break, refuse, stall, or speak of things to come."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from service.client import AsyncMien, FrameDropped, Item, Lost, Mien, MienError, Reconnected, SessionClosed, Unanswered, Unknown
from tests.client.other_server import CLOSED, CREATED, dropped, gone, playing, said
from tests.served.server import free_port
from tests.waiting import PATIENCE_S

JPEG = b"\xff\xd8 the beginning of one is enough here"


def done(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE_S))


def kinds(items: list[Item]) -> list[str]:
    return [item.type for item in items]


def test_what_is_newer_is_ignored_or_handed_on() -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED, mood="new", limits=CREATED["limits"] | {"max_moons": 1}))
        await socket.recv()
        await socket.send(said({"type": "weather"}, sky="blue"))
        await socket.send(said({"type": "frame.dropped", "reason": "a-new-reason"}, frames=[1, 1]))
        await socket.recv()
        await socket.send(said(CLOSED, moons=2))

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live() as live:
            assert await live.push(JPEG) == 1
            weather, drop = await live.recv(), await live.recv()
            assert isinstance(weather, Unknown)
            assert weather.body["sky"] == "blue"
            assert isinstance(drop, Unknown)
            assert "reason" in drop.why
            assert live.in_flight == 0  # a drop for whatever reason is an outcome
            await live.close()

    done(work())


def test_under_all_a_push_waits_for_room() -> None:
    answer = asyncio.Event()

    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        await answer.wait()
        await socket.send(dropped(1, 3))
        async for message in socket:
            if isinstance(message, str):
                await socket.send(said(CLOSED))
                return

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live() as live:
            assert [await live.push(JPEG, id=f"{n}") for n in range(3)] == [1, 2, 3]
            fourth = asyncio.create_task(live.push(JPEG))
            await asyncio.sleep(0.2)
            assert not fourth.done()
            answer.set()
            assert await fourth == 4
            assert live.in_flight == 1

    with pytest.raises(MienError, match="1 frame"):  # the fourth has no outcome
        done(work())


def test_under_latest_a_push_never_waits_and_says_what_it_did_not_send() -> None:
    enough = asyncio.Event()

    async def part(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await socket.send(said(CREATED, policy="latest"))
        await enough.wait()
        gone(socket)

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live() as live:
            # A push that waited would wait for ever: nobody reads.
            pushed = [await live.push(JPEG + bytes(8_000_000)) for _ in range(20)]
            enough.set()
            sent = [number for number in pushed if number is not None]
            assert sent == list(range(1, len(sent) + 1))
            assert len(sent) < 20
            lost = await live.recv()
            assert isinstance(lost, Lost)
            assert [frame.frame for frame in lost.frames] == sent
            raise Left

    with pytest.raises(Left):
        done(work())


class Left(Exception):
    """Leaves a `with` block without a goodbye."""


def test_what_was_in_flight_is_reported_and_settings_are_asked_for_again() -> None:
    asked: list[str | bytes] = []

    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        asked.append(await socket.recv())
        await socket.send(said(CREATED, type="session.updated", from_frame=1, policy="latest", faces=2))
        if len(asked) == 1:
            for _ in range(2):
                await socket.recv()
            await socket.send(dropped(1, 1))
            gone(socket)
        elif await socket.recv():
            await socket.send(said(CLOSED))

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live(policy="latest", faces=2) as live:
            await live.push(JPEG, id="a")
            while await live.push(JPEG, id="b") is None:  # while the first is leaving
                with pytest.raises(TimeoutError):
                    await live.recv(0.01)
            items = [await live.recv(), await live.recv()]
            assert isinstance(items[0], FrameDropped)
            assert items[1] == Lost((Unanswered(2, "b"),), "connection-lost", "close code 1006")
            assert await live.push(JPEG) is None
            again = await live.recv()
            assert isinstance(again, Reconnected)
            assert (again.attempts, again.unsent) == (1, 1)
            assert isinstance(await live.close(), SessionClosed)
            assert kinds(await live.poll()) == ["session.closed"]
            assert await live.recv() is None

    done(work())
    assert asked == [asked[0]] * 2
    assert '"faces":2' in str(asked[0])


def test_a_refusal_is_final_and_an_absent_server_is_given_up() -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        await socket.recv()
        await socket.send(said({"type": "error", "code": "bad-frame", "detail": "lengths", "retryable": False}))
        await socket.close(1008, "bad-frame")

    async def refused() -> None:
        async with playing(part) as url, AsyncMien(url).live() as live:
            await live.push(JPEG)
            items = [await live.recv(), await live.recv()]
            assert [item.type for item in items if item] == ["error", "lost"]
            for again in (live.recv, live.poll, lambda: live.push(JPEG), live.close):
                with pytest.raises(MienError, match="bad-frame: lengths"):
                    await again()

    async def staying(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        await socket.wait_closed()

    async def absent() -> None:
        async with playing(staying) as url:
            live = await AsyncMien(url, retry_s=0.5).live().__aenter__()
        assert isinstance(await live.recv(), Lost)
        for again in (live.recv, live.poll, lambda: live.push(JPEG)):
            with pytest.raises(MienError, match="given up after") as error:
                await again()
            assert error.value.code == "unreachable"
        await live.__aexit__(None, None, None)

    done(refused())
    done(absent())


def test_a_failure_that_was_never_looked_at_is_raised_at_the_end() -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        await socket.send(said({"type": "error", "code": "internal", "detail": "oh", "retryable": False}))
        await socket.close(1011)

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live():
            await asyncio.sleep(0)

    with pytest.raises(MienError, match="internal: oh"):
        done(work())


def test_to_close_without_a_connection_says_so() -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        await socket.send(said(CLOSED, reason="draining"))
        await socket.close(1012)

    async def work() -> None:
        async with playing(part) as url:
            live = await AsyncMien(url).live().__aenter__()
            items = [await live.recv(), await live.recv()]
        assert isinstance(items[1], Lost)
        with pytest.raises(MienError, match="no connection"):
            await live.close()
        await live.__aexit__(None, None, None)  # it was said

    done(work())


def test_a_session_that_was_not_entered_says_so() -> None:
    live = Mien().live()
    for use in (live.poll, live.close, lambda: live.push(JPEG)):
        with pytest.raises(RuntimeError, match="with"):
            use()


def test_no_server_and_none_of_ours() -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send("hello")

    async def nobody() -> None:
        async with AsyncMien(f"http://127.0.0.1:{free_port()}").live():
            raise AssertionError("entered")

    async def stranger() -> None:
        async with playing(part) as url, AsyncMien(url).live():
            raise AssertionError("entered")

    for work, code in ((nobody(), "unreachable"), (stranger(), "not-understood")):
        with pytest.raises(MienError) as error:
            done(work)
        assert error.value.code == code
    for address in ("127.0.0.1:8765", "ws://127.0.0.1", "http://", "http://h?x=1"):
        with pytest.raises(ValueError, match="no address"):
            AsyncMien(address)


def test_what_is_never_read_is_refused_in_the_end() -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        for number in range(1, 6):
            await socket.recv()
            await socket.send(dropped(number, number))
        await socket.recv()
        await socket.send(said(CLOSED))

    async def work() -> None:
        async with playing(part) as url:
            live = AsyncMien(url).live()
            live.room = 5
            async with live:
                for _ in range(5):
                    await live.push(JPEG)
                for _ in range(1000):
                    await asyncio.sleep(0.01 if live.in_flight else 0)
                with pytest.raises(MienError, match="unread"):
                    await live.push(JPEG)
                assert kinds(await live.poll()) == ["frame.dropped"] * 5

    done(work())


@pytest.mark.parametrize("image", [b"", b"GIF89a", np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), JPEG + bytes(10_000_000)])
def test_what_cannot_be_sent_is_a_value_error(image: Any) -> None:
    async def part(socket: ServerConnection) -> None:
        await socket.send(said(CREATED))
        await socket.recv()
        await socket.send(said(CLOSED))

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live() as live:
            with pytest.raises(ValueError, match=r"JPEG|pixels|allowed"):
                await live.push(image)

    done(work())
