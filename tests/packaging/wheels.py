"""Running commands as a stranger to the checkout would, and building its wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import PATIENCE_S

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""Those that mien promises."""


def outside(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what points into the checkout, and with `more`."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "MIEN_", "COV_"))} | dict(more or {})


def run(*command: str | Path, cwd: Path, timeout_s: float = PATIENCE_S, environment: Mapping[str, str] | None = None) -> str:
    """Run a command where no checkout can be seen, `environment` added to this one's; return what it printed."""
    env = outside(environment)
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(checkout: Path, out: Path, *kinds: str) -> Path:
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", out, checkout, cwd=out)
    return next(out.glob("*.whl"))


def project(checkout: Path) -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table
