"""A real browser for tests: Debian's Chromium without a window, spoken to over the DevTools protocol.

Owns the process and the few words that tests need. Input goes the way a user's does: keys are key events, not calls.
Source: Chrome DevTools Protocol, domains Target, Page, Runtime, Log, Input, DOM, Emulation.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import cv2
import psutil
from websockets.sync.client import ClientConnection, connect

from tests.waiting import PATIENCE_S, until

INSTALL = "sudo apt-get install chromium"
_FAKE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40}
Json = dict[str, Any]


def program() -> str | None:
    """Where Chromium is, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def webcam(clip: Path, into: Path) -> Path:
    """Write a clip's frames as the MJPEG file that Chromium's fake webcam plays over and over."""
    with av.open(str(clip)) as container, into.open("wb") as out:
        for frame in container.decode(video=0):
            ok, data = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24", threads=1), [cv2.IMWRITE_JPEG_QUALITY, 92])
            assert ok
            out.write(data.tobytes())
    return into


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._numbers = itertools.count(1)
        self.events: list[Json] = []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Json:
        """One command of the protocol and its answer; events that come meanwhile are kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params, "sessionId": self._session}))
        while True:
            message: Json = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if message.get("id") == number and message.get("sessionId") == self._session:
                assert "error" not in message, f"{method}: {message['error']}"
                result: Json = message["result"]
                return result
            self.events.append(message)

    def go(self, address: str) -> None:
        """Load an address anew."""
        self.call("Page.navigate", url="about:blank")
        assert "errorText" not in (taken := self.call("Page.navigate", url=address)), taken
        # Until the navigation is through, the blank page answers.
        self.until("location.protocol !== 'about:' && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What an expression gives, promises awaited."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def text(self, id: str) -> str:
        """The text of the element with this id."""
        return str(self.value(f"document.getElementById({id!r}).textContent"))

    def until(self, expression: str) -> Any:
        """Wait until an expression is true and return its value."""
        try:
            return until(lambda: self.value(expression), expression, every_s=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; the page says {self.value('document.body.innerText')[:1500]!r}") from error

    def press(self, key: str, times: int = 1) -> None:
        """Press and release a key."""
        code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": _KEYS[key]}
        typed = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", **code, **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def click(self, selector: str) -> None:
        """Click on an element, with the mouse where it is."""
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        box = self.value(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def look(self, width: int, height: int, dark: bool, scale: float = 1.0) -> None:
        """Take the size of a screen and a theme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path: Path, whole: bool = True) -> None:
        """Save what is seen, or all that can be scrolled to, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Errors of the page so far: exceptions, refused resources, console errors."""
        self.value("1")
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(str(params["args"]))
        return found


class Browser:
    """A running Chromium. Use `browser` to start one."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def _call(self, method: str, **params: Any) -> Json:
        self._socket.send(json.dumps({"id": 0, "method": method, "params": params}))
        while True:
            message: Json = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if message.get("id") == 0 and "sessionId" not in message:
                assert "error" not in message, f"{method}: {message['error']}"
                result: Json = message["result"]
                return result

    @contextmanager
    def page(self) -> Iterator[Page]:
        """Open a tab with storage and permissions of its own."""
        context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self._socket, session)
        page.look(1280, 900, dark=False)
        try:
            yield page
        finally:
            self._call("Target.disposeBrowserContext", browserContextId=context)


@contextmanager
def browser(camera: Path | None = None, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """Run Chromium, with a webcam that plays the file `camera` if there is one, until the block ends."""
    chromium = program()
    assert chromium is not None, f"there is no Chromium: {INSTALL}"
    with tempfile.TemporaryDirectory(prefix="mien-browser-", ignore_cleanup_errors=True) as profile:
        seen = () if camera is None else (*_FAKE, f"--use-file-for-fake-video-capture={camera}")
        command = [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--force-color-profile=srgb",
            "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", *seen, *flags,
        ]  # fmt: skip
        environment = os.environ | {"PROFILE_OF_TESTS": profile}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            with connect(_address(Path(profile), process), max_size=None, compression=None, ping_interval=None) as socket:
                yield Browser(socket)
        finally:
            # Its helpers are in a process group of their own, which is only theirs; those for crashes have left it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for helper in psutil.process_iter():
                with suppress(psutil.Error):
                    if helper.environ().get("PROFILE_OF_TESTS") == profile:
                        helper.kill()


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    port = profile / "DevToolsActivePort"

    def address() -> str:
        assert process.poll() is None, "Chromium has ended"
        if port.exists() and len(lines := port.read_text().split("\n")) >= 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        return ""

    return until(address, "Chromium listens", every_s=0.05)
