"""A suite without torch: the exporters' tests are left out, and the last lines name how to get them.

Owns the hooks that turn a missing torch into a skip, for modules that import it and for tests that come upon it. Does nothing where
torch is installed. `deploy/environment.py` installs it where its CPU build is to be had.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Generator

import pytest

ABSENT = importlib.util.find_spec("torch") is None
REASON = "torch is not installed: the exporters' tests are left out"
REMEDY = (
    "the exporters' tests were left out: this environment has no torch, for pip knows no CPU build of it here.\n"
    "To run them: {python} -m pip install torch --index-url https://download.pytorch.org/whl/cpu, and make test again."
)


@pytest.fixture(scope="session")
def needs_torch() -> None:
    """Skip a test that starts a command which needs torch."""
    if ABSENT:
        pytest.skip(REASON)


def _lacks_torch(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "onnxscript", "onnx_ir"):
            return True
        error = error.__cause__ or error.__context__
    return False


if ABSENT:

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Skip a module that cannot be imported without torch."""
        report = yield
        call = getattr(report, "call", None)
        if report.failed and call is not None and call.excinfo is not None and _lacks_torch(call.excinfo.value):
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 1, REASON)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Skip a test that comes upon the missing torch while it runs."""
        report = yield
        if report.failed and call.excinfo is not None and _lacks_torch(call.excinfo.value):
            report.outcome = "skipped"
            report.longrepr = (str(item.path), (item.location[1] or 0) + 1, REASON)
        return report

    def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
        """Say at the end what was left out, and how to get it."""
        terminalreporter.section("without torch")
        terminalreporter.write_line(REMEDY.format(python=sys.executable))
