"""What paths on a command line become, and still images as sources."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.driver import EndOfStream, SourceError
from service.intake import Source, Still, find, is_image, open_source, shown
from service.orientation import orientation, upright
from service.replacing import replacing


def _picture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)


def _exif(value: int, order: str) -> bytes:
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)


def _jpeg(value: int, order: str = "<") -> bytes:
    data = cv2.imencode(".jpg", _picture())[1].tobytes()
    body = b"Exif\0\0" + _exif(value, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_agrees_with_opencv(value: int, order: str) -> None:
    data = np.frombuffer(_jpeg(value, order), np.uint8)
    as_stored = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), np.uint8)
    assert orientation(data.tobytes()) == value
    np.testing.assert_array_equal(upright(as_stored, value), cv2.imdecode(data, cv2.IMREAD_COLOR))


def test_orientation_of_a_png_and_of_nonsense() -> None:
    png = cv2.imencode(".png", _picture())[1].tobytes()
    chunk = struct.pack(">I", 26) + b"eXIf" + _exif(6, ">") + b"\0\0\0\0"
    assert orientation(png) == 1
    assert orientation(png[:33] + chunk + png[33:]) == 6
    for cut in range(len(_jpeg(6)) // 2):
        assert orientation(_jpeg(6)[:cut]) in {1, 6}
    assert orientation(_jpeg(77)) == 1


def test_a_still_is_one_upright_frame_at_time_zero(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    path.write_bytes(_jpeg(6))
    driver = open_source(Source(path, "turned.jpg"))
    assert isinstance(driver, Still)
    info = driver.open()
    assert (info.width, info.height, info.frames, info.ends) == (6, 9, 1, True)
    (frame,) = driver.read()
    assert frame.data is not None
    assert (frame.data.shape, frame.device_t_ns, frame.seq) == ((9, 6, 3), 0, 1)
    with pytest.raises(EndOfStream):
        driver.read()
    driver.close()


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty.png", b"", "empty-image"),
        ("broken.jpg", _jpeg(1)[:200], "image-broken"),
        ("broken.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image-broken"),
    ],
)
def test_a_broken_image_is_refused_by_name_in_one_line(tmp_path: Path, name: str, data: bytes, code: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceError, match=name) as refused:
        open_source(Source(path, name)).open()
    assert refused.value.code == code
    assert "\n" not in str(refused.value)


def test_a_folder_gives_its_clips_and_images_sorted_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/z.JPG", "a/notes.txt", ".hidden.mp4", "c.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [os.path.relpath(source.name, tmp_path) for source in find([tmp_path])] == ["a/z.JPG", "b.mp4", "c.mkv"]
    named = find([tmp_path / "a" / "notes.txt", tmp_path / "c.mkv"])
    assert [source.path.name for source in named] == ["notes.txt", "c.mkv"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        find([tmp_path / "none.mp4"])
    with pytest.raises(SourceError, match="holds no clip or image"):
        find([tmp_path])


def test_content_decides_what_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    path.write_bytes(_jpeg(1))
    assert is_image(path)
    path.write_bytes(b"\0\0\0\x20ftypisom")
    assert not is_image(path)


def test_names_are_shown_without_what_a_terminal_would_obey() -> None:
    assert shown("a\x1b[31m\nb\udce9.mp4") == "a\ufffd[31m\ufffdb\ufffd.mp4"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_bytes(b"before")
    half = replacing(target)
    half.__enter__().write(b"half")
    assert half.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is False
    assert target.read_bytes() == b"before"
    with replacing(target) as file:
        file.write(b"after")
        assert target.read_bytes() == b"before"
    assert target.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_keeps_pointing_and_a_device_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    with replacing(link) as file:
        file.write(b"x")
    assert link.is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"
    with replacing(Path(os.devnull)) as file:
        file.write(b"x")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["a?loop=1&b#c %23.mp4", "rtsp:x.mp4", "\udce9.mp4"])
def test_a_clip_may_have_any_name(media: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes((media / "single_face.mp4").read_bytes())
    driver = open_source(Source(Path(name), name))
    info = driver.open()
    assert (info.name, info.frames) == (name, 72)
    driver.close()
