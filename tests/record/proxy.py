"""A TCP proxy that delays what it carries and can be cut, as networks do. `python -m tests.record.proxy PORT HOST PORT MS` runs one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.waiting import PATIENCE_S


@dataclass
class Proxy:
    """Carries connections to `host`:`port`, each piece `delay_s` plus up to `jitter_s` later, in order. Used from any thread."""

    host: str
    port: int
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bound: int = 0
    silent: bool = False
    connections: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, port: int = 0) -> asyncio.Server:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._carry, "127.0.0.1", port)
        self.bound = server.sockets[0].getsockname()[1]
        return server

    def cut(self) -> None:
        """Break every connection."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in self._writers])

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        for end in (writer, back):
            self._writers.discard(end)
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._loop is not None
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def later() -> None:
            while True:
                at, data = await queue.get()
                await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
                if not data:
                    writer.transport.abort()
                    return
                if not self.silent:
                    writer.write(data)
                    await writer.drain()

        sending = asyncio.create_task(later())
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                queue.put_nowait((self._loop.time() + self.delay_s + random.uniform(0, self.jitter_s), data))
        queue.put_nowait((self._loop.time() + self.delay_s, b""))
        with contextlib.suppress(OSError):
            await sending


@contextlib.contextmanager
def proxy(host: str, port: int, **options: float) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own."""
    it, ready, main = Proxy(host, port, **options), threading.Event(), list[asyncio.Task[None]]()  # type: ignore[arg-type]

    async def run() -> None:
        server = await it.serve()
        task = asyncio.current_task()
        assert task is not None
        main.append(task)
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="proxy")
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield it
    finally:
        assert it._loop is not None
        it.cut()
        it._loop.call_soon_threadsafe(main[0].cancel)
        thread.join(PATIENCE_S)


if __name__ == "__main__":

    async def main(port: int, host: str, to: int, delay_ms: float) -> None:
        it = Proxy(host, to, delay_ms / 1e3)
        server = await it.serve(port)
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, lambda: it.cut() if sys.stdin.readline() else loop.stop())
        print(it.bound, flush=True)
        await server.serve_forever()

    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
