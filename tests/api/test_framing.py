"""Framing by properties: whatever comes is taken apart or refused, and nothing else happens."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.framing import FramingError, Unusable, color_packet, parse
from tests.api.tiny import framed, picture

JPEG, PNG = picture(size=(8, 8)), picture(size=(8, 8), kind="png")


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: (len(tail) // 2).to_bytes(4, "little") + b"{" + tail))
def test_any_bytes_are_taken_apart_or_refused(data: bytes) -> None:
    with suppress(FramingError, Unusable):
        color_packet(parse(data), 10_000)


@given(st.binary(min_size=1, max_size=40), st.text(max_size=20), st.integers(0, 2**63 - 1))
def test_a_part_comes_out_as_it_went_in(data: bytes, id: str, t_ns: int) -> None:
    pushed = parse(framed(data, id=id, t_capture_ns=t_ns))
    assert (pushed.parts, pushed.formats, pushed.id, pushed.t_capture_ns) == ((("color", data),), ("jpeg",), id, t_ns)


@given(st.data())
def test_a_message_cut_anywhere_is_refused(data: st.DataObject) -> None:
    whole = framed(JPEG, id="x")
    cut = whole[: data.draw(st.integers(5, len(whole) - 1))]
    with pytest.raises(FramingError):
        parse(cut)


@pytest.mark.parametrize(("data", "kind"), [(JPEG, "jpeg"), (PNG, "png")])
def test_a_bare_image_is_one_colour_part(data: bytes, kind: str) -> None:
    packet = color_packet(parse(data), 64)
    assert (packet.format, packet.data) == (kind, data)
    with pytest.raises(Unusable, match="8x8 are 64 pixels; at most 63"):
        color_packet(parse(data), 63)


@pytest.mark.parametrize(
    "part",
    [
        {"modality": "color", "format": "jpeg", "bytes": len(JPEG), "extra": 1},
        {"modality": "infrared", "format": "jpeg", "bytes": len(JPEG)},
        {"modality": "color", "format": "jpeg", "bytes": -1},
        {"modality": "color", "format": "jpeg", "bytes": str(len(JPEG))},
        {"modality": "color", "bytes": len(JPEG)},
    ],
)
def test_a_header_that_says_too_much_or_too_little_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(FramingError, match="frame header: parts"):
        parse(framed(JPEG, parts=[part]))


def test_a_header_longer_than_allowed_is_refused() -> None:
    head = json.dumps({"parts": [], "id": "x" * 70_000}).encode()
    with pytest.raises(FramingError, match="at most 65536"):
        parse(len(head).to_bytes(4, "little") + head)
