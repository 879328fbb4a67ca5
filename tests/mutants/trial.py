"""One run of pytest over a scratch copy, in a process forked from this one, whose packages from elsewhere are imported already.

Owns which tests judge a mutant (those that run its lines), in which order, and for how long. Does not own what is changed.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import psutil

Fate = Literal["caught", "timeout", "survived"]

PRELOADED = ("cv2", "fastapi", "httpx", "hypothesis", "numpy", "prometheus_client", "psutil", "pydantic", "pytest", "typer", "websockets")
OF_OURS = ("capture", "engines", "exporters", "service", "tests", "benchmarks")
CPU_S, WALL_S = 10.0, 120.0
"""What a mutant's tests may take on top of a multiple of what they take without it; processor time hardly depends on other load."""
FACTOR = 5.0
ALWAYS = ("-p", "no:randomly", "-p", "no:cacheprovider", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Fixed order; and a plugin that was imported before pytest ran loses its detailed assertions alone."""
NOTHING_RAN, BROKEN = 5, 99
"""How pytest ends when it has no test to run, and how a fork ends when pytest raised."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the tests of an area take, in seconds, and which of them run which line of which module; '' is what an import runs."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, Sequence[str]]]

    def tests(self, module: str, first: int, last: int, otherwise: bool) -> list[str]:
        """Return the tests that run a line of a range, quickest files first; `otherwise`: all, where this process saw no line run."""
        contexts = {context for line in range(first, last + 1) for context in self.lines.get(module, {}).get(line, ())}
        chosen: set[str] = set()
        for context in contexts:
            test, _, stage = context.rpartition("|")
            if not test:  # an import runs it: every test may depend on it
                chosen |= self.seconds.keys()
            elif stage == "run":
                chosen.add(test)
            else:  # a fixture runs it, maybe for others than the test that happened to come first
                chosen |= {other for other in self.seconds if other.partition("::")[0] == test.partition("::")[0]}
        chosen = chosen or (set(self.seconds) if otherwise else set())
        took: dict[str, float] = {}
        for test in chosen:
            took[test.partition("::")[0]] = took.get(test.partition("::")[0], 0.0) + self.seconds[test]
        return sorted(chosen, key=lambda test: (took[test.partition("::")[0]], list(self.seconds).index(test)))


@dataclass(slots=True)
class _Chosen:
    """A pytest plugin: runs these tests alone, in this order, and keeps how the session ended."""

    order: dict[str, int]
    ended: int | None = None

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid])

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.ended = int(exitstatus)


@dataclass(slots=True)
class _Measured:
    """A pytest plugin: notes which stage of which test runs which line, and what each takes."""

    measuring: Any
    seconds: dict[str, float] = field(default_factory=dict)

    def _switch(self, item: Any, stage: str) -> None:
        self.measuring.switch_context(f"{item.nodeid}|{stage}")

    def pytest_runtest_setup(self, item: Any) -> None:
        self._switch(item, "setup")

    def pytest_runtest_call(self, item: Any) -> None:
        self._switch(item, "run")

    def pytest_runtest_teardown(self, item: Any) -> None:
        self._switch(item, "setup")

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def preload() -> None:
    """Import what tests import from elsewhere, once, so that no mutant pays for it."""
    for name in PRELOADED:
        importlib.import_module(name)


def measured(scratch: Path, environment: Mapping[str, str], modules: Sequence[str], tests: Sequence[str], report: Path) -> Coverage:
    """Run an area's tests without a mutant.

    Raises:
        RuntimeError: they fail.
    """
    log = report.with_suffix(".log")
    process = os.fork()
    if not process:
        _measure(scratch, environment, modules, tests, report, log)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise RuntimeError(f"the tests fail without a mutant; mend them first: {log.read_text(errors='replace')[-4000:]}")
    found = json.loads(report.read_text(encoding="utf-8"))
    lines = {module: {int(line): tuple(tests) for line, tests in rows.items()} for module, rows in found["lines"].items()}
    return Coverage(found["seconds"], lines)


def tried(scratch: Path, environment: Mapping[str, str], tests: Sequence[str], seconds: float, log: Path) -> Fate:
    """Run tests against the mutant that is in the copy; `seconds` is what they take without it."""
    process = os.fork()
    if not process:
        cpu_s = int(FACTOR * seconds + CPU_S)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
        _become(scratch, environment, log)
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        _pytest([*files, "-x", f"--basetemp={log.with_suffix('.tmp')}"], _Chosen({test: index for index, test in enumerate(tests)}))
    status = _waited(process, FACTOR * seconds + WALL_S)
    if status is None or status in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout"
    if status == BROKEN:
        raise RuntimeError(f"a mutant could not be tried: {log.read_text(errors='replace')[-4000:]}")
    return "survived" if status in (0, NOTHING_RAN) else "caught"


def _waited(process: int, limit_s: float) -> int | None:
    """Return how a process ended, or None: it took too long, and was ended with whatever it had started."""
    until = time.monotonic() + limit_s
    started: list[psutil.Process] = []
    try:
        while time.monotonic() < until:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        started = psutil.Process(process).children(recursive=True)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        for left in started:
            with suppress(psutil.NoSuchProcess):
                left.kill()


def _become(scratch: Path, environment: Mapping[str, str], log: Path) -> None:
    """Turn a fork into a process that knows the copy alone, and writes to a log."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(scratch)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    for name in [name for name in sys.modules if name.partition(".")[0] in OF_OURS]:
        del sys.modules[name]
    sys.path[:] = [str(scratch), *(path for path in sys.path if path not in ("", str(Path(__file__).resolve().parents[2])))]
    importlib.invalidate_caches()


def _pytest(arguments: Sequence[str], plugin: _Chosen) -> NoReturn:
    import pytest

    status = BROKEN
    try:
        status = int(pytest.main([*ALWAYS, *arguments], plugins=[plugin]))
    except BaseException:
        traceback.print_exc()
        # What a test left behind may be collected, and complained of, after the last test has ended.
        status = BROKEN if plugin.ended is None else plugin.ended
    finally:
        sys.stdout.flush()
        os._exit(status)


def _measure(
    scratch: Path, environment: Mapping[str, str], modules: Sequence[str], tests: Sequence[str], report: Path, log: Path
) -> NoReturn:
    try:
        # Byte code may be written here: nothing is changed yet, and each mutant's run is the quicker for it.
        _become(scratch, {**environment, "COVERAGE_CORE": "ctrace", "PYTHONDONTWRITEBYTECODE": ""}, log)
        import coverage
        import pytest

        measuring = coverage.Coverage(data_file=None, include=[str(scratch / module) for module in modules], config_file=False)
        plugin = _Measured(measuring)
        measuring.start()
        status = int(pytest.main([*ALWAYS, f"--basetemp={log.with_suffix('.tmp')}", *tests], plugins=[plugin]))
        measuring.stop()
        data = measuring.get_data()
        lines = {module: data.contexts_by_lineno(str(scratch / module)) for module in modules}
        report.write_text(json.dumps({"seconds": plugin.seconds, "lines": lines}), encoding="utf-8")
    except BaseException:
        traceback.print_exc()
        status = BROKEN
    sys.stdout.flush()
    os._exit(status)
