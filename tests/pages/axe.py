"""axe-core, which finds what keeps people from using a page: fetched once from the npm registry, pinned, never committed.

Owns where it lies and what its bytes must be.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.pages.browser import Page

PACKAGE = "axe-core@4.14.1"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
FILE = Path(__file__).resolve().parents[2] / ".cache" / "npm" / "axe-core-4.14.1.min.js"
INSTALL = "sudo apt-get install npm"


def available() -> bool:
    """Whether it is here, or can be fetched."""
    return FILE.is_file() or shutil.which("npm") is not None


def source() -> str:
    """The library's text."""
    if not FILE.is_file():
        with tempfile.TemporaryDirectory(prefix="mien-axe-") as scratch:
            subprocess.run(["npm", "pack", "--silent", "--pack-destination", scratch, PACKAGE], check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(scratch).glob("*.tgz")
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            assert found == SHA256, f"{PACKAGE} has sha256 {found}; {SHA256} is pinned"
            with tarfile.open(archive) as files:
                member = files.extractfile("package/axe.min.js")
                assert member is not None
                FILE.parent.mkdir(parents=True, exist_ok=True)
                partial = FILE.with_suffix(f".{os.getpid()}")
                partial.write_bytes(member.read())
                partial.replace(FILE)
    return FILE.read_text(encoding="utf-8")


def serious(page: Page) -> list[str]:
    """What axe finds on the page as it is, serious or worse: rule, help, and the elements."""
    page.value(source() + ";0")
    found = json.loads(page.value("axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations))"))
    return [
        f"{rule['id']}: {rule['help']}: {', '.join(node['html'][:120] for node in rule['nodes'])}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
