"""What a test may take and leave: a time limit that ends its children too, and no process that outlives it.

A pytest plugin; pyproject.toml has the limits. Owns which process belongs to which test or fixture. Does not own patience inside a test
(`waiting.py`). pytest-timeout does not do it: its limit raises in the test alone, where `with subprocess.Popen(…)` then waits for a
child that nobody ends, and after a failure it does not cover the teardown.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

AGAIN_S = 30.0
"""How long what cleans up after a test over its limit may take before it is ended as well."""
LAST_S = 600.0
"""How long after its limit a test that does not even heed a signal ends the whole run."""
MARK = "PYTEST_RUN_OF_CHILDREN"
_OURS = f"{os.getpid()}-{uuid.uuid4().hex}"
_owned: dict[object, set[psutil.Process]] = {}
"""Processes by the fixture of a module, package or session that started them, while it is in use."""
_stderr = [2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("limit_s", "seconds that setting up, running or taking down a test may take", default="300")
    parser.addini("proof_limit_s", "the same for a test marked proof", default="1800")
    parser.addini("leave_s", "seconds that a process which was told to end may take to be gone after its test", default="30")


def pytest_configure(config: pytest.Config) -> None:
    os.environ[MARK] = _OURS
    _stderr[0] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)  # not the one that is captured


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    with _limited(item):
        done = yield
    last = nextitem is None or nextitem.path != item.path
    if left := _left(float(item.config.getini("leave_s")), orphans=last):
        named = ", ".join(sorted(map(_named, left)))
        _end(left)
        pytest.fail(f"left running, and ended now: {named}", pytrace=False)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    if fixturedef.scope == "function":
        return (yield)
    before = _children() | _orphans()
    try:
        return (yield)
    finally:
        _owned[fixturedef] = (_children() | _orphans()) - before


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    _owned.pop(fixturedef, None)


@contextmanager
def _limited(item: pytest.Item) -> Iterator[None]:
    """Fail what is inside when it is over the limit, after ending what it started: nothing then waits for a child that goes on."""
    limit_s = float(item.config.getini("proof_limit_s" if item.get_closest_marker("proof") else "limit_s"))
    if item.config.getoption("usepdb") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(*_: object) -> None:
        faulthandler.dump_traceback(file=2)  # captured: it comes with the report
        ended = _strays(orphans=True)
        named = ", ".join(sorted(map(_named, ended))) or "none"
        _end(ended)
        pytest.fail(f"took longer than {limit_s:g} s; its processes, ended now: {named}")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit_s, AGAIN_S)
    faulthandler.dump_traceback_later(limit_s + LAST_S, exit=True, file=_stderr[0])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _left(leave_s: float, orphans: bool) -> set[psutil.Process]:
    """Return what runs and belongs to no fixture in use, once what is about to end has ended."""
    until = time.monotonic() + leave_s
    while (left := _strays(orphans)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _strays(orphans: bool) -> set[psutil.Process]:
    """Return the children that belong to no fixture in use; `orphans`: and what this run started and has lost its parent."""
    found = _children() | (_orphans() if orphans else set())
    strays = found - set().union(*_owned.values())
    for started in _owned.values():
        # A test may kill what a fixture of its module started, and start it again.
        for gone in started - set(_running(started)):
            if strays:
                started.discard(gone)
                started.add(strays.pop())
    return strays


def _children() -> set[psutil.Process]:
    # Asked after every test: where the kernel tells, it is a hundred times cheaper than a look at all processes.
    told = list(Path("/proc/self/task").glob("*/children"))
    if not told:
        return set(_running(psutil.Process().children()))
    found = []
    for listed in told:
        with suppress(OSError, psutil.Error):  # the thread or the child has ended meanwhile
            found += [psutil.Process(int(pid)) for pid in listed.read_text().split()]
    return set(_running(found))


def _orphans() -> set[psutil.Process]:
    found, descendants = set(), set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == _OURS and process not in descendants:
                found.add(process)
    return set(_running(found))


def _running(processes: Iterable[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        with suppress(psutil.Error):
            # Python starts its own resource tracker once, and keeps it.
            if process.status() != psutil.STATUS_ZOMBIE and "multiprocessing.resource_tracker" not in " ".join(process.cmdline()):
                yield process


def _named(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} ({' '.join(process.cmdline())[:200]})"
    return str(process.pid)


def _end(processes: Iterable[psutil.Process]) -> None:
    """End processes and whatever they started."""
    for process in processes:
        with suppress(psutil.Error):
            for one in (*process.children(recursive=True), process):
                with suppress(psutil.Error):
                    one.kill()
