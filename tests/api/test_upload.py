"""How large a body may be, to the byte, wherever the bytes are; and how slow, to the byte per second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api.upload import Body, Form, Gone, check_declared
from service.clips.files import Files, Upload
from service.clips.limits import ClipRefused

MIB = 1_048_576
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
OPTIONS = b'\r\n--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n'
END = b"\r\n--b--\r\n"


@pytest.fixture
def upload(tmp_path: Path) -> Iterator[Upload]:
    files = Files(tmp_path)
    made = files.upload()
    yield made
    made.discard()
    files.close()


def form(upload: Upload, max_bytes: int) -> Form:
    return Form("multipart/form-data; boundary=b", upload, max_bytes)


def refused(act: Callable[[], object]) -> tuple[str, Any, Any]:
    with pytest.raises(ClipRefused) as caught:
        act()
    return caught.value.code, caught.value.limit, caught.value.actual


def test_a_clip_may_have_the_limit_and_no_byte_more(upload: Upload) -> None:
    whole = form(upload, 1000)
    whole.feed(HEAD + bytes(range(250)) * 2)
    whole.feed(bytes(range(250)) * 2 + END)
    whole.end()
    assert (upload.size, upload.path.read_bytes()) == (1000, bytes(range(250)) * 4)
    assert (whole.name, whole.options) == ("a.mp4", None)


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_clip_of_one_byte_more_is_too_large(upload: Upload, pieces: int) -> None:
    over = form(upload, 1000)
    data = HEAD + bytes(1001) + END

    def feed() -> None:
        for start in range(0, len(data), -(-len(data) // pieces)):
            over.feed(data[start : start + -(-len(data) // pieces)])

    code, limit, actual = refused(feed)
    assert (code, limit) == ("clip-too-large", 1000)
    assert actual > 1000
    assert upload.size <= 1000


@pytest.mark.parametrize("place", ["after the end", "before the start"])
def test_what_is_not_the_clip_is_counted_too(upload: Upload, place: str) -> None:
    """The clip is 3 bytes of 1000; what surrounds it may be 1 MiB, and then the body is too large."""
    before, after = {
        "after the end": (HEAD + b"abc" + END, b"x"),
        "before the start": (b"", b"\r\n"),
    }[place]
    padded = form(upload, 1000)
    padded.feed(before)
    room = 1000 + MIB - len(before)
    for size in (1, 65_536, room - 65_536 - 1 - len(after)):
        padded.feed((after * size)[:size])
    padded.feed(after[: len(after)])
    assert refused(lambda: padded.feed(after[:1])) == ("clip-too-large", 1000, 1000 + MIB + 1)


def test_a_part_with_endless_headers_is_malformed(upload: Upload) -> None:
    endless = form(upload, 1000)
    endless.feed(b'--b\r\nContent-Disposition: form-data; name="file"\r\nX-Padding: ')
    assert refused(lambda: endless.feed(b"x" * 65_536))[0] == "bad-multipart"


def test_options_have_a_limit_of_their_own(upload: Upload) -> None:
    whole = form(upload, 1000)
    whole.feed(HEAD + b"abc" + OPTIONS + b" " * 65_536)
    whole.feed(END)
    whole.end()
    assert whole.options == " " * 65_536


def test_options_of_one_byte_more_are_refused(upload: Upload) -> None:
    over = form(upload, 1000)
    over.feed(HEAD + b"abc" + OPTIONS + b" " * 65_536)
    assert refused(lambda: over.feed(b" " + END))[0] == "invalid-parameter"


@pytest.mark.parametrize(
    ("length", "expected"),
    [(None, None), ("", None), ("-5", None), ("0x10", None), ("0", 0), ("1000", 1000), (str(1000 + MIB), 1000 + MIB)],
)
def test_a_declared_length_within_the_limit(length: str | None, expected: int | None) -> None:
    assert check_declared({} if length is None else {"content-length": length}, 1000) == expected


@pytest.mark.parametrize("over", [1, 10**30])
def test_a_declared_length_over_the_limit(over: int) -> None:
    declared = {"content-length": str(1000 + MIB + over)}
    assert refused(lambda: check_declared(declared, 1000)) == ("clip-too-large", 1000, 1000 + MIB + over)


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("holiday 1.mp4", "holiday 1.mp4"), ("../../etc/passwd", "passwd"), ("C:\\\\clips\\\\a.mp4", "a.mp4"), ("a\tb\x7f.mp4", "ab.mp4"),
        ("", "clip"), ("dir/", "clip"), ("é" * 200, "é" * 120), ("x" * 200 + ".mp4", "x" * 116 + ".mp4"), (" a ", "a"),
    ],
)  # fmt: skip
def test_a_file_name_is_the_last_part_and_printable(upload: Upload, filename: str, name: str) -> None:
    named = form(upload, 1000)
    named.feed(f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\nabc'.encode() + END)
    named.end()
    assert named.name == name


class Sender:
    """A client that sends pieces, each after so many seconds of a clock that nothing else moves."""

    def __init__(self, *pieces: tuple[float, int], ends: bool = False) -> None:
        self.now_s = 100.0
        self._pieces = list(pieces)
        self._ends = ends

    def clock(self) -> float:
        return self.now_s

    async def receive(self) -> dict[str, Any]:
        if not self._pieces:
            return {"type": "http.disconnect"}
        seconds, size = self._pieces.pop(0)
        self.now_s += seconds
        return {"type": "http.request", "body": bytes(size), "more_body": bool(self._pieces) or not self._ends}


def read(sender: Sender, min_bytes_per_s: int = 100) -> int:
    """Read to the end; return how many bytes there were."""

    async def work() -> int:
        body, size = Body(sender.receive, min_bytes_per_s, sender.clock), 0
        while data := await body.read():
            size += len(data)
        assert body.complete
        return size

    return asyncio.run(work())


def test_a_body_at_the_least_rate_is_read_to_its_end() -> None:
    assert read(Sender(*[(1.0, 100)] * 60, ends=True)) == 6000


def test_a_body_just_below_the_least_rate_is_given_up_after_five_seconds() -> None:
    sender = Sender(*[(1.0, 99)] * 60, ends=True)
    assert refused(lambda: read(sender)) == ("slow-body", 100, 99)
    assert sender.now_s == 105.0


def test_what_came_quickly_at_first_buys_no_slowness_later() -> None:
    sender = Sender((1.0, 1_000_000), *[(1.0, 1)] * 60, ends=True)
    assert refused(lambda: read(sender)) == ("slow-body", 100, 1)
    assert sender.now_s == 110.0


def test_the_last_piece_is_taken_however_late_it_comes() -> None:
    assert read(Sender((400.0, 7), ends=True)) == 7
    assert read(Sender((1.0, 500), (9.0, 0), ends=True)) == 500


def test_a_client_that_leaves_is_gone() -> None:
    with pytest.raises(Gone):
        read(Sender((1.0, 500)))
