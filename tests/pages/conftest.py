"""One server and one browser with a face before its webcam, for all tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.browser import INSTALL, Browser, Page, browser, program, webcam
from tests.served.server import served


@pytest.fixture(scope="session")
def port(media: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with a camera called lobby and a demo clip."""
    clip = media / "single_face.mp4"
    # At a pace that a busy machine keeps up with: one that is behind with its cameras refuses sessions.
    lobby = f"lobby=virtual:color?clip={clip}&faces={checkout / 'deploy' / 'rigs' / 'single_face.mp4.faces.json'}&fps=5"
    clips = tmp_path_factory.mktemp("clips")
    environment = {"MIEN_SERVER__DEMO": str(clip), "MIEN_CLIPS__DIRECTORY": str(clips)}
    with served("--camera", lobby, environment=environment) as port:
        yield port


@pytest.fixture(scope="session")
def needs_chromium() -> None:
    """Skip where there is no browser."""
    if program() is None:
        pytest.skip(f"no Chromium here: {INSTALL}")


@pytest.fixture(scope="session")
def chromium(needs_chromium: None, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose webcam shows a face."""
    camera = webcam(media / "single_face.mp4", tmp_path_factory.mktemp("webcam") / "face.mjpeg")
    with browser(camera) as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab of its own."""
    with chromium.page() as page:
        yield page


@pytest.fixture(scope="session")
def site(port: int) -> str:
    """The page's address."""
    return f"http://127.0.0.1:{port}/"
