"""A copy of the tree that mutants are written into; the working tree is never touched.

Owns what is copied and that this copy, not the working tree, is what its tests and their children import. Does not run anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def copied(root: Path, to: Path) -> Path:
    """Copy what git tracks or would track; return the copy's root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, to / name)
    return to


def environment(scratch: Path, media: Path) -> dict[str, str]:
    """Return the variables under which the copy, and whatever its tests start, imports the copy; examples are the same at every run."""
    # What installed the working tree into the environment put it behind PYTHONPATH.
    return os.environ | {
        "PYTHONPATH": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",  # byte code is known by time and size: a mutant would run as the one before it
        "PYTEST_ADDOPTS": "",
        "TEST_MEDIA": str(media),
        "CI": "true",
    }


@contextmanager
def written(scratch: Path, module: str, text: str) -> Iterator[None]:
    """Put a mutant in the place of its module."""
    path = scratch / module
    for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        stale.unlink()
    before = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")
