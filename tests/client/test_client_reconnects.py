"""What survives a connection: settings asked for, also later; and what begins anew: numbers, credit, limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from service.client import AsyncMien, FrameDropped, Lost, MienError, Reconnected, Unanswered
from service.remote.items import back_off, problem
from tests.client.other_server import CLOSED, CREATED, dropped, gone, playing, said

JPEG = b"\xff\xd8 the beginning of one is enough here"
SOON_S = 20.0
Script = Callable[[ServerConnection, int], Awaitable[None]]


class Server:
    """Plays `script` on every connection, numbered from 1; `updates`: what each connection was asked for, in order."""

    def __init__(self, script: Script) -> None:
        self.updates: list[list[dict[str, Any]]] = []
        self._script = script

    async def part(self, socket: ServerConnection) -> None:
        self.updates.append([])
        await socket.send(said(CREATED, session_id=f"s{len(self.updates)}"))
        await self._script(socket, len(self.updates))

    async def update(self, socket: ServerConnection, **in_force: Any) -> None:
        """Take an update and put it in force."""
        asked = json.loads(await socket.recv())
        assert asked.pop("type") == "session.update"
        self.updates[-1].append(asked)
        window = CREATED["window"] | {"hop": asked.get("hop", 1)}
        fields = {name: asked[name] for name in ("policy", "faces") if name in asked}
        await socket.send(said(CREATED, type="session.updated", from_frame=1, window=window, **(fields | in_force)))


async def ended(socket: ServerConnection) -> None:
    """Wait for the goodbye, and answer it."""
    async for message in socket:
        if isinstance(message, str) and json.loads(message)["type"] == "session.close":
            await socket.send(said(CLOSED))
            return


def done(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, SOON_S))


async def reconnected(live: Any) -> Reconnected:
    while not isinstance(item := await live.recv(SOON_S), Reconnected):
        assert item is not None
    return item


def test_settings_of_an_update_are_asked_for_again_on_every_connection() -> None:
    """Those of the start, changed by those of two updates; the last word on each."""

    async def script(socket: ServerConnection, connection: int) -> None:
        await server.update(socket)
        if connection == 1:
            await server.update(socket)
            await server.update(socket)
        if connection < 3:
            await socket.recv()
            gone(socket)
            return
        await ended(socket)

    server = Server(script)

    async def work() -> None:
        async with playing(server.part) as url, AsyncMien(url).live(policy="all", faces=2) as live:
            first = await live.update(hop=4, faces=5)
            assert (first.faces, first.window.hop) == (5, 4)
            assert live.settings == first
            await live.update(faces=3)
            for connection in (2, 3):
                await live.push(JPEG)
                again = await reconnected(live)
                assert live.started == again.started
                assert getattr(again.started, "session_id", None) == f"s{connection}"
                assert (live.settings.faces, live.settings.window.hop, live.settings.policy) == (3, 4, "all")
            await live.close()

    done(work())
    start, whole = {"policy": "all", "faces": 2}, {"policy": "all", "faces": 3, "hop": 4}
    assert server.updates == [[start, {"faces": 5, "hop": 4}, {"faces": 3}], [whole], [whole]]


def test_without_a_wish_nothing_is_asked_for() -> None:
    async def script(socket: ServerConnection, connection: int) -> None:
        if connection == 1:
            await socket.recv()
            gone(socket)
            return
        await ended(socket)

    server = Server(script)

    async def work() -> None:
        async with playing(server.part) as url, AsyncMien(url).live() as live:
            await live.push(JPEG)
            await reconnected(live)
            await live.close()

    done(work())
    assert server.updates == [[], []]


@pytest.mark.parametrize("ending", ["refused", "lost"])
def test_an_update_that_was_refused_or_lost_is_not_asked_for_again(ending: str) -> None:
    async def script(socket: ServerConnection, connection: int) -> None:
        await server.update(socket)
        if connection == 2:
            await ended(socket)
            return
        await socket.recv()
        if ending == "refused":
            await socket.send(said({"type": "error", "code": "bad-change", "detail": "hop is 900", "retryable": False}))
            await socket.recv()
        gone(socket)

    server = Server(script)

    async def work() -> None:
        async with playing(server.part) as url, AsyncMien(url).live(faces=2) as live:
            with pytest.raises(MienError) as error:
                await live.update(hop=900)
            assert error.value.code == {"refused": "bad-change", "lost": "connection-lost"}[ending]
            assert live.settings.window.hop == 1
            if ending == "refused":
                await live.push(JPEG)
            await reconnected(live)
            await live.close()

    done(work())
    assert server.updates == [[{"faces": 2}], [{"faces": 2}]]


def test_frames_are_numbered_from_one_again_and_have_one_outcome_each() -> None:
    got = asyncio.Event()

    async def script(socket: ServerConnection, connection: int) -> None:
        for _ in range(3):
            await socket.recv()
        if connection == 1:
            await socket.send(dropped(1, 1))
            gone(socket)
            return
        got.set()
        await socket.send(dropped(1, 3))
        await ended(socket)

    async def work() -> None:
        async with playing(Server(script).part) as url, AsyncMien(url).live() as live:
            assert [await live.push(JPEG, id=f"old {n}") for n in range(3)] == [1, 2, 3]
            first, lost = await live.recv(), await live.recv()
            assert isinstance(first, FrameDropped)
            assert lost == Lost((Unanswered(2, "old 1"), Unanswered(3, "old 2")), "connection-lost", "close code 1006")
            assert isinstance(await live.recv(), Reconnected)
            assert live.in_flight == 0
            # The limit of three in flight is the new session's: none of the old one's frames count.
            assert [await live.push(JPEG, id=f"new {n}") for n in range(3)] == [1, 2, 3]
            await got.wait()
            outcome = await live.recv()
            assert isinstance(outcome, FrameDropped)
            assert outcome.frames == (1, 3)
            assert live.in_flight == 0
            await live.close()

    done(work())


@pytest.mark.parametrize(
    "outcome",
    [
        {"type": "frame.rejected", "code": "image-broken", "detail": "it ends early"},
        {"type": "frame.rejected", "code": "a-newer-code", "detail": "", "also": 1},
        {"type": "result", "what": "a newer server says of it"},
    ],
)
def test_every_outcome_gives_its_credit_back(outcome: dict[str, Any]) -> None:
    async def script(socket: ServerConnection, connection: int) -> None:
        for _ in range(3):
            await socket.recv()
        await socket.send(json.dumps(outcome | {"frame": 2}))
        await socket.recv()
        for frame in (1, 3, 4):
            await socket.send(json.dumps(outcome | {"frame": frame}))
        await ended(socket)

    async def work() -> None:
        async with playing(Server(script).part) as url, AsyncMien(url).live() as live:
            assert [await live.push(JPEG) for _ in range(4)] == [1, 2, 3, 4]
            for left in (3, 2, 1, 0):
                assert await live.recv() is not None
                assert live.in_flight <= max(left, 3)
            assert live.in_flight == 0
            await live.close()

    done(work())


def test_what_was_not_sent_is_counted_once() -> None:
    """Under `latest`: two frames while the first connection is away, none while the second is."""

    async def script(socket: ServerConnection, connection: int) -> None:
        await server.update(socket)
        if connection < 3:
            await socket.recv()
            gone(socket)
            return
        await ended(socket)

    server = Server(script)

    async def work() -> None:
        async with playing(server.part) as url, AsyncMien(url).live(policy="latest") as live:
            for unsent in (2, 0):
                await live.push(JPEG)
                assert isinstance(await live.recv(), Lost)
                assert [await live.push(JPEG) for _ in range(unsent)] == [None] * unsent
                assert (await reconnected(live)).unsent == unsent
            await live.close()

    done(work())


def test_a_server_that_refuses_after_a_loss_is_not_asked_again() -> None:
    """It would be tried for ten minutes otherwise."""

    async def part(socket: ServerConnection) -> None:
        connections.append(socket)
        if len(connections) == 1:
            await socket.send(said(CREATED))
            await socket.recv()
            gone(socket)
            return
        await socket.send(said({"type": "error", "code": "unknown-model", "detail": "it has gone", "retryable": False}))

    connections: list[ServerConnection] = []

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url, retry_s=600).live() as live:
            await live.push(JPEG)
            assert isinstance(await live.recv(), Lost)
            await live.recv()

    with pytest.raises(MienError, match="unknown-model: it has gone"):
        done(work())
    assert len(connections) == 2


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable"),
    [
        (503, b"<html>", "http-503", True),
        (500, b"<html>", "http-500", False),
        (404, b'{"detail": "no code"}', "http-404", False),
        (503, b'{"code": "queue-full"}', "queue-full", True),
        (503, b'{"code": "draining", "retryable": false}', "draining", False),
        (409, b'{"code": "idempotency-in-progress", "retryable": true}', "idempotency-in-progress", True),
        (422, b'{"code": "bad-change"}', "bad-change", False),
    ],
)
def test_what_an_answer_says_of_trying_again(status: int, body: bytes, code: str, retryable: bool) -> None:
    found = problem(status, body)
    assert (found.code, found.status, found.retryable) == (code, status, retryable)


def test_limits_are_those_of_the_server_that_is_there() -> None:
    """A server that was started again with other limits: a message that was allowed is too long, and one may be in flight."""

    async def part(socket: ServerConnection) -> None:
        connections.append(socket)
        small = CREATED["limits"] | {"max_message_bytes": 1000, "max_in_flight": 1}
        await socket.send(said(CREATED, **({"limits": small} if len(connections) == 2 else {})))
        if len(connections) == 1:
            await socket.recv()
            gone(socket)
            return
        await socket.recv()
        await go.wait()
        await socket.send(dropped(1, 1))
        await ended(socket)

    connections: list[ServerConnection] = []
    go = asyncio.Event()

    async def work() -> None:
        async with playing(part) as url, AsyncMien(url).live() as live:
            await live.push(JPEG + bytes(5000))
            await reconnected(live)
            with pytest.raises(ValueError, match="1000 are allowed"):
                await live.push(JPEG + bytes(5000))
            assert await live.push(JPEG) == 1
            second = asyncio.create_task(live.push(JPEG))
            await asyncio.sleep(0.05)
            assert not second.done()
            go.set()
            assert await second == 2

    with pytest.raises(MienError, match="1 frame"):  # the second has no outcome
        done(work())


def test_each_wait_is_twice_the_last_up_to_five_seconds_less_up_to_a_half() -> None:
    for _ in range(50):
        for delay_s, longest_s in zip(islice(back_off(), 8), (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0), strict=True):
            assert longest_s / 2 <= delay_s <= longest_s
    assert len({next(back_off()) for _ in range(50)}) > 1
