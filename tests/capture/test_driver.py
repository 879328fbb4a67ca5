"""From a URI to a driver, every mistake answered in one line, and no credential ever shown."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture import drivers
from capture.driver import DriverOptions, SourceError, clip_uri, create, names, shown
from capture.drivers import recording, remote, synthetic, video, virtual, webcam


def refused(uri: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        create(uri)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", names())
def test_every_driver_keeps_the_contract(name: str) -> None:
    module = {
        "recording": recording, "remote": remote, "synthetic": synthetic, "video": video, "virtual": virtual, "webcam": webcam,
    }.get(name)  # fmt: skip
    if module is None:
        pytest.skip(f"driver {name!r} has its own tests, with its stand-in device")
    assert issubclass(module.Options, DriverOptions)
    options = module.Options()
    with pytest.raises(ValidationError):
        options.__setattr__(next(iter(module.Options.model_fields)), 1)
    address = {
        "recording": "a.mcap", "remote": "//host:1/door", "synthetic": "", "video": "clip.mp4", "virtual": "thermal", "webcam": "0",
    }[name]  # fmt: skip
    driver = create(f"{name}:{address}", "door")
    assert driver.name == "door"
    for attribute in ("open", "read", "close"):
        assert callable(getattr(driver, attribute))
    driver.close()  # before open: allowed


def test_names_are_found_without_importing() -> None:
    assert {"synthetic", "video", "webcam"} <= set(names())


@pytest.mark.parametrize(
    ("uri", "code", "text"),
    [
        ("realcam:0", "unknown-driver", f"no camera driver 'realcam'; there are: {', '.join(names())}"),
        ("clip.mp4", "bad-uri", "names no driver"),
        ("", "bad-uri", "names no driver"),
        ("../video:x", "bad-uri", "names no driver"),
        ("video:", "bad-uri", "needs a path"),
        ("video:a\0b", "bad-uri", "NUL"),
        ("webcam:front", "bad-uri", "needs a number or a path under /dev, not 'front'"),
        ("synthetic:x", "bad-uri", "has no address"),
        ("recording:", "bad-uri", "needs a path"),
        ("virtual:smell", "bad-uri", "there are: virtual:color, virtual:depth, virtual:thermal"),
        ("virtual:color?faults=melt@3", "bad-option", "faults: Value error, fault 'melt@3' is not like unplug@10+3"),
        (
            "video:a.mp4?speed=2",
            "bad-option",
            "has no option 'speed'; allowed: realtime, loop, threads, transport, open_timeout_s, read_timeout_s",
        ),
        ("video:a.mp4?loop=1&loop=0", "bad-option", "given 2 times"),
        ("video:a.mp4?loop=perhaps", "bad-option", "loop: Input should be a valid boolean"),
        ("synthetic:?width=0", "bad-option", "width: Input should be greater than or equal to 16, not '0'"),
        ("webcam:0?format=H264", "bad-option", "format: Input should be 'MJPG' or 'YUYV', not 'H264'"),
        ("rtsp://cam/1#loop=1", "bad-option", "realtime and loop are for clips"),
        ("rtsp://:99999/", "bad-uri", "cannot be understood"),
    ],
)
def test_a_wrong_uri_is_answered_in_one_line(uri: str, code: str, text: str) -> None:
    error = refused(uri)
    assert error.code == code
    assert text in str(error)


def test_options_arrive() -> None:
    driver = create("synthetic:?width=64&height=48&fps=12.5&count=3&realtime=0")
    info = driver.open()
    assert (info.width, info.height, info.fps, info.frames, info.ends) == (64, 48, 12.5, 3, True)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_file_name_survives_its_uri(name: str) -> None:
    error = None
    try:
        create(clip_uri(Path("/nowhere") / name, loop=True, threads=2)).open()
    except SourceError as caught:
        error = caught
    assert error is not None
    assert error.code in ("no-such-file", "clip-unreadable")
    assert str(Path("/nowhere") / name) in str(error)


SECRETS = ("user", "secret", "token", "private")
URLS = [
    "rtsp://user:secret@127.0.0.1:9/private?token=token",
    "rtsps://user:secret@127.0.0.1:9/private",
    "http://user:secret@127.0.0.1:9/private.mjpg?user=user&password=secret",
    "https://127.0.0.1:9/user/secret",
    "RTSP://user:secret@[::1]:9/private",
    "rtsp://user:sec/ret-secret@127.0.0.1:9/private",
    "rtsp://user:1#secret@127.0.0.1/private",
    "rtsp://user:1/secret@127.0.0.1/private",
    "rtsp://user:secret@127.0.0.1:port/private",
    "rtsp://user:secret@[broken/private",
    "rtsp://user:secret@127.0.0.1:9/private#loop=1",
    "rtsp://user:secret@127.0.0.1:9/private#nothing=1",
    "remote://user:secret@127.0.0.1:9/private",
    "srt://user:secret@127.0.0.1:9/private",
    "video:rtsp://user:secret@127.0.0.1:9/private",
    "user:secret@127.0.0.1/private",
    "//user:secret@127.0.0.1/private",
]


@pytest.mark.parametrize("uri", URLS)
def test_no_credential_is_shown(uri: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    trace, told = "", ""
    try:
        driver = create(uri, "door")
        told = f"{driver!r} {driver}"
        driver.open()
    except SourceError as error:
        told += f"{error} {error!r} {error.args}"
        # The context too: a logger with exc_info would print it.
        chain = [error, error.__cause__, error.__context__]
        trace = "".join("".join(traceback.format_exception_only(link)) for link in chain if link is not None)
    else:
        pytest.fail("nothing listens there")
    written = capfd.readouterr()
    for place in (told, trace, caplog.text, written.out, written.err):
        for secret in SECRETS:
            if not uri.startswith("user:") or secret != "user":  # there it stands where a driver's name does
                assert secret not in place


def test_what_of_a_url_is_shown() -> None:
    assert shown("rtsp://user:secret@camera.example:554/private?x=1") == "rtsp://camera.example:554/…"
    assert shown("rtsp://u:s@[::1]:554/private") == "rtsp://[::1]:554/…"
    assert shown("https://camera.example/private") == "https://camera.example/…"
    assert shown("a clip.mp4") == "'a clip.mp4'"


def test_a_driver_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lidar9.py").write_text("import a_package_that_does_not_exist\n")
    monkeypatch.setattr(drivers, "__path__", [*drivers.__path__, str(tmp_path)])
    error = refused("lidar9:0")
    assert error.code == "driver-missing"
    assert str(error) == "camera driver 'lidar9' needs a_package_that_does_not_exist: pip install 'mien[lidar9]'"
