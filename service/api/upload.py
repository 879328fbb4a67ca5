"""A multipart body on its way to the disk: parsed as it arrives, counted, timed, never held in memory.

Owns what a body may be and how fast it must come. Does not own the file (`service/clips/files.py`) or what its content is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.clips.files import Upload
from service.clips.limits import ClipRefused

MAX_OPTIONS_BYTES = 65_536
MAX_PARTS = 4
AROUND_BYTES = 1_048_576
"""What a body may have besides the clip: options, headers of parts, boundaries."""
WINDOW_S = 5.0
LINGER_S = 2.0
_FILES = ("file", "color")
_OPTIONS = "options"


class Gone(Exception):
    """The client has left in the middle of its request."""


class Body:
    """A request's body, read with a deadline. `complete`: there is nothing more to read; `clock`: seconds."""

    def __init__(self, receive: Receive, min_bytes_per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._receive = receive
        self._clock = clock
        self._min_bytes = min_bytes_per_s * WINDOW_S
        self._waited_s = 0.0
        self._in_window = 0
        self.complete = False

    async def read(self) -> bytes:
        """Return the next piece; empty at the end.

        Raises:
            ClipRefused: "slow-body".
            Gone: the client has left.
        """
        while not self.complete:
            began = self._clock()
            message = None
            with contextlib.suppress(asyncio.TimeoutError):
                message = await asyncio.wait_for(self._receive(), max(WINDOW_S - self._waited_s, 0.01))
            # Only waiting counts: a slow disk of ours is not the client's fault.
            self._waited_s += self._clock() - began
            if message is not None and message["type"] == "http.disconnect":
                raise Gone
            data: bytes = b"" if message is None else message.get("body", b"")
            self.complete = message is not None and not message.get("more_body", False)
            self._in_window += len(data)
            if self._waited_s >= WINDOW_S and not self.complete:
                self._judge()
            if data:
                return data
        return b""

    def _judge(self) -> None:
        if self._in_window < self._min_bytes:
            rate, limit = int(self._in_window / WINDOW_S), int(self._min_bytes / WINDOW_S)
            raise ClipRefused("slow-body", f"The body came at {rate} bytes per second; the least is {limit}.", limit, rate)
        self._waited_s, self._in_window = 0.0, 0


class Form:
    """The parts of one body: the clip into `upload`, its `options` as text, its `name` as the client called it."""

    def __init__(self, content_type: str, upload: Upload, max_bytes: int) -> None:
        kind, parameters = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise ClipRefused("unsupported-media-type", "The body must be multipart/form-data with a part `file`.")
        if not parameters.get(b"boundary"):
            raise ClipRefused("bad-multipart", "Content-Type names no boundary.")
        self.name = "clip"
        self.options: str | None = None
        self._upload = upload
        self._max_bytes = max_bytes
        self._body_bytes = 0
        self._seen: list[str] = []
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._text = bytearray()
        self._ended = False
        with _parsing():
            self._parser = MultipartParser(parameters[b"boundary"], {
                "on_part_begin": self._begin, "on_header_field": self._on_field, "on_header_value": self._on_value,
                "on_header_end": self._on_header_end, "on_headers_finished": self._on_headers, "on_part_data": self._on_data,
                "on_part_end": self._on_end, "on_end": self._on_all,
            })  # fmt: skip

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            ClipRefused: "bad-multipart", "clip-too-large", "invalid-parameter".
            StorageFull: it cannot be written.
        """
        self._body_bytes += len(data)
        if self._body_bytes > self._max_bytes + AROUND_BYTES:
            raise too_large(self._max_bytes, self._body_bytes)
        with _parsing():
            self._parser.write(data)

    def end(self) -> None:
        """Raise ClipRefused if the body is not whole."""
        if not self._ended:
            raise ClipRefused("bad-multipart", "The body ends before its last boundary.")
        if not any(name in self._seen for name in _FILES):
            raise ClipRefused("invalid-parameter", "The part `file` is missing.")

    def _begin(self) -> None:
        self._headers, self._text = {}, bytearray()

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _on_headers(self) -> None:
        kind, parameters = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in parameters:
            raise ClipRefused("bad-multipart", "A part has no Content-Disposition: form-data with a name.")
        name = parameters[b"name"].decode(errors="replace")
        if name in ("depth", "thermal"):
            raise ClipRefused("invalid-parameter", f"The part {name!r} needs a calibrated camera rig; this server knows none.")
        if name not in (*_FILES, _OPTIONS):
            raise ClipRefused("invalid-parameter", f"There is no part {name[:40]!r}; there are: file, options.")
        if name in self._seen or (name in _FILES and any(file in self._seen for file in _FILES)) or len(self._seen) >= MAX_PARTS:
            raise ClipRefused("invalid-parameter", f"The part {name!r} is given more than once.")
        self._seen.append(name)
        if name in _FILES:
            self.name = _shown(parameters.get(b"filename", b"").decode(errors="replace")) or "clip"

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._seen[-1] in _FILES:
            size = self._upload.size + end - start
            if size > self._max_bytes:
                raise too_large(self._max_bytes, size)
            self._upload.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_OPTIONS_BYTES:
            raise ClipRefused("invalid-parameter", f"The part `options` has more than {MAX_OPTIONS_BYTES} bytes.")

    def _on_end(self) -> None:
        if self._seen[-1] == _OPTIONS:
            try:
                self.options = self._text.decode()
            except UnicodeDecodeError:
                raise ClipRefused("invalid-parameter", "The part `options` is not UTF-8.") from None

    def _on_all(self) -> None:
        self._ended = True


class Lingering(Response):
    """An answer to a request whose body was not read: sent whole at once, then the rest of the body is read and forgotten for
    `LINGER_S`. To close a socket with unread bytes would take the answer with it."""

    def __init__(self, answer: Response, headers: Headers) -> None:
        super().__init__(status_code=answer.status_code)
        self._answer = answer
        self._answer.headers["Connection"] = "close"
        self._patience_s = 0.0 if headers.get("expect", "").lower() == "100-continue" else LINGER_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""

        async def open_ended(message: Any) -> None:
            more = {"more_body": True} if message["type"] == "http.response.body" else {}
            await send(message | more)

        await self._answer(scope, receive, open_ended)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_forget(receive), self._patience_s)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _forget(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def too_large(limit: int, actual: int) -> ClipRefused:
    """Return the refusal of a body over the limit."""
    return ClipRefused("clip-too-large", f"The clip has {actual} bytes or more; allowed are {limit}.", limit, actual)


def check_declared(headers: Mapping[str, str], max_bytes: int) -> int | None:
    """Return the body's declared length, None if it has none.

    Raises:
        ClipRefused: "clip-too-large".
    """
    declared = headers.get("content-length")
    if declared is None or not declared.isdigit():
        return None
    size = int(declared)
    if size > max_bytes + AROUND_BYTES:
        raise too_large(max_bytes, size)
    return size


def _shown(name: str) -> str:
    """Return a client's file name for outputs: its last part, printable, not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(sign for sign in last if sign.isprintable())[-120:].strip()


@contextlib.contextmanager
def _parsing() -> Any:
    try:
        yield
    except MultipartParseError as error:
        raise ClipRefused("bad-multipart", f"The body is no multipart/form-data: {error}"[:300]) from None
