"""The wheel, built once for all that is tried with it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.packaging.wheels import build


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from an sdist, so that what the sdist lacks is missed."""
    out = tmp_path_factory.mktemp("dist")
    built = build(checkout, out)
    with tarfile.open(next(out.glob("*.tar.gz"))) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert {"LICENSE", "NOTICE", "README.md", "Makefile", "tests/media.py", ".ci/run"} <= names
    assert not [name for name in names if name.startswith((".cache", ".venv", "dist"))]
    return built
