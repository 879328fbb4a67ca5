"""Lower bounds are promises: the suite passes with the oldest version of every dependency that pyproject.toml allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.proof
WORKERS = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile")
"""As `make test` runs it."""


def test_the_suite_passes_with_the_lowest_versions(checkout: Path, tmp_path: Path) -> None:
    """All but three folders.

    What a browser sees (pages) does not depend on Python packages; goldens are recorded with the newest, and another OpenCV decodes and
    resizes by a little otherwise (0.005 of a probability on one face of a photograph); mutants are a developer's tool.
    """
    home = tmp_path / "lowest"
    made = [sys.executable, checkout / "deploy" / "environment.py", "developer", "--venv", home, "--lowest"]
    subprocess.run(made, check=True, timeout=600)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    suite = [
        home / "bin" / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rf",
        *(f"--ignore=tests/{name}" for name in ("pages", "goldens", "mutants")),
        *WORKERS,
    ]
    done = subprocess.run(
        suite, cwd=checkout, env=environment, timeout=1700, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout.splitlines()[-1]
