"""The workbench in a real browser whose webcam plays a real face."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import axe
from tests.pages.browser import Browser, Page, browser
from tests.served.server import free_port, served

LABELLED = "document.getElementById('label-detail').textContent.startsWith('expression of face #')"
CONNECTED = "document.getElementById('status').dataset.state === 'open'"
LABELS = {"neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "contempt"}
FOCUSED = "((e) => e.id || e.value || e.className)(document.activeElement)"
ANALYSED = "document.getElementById('clip-state').textContent.startsWith('Done')"


def test_the_camera_is_labelled(page: Page, site: str) -> None:
    page.go(f"{site}#camera")
    page.until(LABELLED)
    page.until("document.querySelectorAll('#keyframes canvas:not([hidden])').length === 16")
    assert page.text("label") in LABELS
    assert page.text("derived").startswith("Derived from")
    assert page.text("keyframes-note").endswith("Drawn from this browser's own frames.")
    # A thumbnail shows something: its pixels differ.
    pixels = "new Set(document.querySelector('#keyframes canvas').getContext('2d').getImageData(0, 0, 40, 40).data).size"
    assert page.value(pixels) > 20
    page.until("parseFloat(document.getElementById('fps').textContent) > 0")
    page.until("/^\\d+ ms$/.test(document.getElementById('trip').textContent)")
    assert page.text("backend") == "CPU"
    assert "happy" in page.value("document.getElementById('distribution').getAttribute('aria-label')")
    assert page.complaints() == []


def test_nothing_is_asked_of_other_hosts(page: Page, site: str) -> None:
    page.go(f"{site}#camera")
    page.until(LABELLED)
    asked = page.value("performance.getEntriesByType('resource').map(({name}) => new URL(name).origin + '/')")
    assert len(asked) > 10
    assert set(asked) == {site}
    assert page.value("performance.getEntriesByType('resource').reduce((sum, e) => sum + e.decodedBodySize, 0)") < 1_000_000
    page.value("fetch('http://localhost:9/').catch(() => 0)")
    assert any("Content Security Policy" in said for said in page.complaints()), "the policy lets the page call others"


def test_the_demo_clip_starts_by_itself_and_is_seen(page: Page, site: str) -> None:
    page.go(site)
    page.until(LABELLED)
    assert page.value("document.querySelector('input[name=source]:checked').value") == "demo"
    assert page.value("document.getElementById('video').videoWidth") == 640
    assert page.complaints() == []


def test_a_server_camera_shows_results_without_pictures(page: Page, site: str) -> None:
    page.go(f"{site}#stream=lobby")
    page.until(LABELLED)
    page.until("document.getElementById('keyframes').children.length === 16")
    assert page.value("document.querySelectorAll('#keyframes canvas:not([hidden])').length") == 0
    assert "stay on the server" in page.text("remote")
    # The box is drawn all the same.
    seen = "document.getElementById('overlay').getContext('2d').getImageData(0, 0, 4000, 2000).data.some((x) => x > 0)"
    page.until(seen)
    assert page.value("document.getElementById('video').readyState") == 0


@pytest.mark.proof
def test_of_a_rig_it_says_which_source_is_gone(page: Page, tmp_path: Path) -> None:
    rig = tmp_path / "desk.toml"
    rig.write_text(
        'name = "desk"\n[sources.color]\nmodality = "color"\nuri = "virtual:color?fps=10"\n'
        '[sources.deep]\nmodality = "depth"\nuri = "virtual:depth?fps=10&faults=unplug@6+3"\n'
    )
    with served("--rig", str(rig)) as port:
        page.go(f"http://127.0.0.1:{port}/#stream=desk")
        page.until("document.getElementById('note').textContent === 'Source deep (depth) was lost. The others go on.'")
        page.until("document.getElementById('note').textContent === 'Source deep (depth) is back.'")


def test_the_keyboard_is_enough(page: Page, site: str) -> None:
    page.go(f"{site}#clip")
    page.until("document.querySelector('input[name=source]:checked') !== null")
    page.press("Tab")
    assert page.value(FOCUSED) == "skip"
    page.press("Tab")
    assert page.value(FOCUSED) == "clip"
    page.press("Tab")
    page.press("Enter")
    assert page.value("document.documentElement.dataset.theme") == "dark"
    page.press(" ")
    assert page.value("document.documentElement.dataset.theme") == "light"
    page.press("Tab")
    assert page.value(FOCUSED) == "file"
    page.value("document.querySelector('input[value=clip]').focus()")
    page.press("ArrowRight")
    page.until(LABELLED)
    assert page.value(FOCUSED) == "camera"
    page.value("document.getElementById('stop').focus()")
    page.press("Enter")
    page.until("document.getElementById('status').textContent === 'Stopped'")
    assert page.value(FOCUSED) == "start"
    page.press(" ")
    page.until(LABELLED)


def test_without_permission_it_says_what_to_do(needs_chromium: None, site: str) -> None:
    with browser(flags=("--use-fake-device-for-media-stream", "--deny-permission-prompts")) as running, running.page() as page:
        page.go(f"{site}#camera")
        page.until("!document.getElementById('help').hidden")
        assert page.value("document.getElementById('help').dataset.error") == "NotAllowedError"
        assert page.text("help-title") == "The camera is blocked for this page"
        assert "Allow" in page.text("help-steps")
        assert page.value(FOCUSED) == "help"
        page.click("#retry")
        page.until("!document.getElementById('help').hidden")


@pytest.mark.proof
def test_it_comes_back_after_the_server_does(chromium: Browser) -> None:
    port = free_port()
    with chromium.page() as page:
        with served(port=port):
            page.go(f"http://127.0.0.1:{port}/#camera")
            page.until(LABELLED)
        page.until("document.getElementById('status').dataset.state === 'waiting'")
        page.until("document.getElementById('status').textContent.includes('Connecting again in')")
        with served(port=port):
            page.until(CONNECTED)
            page.until(LABELLED)
            assert page.text("label") in LABELS


def test_a_clip_is_analysed_scrubbed_and_downloaded(page: Page, site: str, media: Path) -> None:
    page.go(f"{site}#clip")
    page.until("!document.getElementById('clip-view').hidden")
    page.choose_file("#file", media / "single_face.mp4")
    page.click("#send")
    page.until(ANALYSED)
    assert page.text("clip-state") == "Done: 72 frames, 72 with a face."
    assert page.text("clip-label") in LABELS
    page.until("document.getElementById('clip-video').readyState >= 2")
    page.value("document.getElementById('scrub').focus()")
    page.press("ArrowRight", 20)
    page.until("document.getElementById('clip-video').currentTime > 0.01")
    assert "%" in page.text("clip-now")
    fetched = "fetch(a.href).then((answer) => [answer.status, answer.headers.get('content-type')])"
    answers = page.value(f"Promise.all([...document.querySelectorAll('#downloads a')].map((a) => {fetched}))")
    assert [status for status, _ in answers] == [200, 200, 200, 200]
    page.click("#erase")
    page.until("document.getElementById('downloads').textContent === 'Deleted from the server.'")
    assert page.complaints() == []


def test_what_is_no_clip_is_refused_in_words(page: Page, site: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a clip at all\n" * 99)
    page.go(f"{site}#clip")
    page.until("!document.getElementById('clip-view').hidden")
    page.choose_file("#file", path)
    page.click("#send")
    page.until("document.getElementById('clip-state').hasAttribute('data-bad')")
    assert page.value("document.getElementById('send').disabled") is False


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_has_no_serious_finding(page: Page, site: str, media: Path, dark: bool) -> None:
    if not axe.available():
        pytest.skip(f"no npm here to fetch axe-core with: {axe.INSTALL}")
    page.look(390 if dark else 1280, 900, dark)
    page.go(f"{site}#camera")
    page.until(LABELLED)
    page.value("document.getElementById('card').open = true")
    assert axe.serious(page) == []
    if dark:
        page.click("#stop")
        assert axe.serious(page) == []
        return
    page.go(f"{site}#clip")
    page.until("!document.getElementById('clip-view').hidden")
    page.choose_file("#file", media / "single_face.mp4")
    page.click("#send")
    page.until(ANALYSED)
    assert axe.serious(page) == []


def test_a_phone_scrolls_one_way_only(page: Page, site: str) -> None:
    page.look(390, 844, dark=False, scale=2.0)
    page.go(f"{site}#camera")
    page.until(LABELLED)
    assert page.value("document.documentElement.scrollWidth") <= 390
