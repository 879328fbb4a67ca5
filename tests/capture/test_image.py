"""Headers are read from any bytes, and a damaged picture is an error wherever its format can tell."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.frame import Frame, Packet, decoded
from capture.image import ImageBroken, NotAnImage, decode_color, image_size


def picture(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4 % 256, y * 5 % 256, (x + y) * 2 % 256], axis=-1).astype(np.uint8)


def encoded(extension: str, image: NDArray[np.generic], *flags: int) -> bytes:
    return cv2.imencode(extension, image, flags)[1].tobytes()


JPEG = encoded(".jpg", picture())
PNG = encoded(".png", picture()[..., ::-1])


def jpeg_header(width: int, height: int, bits: int = 8, components: int = 3) -> bytes:
    frame = struct.pack(">BHHB", bits, height, width, components) + bytes(3 * components)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda"


def png_header(width: int, height: int) -> bytes:
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + ihdr + struct.pack(">I", zlib.crc32(ihdr))


def test_size_and_pixels_of_real_pictures(media: Path) -> None:
    for name in ("single_face.jpg", "multi_face.jpg"):
        data = (media / name).read_bytes()
        # A second decoder, lenient and of other origin, is right on whole pictures.
        other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        assert other is not None
        assert image_size(data) == ("jpeg", other.shape[1], other.shape[0])
        assert np.abs(decode_color(data).astype(int) - other).max() <= 2


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_a_huge_picture_is_known_from_its_header_alone(width: int, height: int) -> None:
    assert image_size(jpeg_header(width, height)) == ("jpeg", width, height)
    assert image_size(png_header(width, height)) == ("png", width, height)


@given(st.binary(max_size=200) | st.tuples(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=200)).map(b"".join))
@example(b"")
@example(b"\xff\xd8\xff")
@example(b"\xff\xd8" + b"\xff" * 50)
@example(b"\xff\xd8\xff\xc0\x00\x00")
@example(b"\x89PNG\r\n\x1a\n")
@example(jpeg_header(0, 5))
@example(png_header(0, 5))
def test_any_bytes_give_a_size_or_say_why_not(data: bytes) -> None:
    problem = None
    try:
        format_, width, height = image_size(data)
    except (NotAnImage, ImageBroken) as error:
        problem = str(error)
    if problem is not None:
        assert problem
        assert "\n" not in problem
    else:
        assert format_ in ("jpeg", "png")
        assert width >= 1
        assert height >= 1
    with pytest.raises(ImageBroken):
        decode_color(data)


@given(st.sampled_from([JPEG, PNG]), st.data())
def test_a_picture_cut_off_anywhere_is_broken(whole: bytes, data: st.DataObject) -> None:
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ImageBroken):
        decode_color(cut)
    if cut[:3] == b"\xff\xd8\xff" and len(cut) < len(whole) - 8:  # an end marker in the wrong place makes it no better
        with pytest.raises(ImageBroken):
            decode_color(cut + b"\xff\xd9")


@given(st.data())
def test_a_png_with_any_byte_changed_is_broken(data: st.DataObject) -> None:
    at, by = data.draw(st.integers(0, len(PNG) - 1)), data.draw(st.integers(1, 255))
    with pytest.raises(ImageBroken):
        decode_color(PNG[:at] + bytes([PNG[at] ^ by]) + PNG[at + 1 :])


@given(st.data())
def test_a_jpeg_with_any_byte_changed_is_broken_or_has_its_promised_size(data: st.DataObject) -> None:
    at, by = data.draw(st.integers(0, len(JPEG) - 1)), data.draw(st.integers(1, 255))
    bad = JPEG[:at] + bytes([JPEG[at] ^ by]) + JPEG[at + 1 :]
    try:
        pixels = decode_color(bad)
    except ImageBroken:
        return
    assert pixels.shape == (*image_size(bad)[:0:-1], 3)


def test_a_jpeg_with_a_hole_in_it_is_broken(media: Path) -> None:
    whole = (media / "single_face.jpg").read_bytes()
    middle = len(whole) // 2
    for hole in (whole[:middle] + whole[middle + 100 :], whole[:middle] + bytes(200) + whole[middle + 200 :]):
        with pytest.raises(ImageBroken, match="Corrupt JPEG"):
            decode_color(hole)


def test_what_webcams_do_to_a_jpeg_is_no_damage() -> None:
    pixels = decode_color(JPEG)
    assert np.array_equal(decode_color(JPEG + bytes(1000)), pixels)  # a buffer longer than its picture
    assert np.array_equal(decode_color(JPEG[:-2] + b"\x12\x34" + JPEG[-2:]), pixels)  # padding before the end marker
    with pytest.raises(ImageBroken, match="extraneous"):
        decode_color(JPEG[:-2] + b"\x12" * 50 + JPEG[-2:])


def test_progressive_yes_but_not_with_a_thousand_scans() -> None:
    progressive = encoded(".jpg", picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert np.array_equal(decode_color(progressive), decode_color(JPEG))
    last = progressive.rfind(b"\xff\xda")
    with pytest.raises(ImageBroken, match="scans; allowed are 100"):
        decode_color(progressive[:-2] + progressive[last:-2] * 1000 + progressive[-2:])


def test_cmyk_and_twelve_bits_are_refused() -> None:
    image = pytest.importorskip("PIL.Image", reason="pip install pillow: it writes the CMYK picture")
    buffer = io.BytesIO()
    image.fromarray(picture()).convert("CMYK").save(buffer, "JPEG")
    with pytest.raises(ImageBroken, match="4 colour components"):
        decode_color(buffer.getvalue())
    with pytest.raises(ImageBroken, match="12 bits"):
        decode_color(jpeg_header(64, 48, bits=12))


def test_grey_alpha_and_sixteen_bits_have_a_meaning() -> None:
    rgb = picture()
    grey = rgb[..., 0].copy()
    for extension in (".jpg", ".png"):
        pixels = decode_color(encoded(extension, grey))
        assert pixels.shape == (48, 64, 3)
        assert (pixels == pixels[..., :1]).all()
    assert np.array_equal(decode_color(PNG), rgb)
    assert np.array_equal(decode_color(encoded(".png", np.dstack([rgb[..., ::-1], grey]))), rgb)  # alpha dropped, not blended
    assert np.array_equal(decode_color(encoded(".png", rgb[..., ::-1].astype(np.uint16) * 256 + 255)), rgb)  # high byte
    assert np.array_equal(decode_color(PNG + b"behind the end"), rgb)


def test_a_png_whose_checksums_are_right_but_pixels_are_not_is_broken(capfd: pytest.CaptureFixture[str]) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    short = png_header(64, 48) + chunk(b"IDAT", zlib.compress(bytes(3000))) + chunk(b"IEND", b"")
    with pytest.raises(ImageBroken, match="compressed pixels"):
        decode_color(short)
    capfd.readouterr()  # libpng itself speaks here; ordinary damage never gets as far, see below


def test_ordinary_damage_writes_nothing_to_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    middle = len(PNG) // 2
    for data in (
        JPEG[: len(JPEG) // 2],
        JPEG[: len(JPEG) // 2] + b"\xff\xd9",
        PNG[:middle],
        PNG[:middle] + b"?" + PNG[middle + 1 :],
        b"",
        b"no",
    ):
        with pytest.raises(ImageBroken):
            decode_color(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("extension", [".bmp", ".webp", ".tiff", ".jp2", ".ppm"])
def test_other_formats_are_no_images_here(extension: str) -> None:
    data = encoded(extension, picture())
    with pytest.raises(NotAnImage):
        image_size(data)
    with pytest.raises(ImageBroken):
        decode_color(data)


def test_a_frame_with_a_packet_gets_its_pixels_when_used() -> None:
    frame = decoded(Frame("cam", "color", 1, None, 5, packet=Packet("jpeg", JPEG)))
    assert frame.data is not None
    assert frame.data.shape == (48, 64, 3)
    assert not frame.data.flags.writeable
    assert decoded(frame) is frame
