"""The plugin of tests/limits.py, in runs of pytest of its own: a test over its limit ends, with its children, and the next one runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil

from tests.waiting import PATIENCE_S

HEAD = r"""
import os, subprocess, sys, time
import pytest
SLEEP = [sys.executable, "-c", "import time; time.sleep(3600)"]

def started(name):
    process = subprocess.Popen(SLEEP)
    open(name, "a").write(f"{process.pid}\n")
    return process

def childs_child(name):
    silent = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    code = f"import subprocess; print(subprocess.Popen({SLEEP}, {silent}).pid)"
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    open(name, "a").write(f"{pid}\n")
    return pid
"""
HELPED = """
@pytest.fixture(scope="session")
def helper():
    pid = childs_child("pids-of-helpers")
    yield pid
    os.kill(pid, 9)
"""
LATER = """
import os

def test_later(helper):
    os.kill(helper, 0)
"""
HANGS = """
def test_waits_for_a_child_for_ever():
    with started("pids"):
        pass

def test_waits_for_the_output_of_a_childs_child():
    subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.Popen({SLEEP})"], capture_output=True)

def test_hangs_in_its_cleaning_up():
    child = started("pids")
    try:
        time.sleep(3600)
    finally:
        child.wait()

def test_next():
    pass
"""
LEAVES = """
@pytest.fixture(scope="module")
def server():
    server = [started("pids")]
    yield server
    server[0].kill()
    server[0].wait()

def test_uses(server, helper):
    assert server[0].poll() is None

def test_starts_the_server_again(server):
    server[0].kill()
    server[0].wait()
    server[0] = started("pids")

def test_leaves_one(server):
    started("pids")

def test_leaves_the_child_of_a_child():
    childs_child("pids")
"""


def ran(place: Path, checkout: Path, text: str) -> tuple[str, dict[str, str]]:
    """Run a file of tests, and a later one, with limits of 3 s; return what was printed, and how each test ended."""
    files = {
        "conftest.py": HEAD + HELPED,
        "test_inner.py": HEAD + text,
        "test_later.py": LATER,
        "pytest.ini": "[pytest]\nlimit_s=3\nleave_s=1\n",
    }
    for name, content in files.items():
        (place / name).write_text(content)
    command = [sys.executable, "-m", "pytest", "-p", "tests.limits", "-p", "no:randomly", "-v", "--rootdir", str(place), "-c", "pytest.ini"]
    done = subprocess.run(
        [*command, "test_inner.py", "test_later.py"], cwd=place, env={"PYTHONPATH": str(checkout), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    return done.stdout, dict(re.findall(r"test_\w+\.py::(\w+) (PASSED|FAILED|ERROR)", done.stdout))


def gone(place: Path) -> bool:
    pids = [int(line) for line in (place / "pids").read_text().split()]
    assert pids
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_a_test_over_its_limit_ends_with_its_children_and_the_next_one_runs(tmp_path: Path, checkout: Path) -> None:
    text, ends = ran(tmp_path, checkout, HANGS)
    assert ends == {
        "test_waits_for_a_child_for_ever": "FAILED", "test_waits_for_the_output_of_a_childs_child": "FAILED",
        "test_hangs_in_its_cleaning_up": "FAILED", "test_next": "PASSED", "test_later": "PASSED",
    }, text  # fmt: skip
    assert text.count("E       Failed: took longer than 3 s; its processes, ended now: ") == 3
    assert 'test_inner.py", line' in text, "the stack is shown"
    assert gone(tmp_path)


def test_what_a_test_leaves_running_is_ended_and_named(tmp_path: Path, checkout: Path) -> None:
    text, ends = ran(tmp_path, checkout, LEAVES)
    assert ends == {
        "test_uses": "PASSED", "test_starts_the_server_again": "PASSED", "test_leaves_one": "ERROR",
        "test_leaves_the_child_of_a_child": "ERROR", "test_later": "PASSED",
    }, text  # fmt: skip
    left = re.findall(r"left running, and ended now: (\d+) \(", text)
    pids = (tmp_path / "pids").read_text().split()
    assert left == [pids[2], pids[3]], "each once; what fixtures in use have started is nobody's fault"
    assert gone(tmp_path)
