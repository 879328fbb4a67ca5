"""What passes between child and parent comes back as it was, and nonsense is told from it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clips import pictures
from service.clips.limits import ClipRefused, Limits
from service.clips.pictures import Garbled, Kind, Picture, Said

LIMITS = Limits(max_width=64, max_height=48)


def _read(data: bytes) -> Picture | Said:
    stream = io.BytesIO(data)

    def fill(buffer: memoryview) -> None:
        if stream.readinto(buffer) < len(buffer):
            raise EOFError

    return pictures.read(fill, LIMITS.check_size)


def _written(message: Picture | Said) -> bytes:
    out = io.BytesIO()
    pictures.write(lambda data: out.write(data) and None, message)
    return out.getvalue()


@given(st.integers(1, 64), st.integers(1, 48), st.none() | st.integers(-(2**62), 2**62), st.booleans())
def test_pictures_come_back(width: int, height: int, t_ns: int | None, corrupt: bool) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    back = _read(_written(Picture(pixels, t_ns, corrupt)))
    assert isinstance(back, Picture)
    assert (back.t_ns, back.corrupt) == (t_ns, corrupt)
    assert np.array_equal(back.pixels, pixels)


def test_words_come_back() -> None:
    assert _read(_written(Said(Kind.ENDED, {"a": [1, None]}))) == Said(Kind.ENDED, {"a": [1, None]})


@given(st.binary(max_size=200))
def test_nonsense_is_refused_before_memory_is_taken_for_it(data: bytes) -> None:
    with pytest.raises((Garbled, EOFError, ClipRefused)):
        _read(data)


@pytest.mark.parametrize(
    "head",
    [
        (Kind.PICTURE, 0, 64, 48, 0, 64 * 48 * 3 - 1),
        (Kind.PICTURE, 0, 0, 48, 0, 0),
        (Kind.OPENED, 0, 0, 0, 0, pictures.MAX_JSON + 1),
        (9, 0, 0, 0, 0, 0),
    ],
)
def test_headers_that_lie_are_garbled(head: tuple[int, ...]) -> None:
    with pytest.raises(Garbled):
        _read(pictures.HEADER.pack(*head) + bytes(64 * 48 * 3))


def test_a_picture_over_the_limit_is_refused_by_the_parent_too() -> None:
    with pytest.raises(ClipRefused):
        _read(pictures.HEADER.pack(Kind.PICTURE, 0, 65, 48, 0, 65 * 48 * 3))
