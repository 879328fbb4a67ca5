"""`make mutants` itself: it catches what tests catch, says what they do not, and leaves the working tree alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.scratch import copied, environment


def run(tree: Path, media: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutants", *arguments]
    return subprocess.run(command, cwd=tree, env=environment(tree, media), capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path, checkout: Path) -> Path:
    """A copy whose session tests may be replaced by weaker ones."""
    tree = copied(checkout, tmp_path / "tree")
    for old in (tree / "tests" / "session").glob("test_*.py"):
        old.unlink()
    # The same area's other file: it stays, for its name is in the core list, but tests nothing.
    (tree / "tests" / "cli" / "test_valence_only.py").write_text("", encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    return tree


def test_tests_that_notice_nothing_catch_nothing(tree: Path, media: Path) -> None:
    (tree / "tests" / "session" / "test_weak.py").write_text(
        "from service.clock import SessionClock\n\n\ndef test_it_can_be_made() -> None:\n    SessionClock()\n", encoding="utf-8"
    )
    before = (tree / "service" / "clock.py").read_bytes()
    done = run(tree, media, "service/clock.py", "--at-least", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "service/clock.py: 0 of 32 caught" in done.stdout
    assert "service/clock.py:40 in SessionClock.judge; no test runs it\n    - if step <= 0:\n    + if step < 0:\n" in done.stdout
    assert "service/clock.py:13 in the module; 1 tests run it\n    - FORWARD_NS = 10_000_000_000\n" in done.stdout
    assert (tree / "service" / "clock.py").read_bytes() == before


@pytest.mark.proof
def test_a_child_of_a_test_runs_the_mutant_and_an_endless_loop_ends(tree: Path, media: Path) -> None:
    (tree / "service" / "clock.py").write_text("FORWARD_NS = 7\nwhile FORWARD_NS < 0:\n    pass\n", encoding="utf-8")
    (tree / "tests" / "session" / "test_child.py").write_text(
        "import subprocess, sys\n\n\ndef test_a_child() -> None:\n    from service import clock\n"
        "    code = 'import service.clock as c; raise SystemExit(c.FORWARD_NS)'\n"
        "    assert clock and subprocess.run([sys.executable, '-c', code], cwd='/').returncode == 7\n",
        encoding="utf-8",
    )
    done = run(tree, media, "service/clock.py")
    # Of four faults, `not (FORWARD_NS < 0)` never ends, 8 is for the child alone to notice, and two change nothing.
    assert "service/clock.py: 2 of 4 caught (1 by a time limit)" in done.stdout, done.stdout + done.stderr
    assert "FORWARD_NS = 8" not in done.stdout


def test_tests_that_fail_without_a_mutant_prove_nothing(tree: Path, media: Path) -> None:
    (tree / "tests" / "session" / "test_broken.py").write_text("def test_broken() -> None:\n    assert 1 == 2\n", encoding="utf-8")
    done = run(tree, media, "service/clock.py")
    assert done.returncode == 1
    assert "the tests fail without a mutant" in done.stderr


PROVEN = [
    "service/session.py", "service/clock.py", "service/perception/track.py", "service/windows/record.py", "service/windows/sampling.py",
    "service/windows/value.py", "service/windows/window.py", "service/reports.py", "service/clips/vtt.py",
]  # fmt: skip


@pytest.mark.proof
def test_of_a_draw_of_faults_the_tests_catch_most(checkout: Path, media: Path) -> None:
    # The same draw at every run, so that the same code gets the same answer; `make mutants` makes other ones.
    done = run(checkout, media, *PROVEN, "--sample", "40", "--seed", "12", "--at-least", "85")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
