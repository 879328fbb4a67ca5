"""A camera of another machine: its frames, its clock, its reconnections, who may look."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from capture.driver import EndOfStream, SourceError, create
from capture.drivers.remote import RemoteDriver
from capture.ensemble import Device, Ensemble
from capture.frame import Frame, SourceInfo, SourceState
from capture.reader import Reader
from capture.rig import Given, RigSource
from service.cli import app
from service.node import Node, NodeOptions
from tests.record.proxy import proxy
from tests.waiting import PATIENCE_S, until

CAMERA = "synthetic:?width=64&height=48&fps=50"
TOKEN = "correct-horse-battery-staple"


@contextlib.contextmanager
def node(uri: str = CAMERA, tls: ssl.SSLContext | None = None, linger_s: float = 10.0, token: str | None = None) -> Iterator[Node]:
    it = Node({"cam": uri}, "127.0.0.1", 0, NodeOptions(token, linger_s=linger_s), tls)
    thread = threading.Thread(target=it.run, name="node")
    thread.start()
    try:
        yield it
    finally:
        it.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def remote(port: int, query: str = "") -> RemoteDriver:
    driver = create(f"remote://127.0.0.1:{port}/cam{query}", "far")
    assert isinstance(driver, RemoteDriver)
    return driver


def read(driver: RemoteDriver, count: int, within_s: float = PATIENCE_S) -> list[Frame]:
    frames: list[Frame] = []
    end = time.monotonic() + within_s
    while len(frames) < count and time.monotonic() < end:
        frames += driver.read()
    return frames


def test_frames_come_as_packets_with_the_node_s_stamps() -> None:
    with node() as there, contextlib.closing(remote(there.port)) as driver:
        info = driver.open()
        assert (info.name, info.driver, info.width, info.clock, info.ends) == ("far", "remote", 64, "media", False)
        frames = read(driver, 20)
        assert [frame.seq for frame in frames] == list(range(1, 21))
        assert {(frame.source, frame.packet and frame.packet.format) for frame in frames} == {("far", "jpeg")}
        assert all(frame.device_t_ns is not None and frame.device_t_ns % 20_000_000 == 0 for frame in frames)
        arrivals = [frame.arrival_t_ns for frame in frames]
        assert arrivals == sorted(set(arrivals))
        assert 0 <= time.monotonic_ns() - arrivals[-1] < 10**10, "by this machine's clock"


def test_an_end_is_an_end_and_a_camera_that_does_not_open_says_why() -> None:
    with node(CAMERA + "&count=5") as there, contextlib.closing(remote(there.port)) as driver:
        assert driver.open().ends
        with pytest.raises(EndOfStream):
            read(driver, 100)
    with node("video:nowhere.mp4") as there, contextlib.closing(remote(there.port)) as driver:
        with pytest.raises(SourceError, match="there is no such file") as caught:
            driver.open()
        assert caught.value.code == "no-such-file"
    with pytest.raises(SourceError, match="no camera driver 'x'"):
        Node({"cam": "x:0"}, "127.0.0.1", 0, NodeOptions())


def test_without_the_token_nobody_looks(tmp_path: Path) -> None:
    (tmp_path / "right").write_text(TOKEN + "\n")
    (tmp_path / "wrong").write_text(TOKEN + "!")
    with node(token=TOKEN) as there:
        for query in ("", f"?token_file={tmp_path / 'wrong'}"):
            with pytest.raises(SourceError, match="the token is missing or wrong") as caught:
                remote(there.port, query).open()
            assert caught.value.code == "source-unauthorized"
            assert TOKEN not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
        with contextlib.closing(remote(there.port, f"?token_file={tmp_path / 'right'}")) as driver:
            driver.open()
            assert read(driver, 3)
        with pytest.raises(SourceError, match="no camera of that name"):
            create(f"remote://127.0.0.1:{there.port}/attic?token_file={tmp_path / 'right'}").open()
        page = {"origin": "http://evil.example", "additional_headers": {"Authorization": f"Bearer {TOKEN}"}, "proxy": None}
        with pytest.raises(InvalidStatus) as status, connect(f"ws://127.0.0.1:{there.port}/v1/camera/cam", **page):  # type: ignore[arg-type]
            pass
        assert status.value.response.status_code == 403


def test_pictures_may_travel_encrypted(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=node",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip("openssl is not here to make a certificate: apt-get install openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with node(tls=context) as there:
        with contextlib.closing(remote(there.port, f"?tls=1&ca={tmp_path / 'cert.pem'}")) as driver:
            driver.open()
            assert read(driver, 3)
        with pytest.raises(SourceError, match="certificate"):
            remote(there.port, "?tls=1").open()
        with pytest.raises(SourceError) as caught:
            remote(there.port).open()
        assert caught.value.code == "source-unreachable"


def test_a_cut_network_is_a_lost_source_that_comes_back() -> None:
    frames: list[Frame] = []
    states: list[SourceState] = []
    with node() as there, proxy("127.0.0.1", there.port, delay_s=0.02, jitter_s=0.01) as network:
        reader = Reader(remote(network.bound), frames.extend, states.append)
        reader.start()
        try:
            for round in range(1, 3):
                count = len(frames)
                until(lambda count=count: len(frames) > count + 5, "frames come")  # type: ignore[misc]
                network.cut()
                until(lambda n=round: len(states) >= 2 * n, "lost and back are told")  # type: ignore[misc]
            network.silent = True  # nothing breaks, nothing comes
            until(lambda: len(states) >= 5, "silence is told")
            network.silent = False
            until(lambda: len(states) >= 6, "back after silence")
        finally:
            reader.stop()
    assert [state.state for state in states[:6]] == ["lost", "back"] * 3
    assert "nothing for" in states[4].detail
    seqs = [frame.seq for frame in frames]
    assert seqs == sorted(set(seqs))
    assert network.connections >= 4


def test_a_new_client_takes_over_and_a_camera_nobody_wants_is_closed() -> None:
    with node(linger_s=0.2) as there:
        first, second = remote(there.port), remote(there.port)
        first.open()
        assert read(first, 2)
        second.open()
        assert read(second, 2)
        with pytest.raises(SourceError, match="taken over"):
            read(first, 10**6)
        first.close()
        second.close()
        until(lambda: there.cameras["cam"]._reader is None, "the camera is closed")


class Noting:
    """A driver, and at which instants it was told to start and to stop."""

    armed = True

    def __init__(self, driver: RemoteDriver) -> None:
        self.name, self.from_ns, self.until_ns = driver.name, 0, 0
        self._driver = driver

    def open(self) -> SourceInfo:
        return self._driver.open()

    def read(self) -> list[Frame]:
        return self._driver.read()

    def close(self) -> None:
        self._driver.close()

    def start(self, at_ns: int | None = None) -> None:
        assert at_ns is not None
        self.from_ns = at_ns
        self._driver.start(at_ns)

    def stop(self, at_ns: int | None = None) -> None:
        assert at_ns is not None
        self.until_ns = at_ns
        self._driver.stop(at_ns)


def test_a_rig_starts_and_stops_the_armed_cameras_of_its_nodes_at_one_instant() -> None:
    heard: list[Given] = []

    def of(name: str) -> list[Frame]:
        return [given for given in heard if isinstance(given, Frame) and given.source == name]

    with node() as one, node() as two:
        drivers = [Noting(remote(there.port, "?armed=1")) for there in (one, two)]
        devices = [Device(driver, {"color": RigSource(name, "color")}) for name, driver in zip("ab", drivers, strict=True)]
        rig = Ensemble("far", devices, 40_000_000, 80_000_000, lambda told: None, heard.append)
        rig.start()
        until(lambda: len(of("a")) >= 10 and len(of("b")) >= 10, "ten frames of each")
        asked_ns = time.monotonic_ns()
        rig.stop()
    assert drivers[0].from_ns == drivers[1].from_ns
    assert drivers[0].until_ns == drivers[1].until_ns > asked_ns
    for name in "ab":
        frames = of(name)
        assert drivers[0].from_ns <= frames[0].arrival_t_ns
        assert asked_ns < frames[-1].arrival_t_ns < drivers[0].until_ns, "they go on until the instant"
        assert not frames[0].dropped_before, "what the node left out before was no loss"


def test_several_nodes_start_and_stop_at_one_instant() -> None:
    with node() as one, node() as two:
        drivers = [remote(there.port, "?armed=1") for there in (one, two)]
        for driver in drivers:
            driver.open()
            assert not read(driver, 1, 0.5)  # armed: open, but nothing comes
        start_ns = time.monotonic_ns() + 400_000_000
        got: list[list[Frame]] = [[], []]

        def look() -> None:
            for frames, driver in zip(got, drivers, strict=True):
                frames += driver.read()

        for driver in drivers:
            driver.start(start_ns)
        until(lambda: look() or min(map(len, got)) >= 20, "twenty frames of each", every_s=0.0)
        asked_ns = time.monotonic_ns()
        stop_ns = asked_ns + 800_000_000
        for driver in drivers:
            driver.stop(stop_ns)
        while time.monotonic_ns() < stop_ns + 500_000_000:
            look()
        for frames, driver in zip(got, drivers, strict=True):
            offset = driver.offset()
            assert offset is not None
            slack = 5_000_000 + 2 * offset.uncertainty_ns  # of the exchange, when the node was told and when frames came
            assert start_ns - slack <= frames[0].arrival_t_ns
            assert asked_ns < frames[-1].arrival_t_ns <= stop_ns + slack
            driver.close()


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("remote:door", "needs remote://host:port/name"),
        ("remote://host/door", "needs remote://host:port/name"),
        ("remote://host:99999/door", "needs remote://host:port/name"),
        ("remote://user:secret@host:1/door", "nothing else before"),
        ("remote://host:1/door?ca=x", "is for tls=1"),
        ("remote://host:1/door?clock=sun", "clock"),
    ],
)
def test_a_wrong_uri_is_answered(uri: str, text: str) -> None:
    with pytest.raises(SourceError, match=text) as caught:
        create(uri)
    assert "secret" not in str(caught.value)


def test_the_command_refuses_to_show_a_camera_to_everybody(tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["node", "--camera", CAMERA, *arguments])
        assert result.exit_code == 2
        return result.stderr

    assert "needs --token-file" in refused("--host", "0.0.0.0")
    (tmp_path / "short").write_text("abc")
    assert "at least 16" in refused("--token-file", str(tmp_path / "short"))
    assert "go together" in refused("--tls-cert", str(tmp_path / "short"))
    assert "given twice" in refused("--camera", CAMERA)


# Two machines: two network namespaces, and a clock of its own for one of them.


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a cable: the node is 10.77.0.1, the host 10.77.0.2."""
    near, far = f"mien-host-{os.getpid()}", f"mien-node-{os.getpid()}"
    try:
        _run("ip", "netns", "add", near)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {getattr(error, 'stderr', error)!r}; needs root and iproute2")
    try:
        _run("ip", "netns", "add", far)
        _run("ip", "link", "add", "m0", "netns", near, "type", "veth", "peer", "name", "m1", "netns", far)
        for name, device, address in ((near, "m0", "10.77.0.2/24"), (far, "m1", "10.77.0.1/24")):
            _run("ip", "-n", name, "addr", "add", address, "dev", device)
            _run("ip", "-n", name, "link", "set", device, "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
        yield near, far
    finally:
        _run("ip", "netns", "del", near)
        subprocess.run(["ip", "netns", "del", far], check=False, capture_output=True)


LOOK = """
import json, sys, time
from capture.driver import create
driver = create(sys.argv[1], "far")
driver.open()
until, count = time.monotonic() + 3, 0
while time.monotonic() < until:
    count += len(driver.read())
offset = driver.offset()
driver.close()
print(json.dumps([count, offset.offset_ns, offset.uncertainty_ns]))
"""


@pytest.mark.proof
def test_two_machines_with_clocks_of_their_own(namespaces: tuple[str, str], tmp_path: Path, checkout: Path) -> None:
    """The node's monotonic clock is 1000 s ahead (a time namespace); the network takes 15 ms each way and is cut in a recording."""
    near, far = namespaces
    if subprocess.run(["unshare", "--time", "--monotonic", "1000", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("time namespaces cannot be made here: needs root, Linux 5.6 and util-linux 2.36")
    (tmp_path / "token").write_text(TOKEN)

    def within(name: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", name, *command]

    serve = ["unshare", "--time", "--monotonic", "1000", sys.executable, "-m", "service.cli", "node", "--camera", f"door={CAMERA}"]
    serve += ["--host", "10.77.0.1", "--port", "8766", "--token-file", str(tmp_path / "token")]
    carry = [sys.executable, "-m", "tests.record.proxy", "0", "10.77.0.1", "8766", "15"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": checkout}
    with (
        subprocess.Popen(within(far, *serve), stderr=subprocess.PIPE, **pipes) as server,
        subprocess.Popen(within(near, *carry), **pipes) as network,
    ):  # type: ignore[call-overload]
        try:
            assert server.stdout.readline().startswith("camera door: remote://10.77.0.1:8766/door")
            port = int(network.stdout.readline())
            uri = f"remote://127.0.0.1:{port}/door?token_file={tmp_path / 'token'}"
            looked = subprocess.run(within(near, sys.executable, "-c", LOOK, uri), capture_output=True, text=True, cwd=checkout, check=True)
            count, offset_ns, uncertainty_ns = json.loads(looked.stdout)
            assert count >= 150 / 5
            assert abs(offset_ns - 1000 * 10**9) <= uncertainty_ns
            assert 15_000_000 <= uncertainty_ns <= 5 * 20_000_000
            command = [
                sys.executable,
                "-m",
                "service.cli",
                "record",
                uri,
                "-o",
                str(tmp_path / "a.mcap"),
                "--no-consent",
                "generated",
                "--events",
            ]
            with subprocess.Popen(within(near, *command), stderr=subprocess.DEVNULL, **pipes) as recording:  # type: ignore[call-overload]
                said = []
                while len(said) < 200:
                    said.append(json.loads(recording.stdout.readline()))
                    if len(said) == 50:
                        network.stdin.write("cut\n")
                        network.stdin.flush()
                recording.terminate()
                rest = recording.stdout.read()
                assert recording.wait(PATIENCE_S) == 0
        finally:
            for process in (server, network):
                process.terminate()
    assert [event["state"] for event in said if event["type"] == "source"] == ["lost", "back"]
    replayed = CliRunner().invoke(app, ["replay", str(tmp_path / "a.mcap"), "--check"])
    assert replayed.exit_code == 0, replayed.stderr
    assert [json.loads(text) for text in replayed.stdout.splitlines()] == said + [json.loads(text) for text in rest.splitlines()]
