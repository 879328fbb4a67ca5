"""`make run` on the machine of a newcomer: a Debian with python3, make and git and nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from service.client import Mien
from tests.packaging.bare_debian import Bare, make

pytestmark = pytest.mark.proof
PATIENCE_S = 900.0


@pytest.fixture(scope="module")
def bare(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """A root without anything of mien, not even python3-venv."""
    return make(tmp_path_factory.mktemp("bare") / "root", checkout)


def test_a_newcomer_meets_mien(bare: Bare, tmp_path: Path) -> None:
    """One story, in this order: the doctor on a bare machine, a user who may install nothing, `make run` as root, the doctor again."""
    _doctor_prints_its_table_before_anything_is_installed(bare)
    _a_user_who_may_install_nothing_gets_one_line_with_the_command(bare)
    _make_run_shows_labels_of_the_demo_clip(bare, tmp_path / "run.log")
    _doctor_finds_all_it_needs_after_that(bare)


def _doctor_prints_its_table_before_anything_is_installed(bare: Bare) -> None:
    done = bare.run("python3 -m service doctor --format json", as_root=False)
    assert done.returncode == 1, done.stdout
    found = {(one["topic"], one["name"]): one for one in json.loads(done.stdout)}
    assert found["machine", "python"]["state"] == "ok"
    assert found["libraries", "numpy"]["state"] == "fault"


def _a_user_who_may_install_nothing_gets_one_line_with_the_command(bare: Bare) -> None:
    done = bare.run("make run", as_root=False)
    assert done.returncode == 2
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 2, done.stdout
    assert "cannot make environments" in lines[0]
    assert lines[1].startswith("make: not allowed to install here; do it with: sudo apt-get install python3.")


def _make_run_shows_labels_of_the_demo_clip(bare: Bare, log: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with bare.started(f"make run PORT={port}", as_root=True, log=log) as process:
        site = f"http://127.0.0.1:{port}"
        _wait_for(f"{site}/readyz", process, log)
        with urllib.request.urlopen(f"{site}/") as page:
            assert "<title>" in page.read().decode()
        with Mien(site).stream("demo") as events:
            results = (event for event in events if event.type == "result")
            label = next(face.prediction.label for event in results for face in event.faces if face.prediction is not None)
        assert label in {"neutral", "happy"}
    printed = log.read_text()
    assert "make: installing python3." in printed, "what is installed is announced"
    assert "make: new environment .venv with Python 3." in printed
    assert "Traceback" not in printed


def _doctor_finds_all_it_needs_after_that(bare: Bare) -> None:
    done = bare.run(".venv/bin/mien doctor --format json", as_root=True)
    found = {(one["topic"], one["name"]): one for one in json.loads(done.stdout)}
    assert done.returncode == 0, [one for one in found.values() if one["state"] == "fault"]
    assert found["runtimes", "onnx"]["state"] == "ok"
    assert found["models", "fer-small (chosen)"]["state"] == "ok"


def _wait_for(address: str, process: subprocess.Popen[str], log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=5.0).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(f"not ready within {PATIENCE_S:g} s:\n{log.read_text()}")
