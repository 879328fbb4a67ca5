"""What every test may ask for, and how hypothesis behaves here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.media import ensure

pytest_plugins = ["tests.limits", "tests.without_torch"]

# Deadlines would measure this machine's other load. In CI the examples are the same at every run; elsewhere they wander.
settings.register_profile("mien", deadline=None)
settings.register_profile("mien-ci", parent=settings.get_profile("mien"), derandomize=True)
settings.load_profile("mien-ci" if os.environ.get("CI") else "mien")


@pytest.fixture(scope="session")
def media() -> Path:
    """Return the folder of real clips and pictures (`tests/media.py` names them)."""
    return ensure()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the root of the source tree the tests belong to."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what servers store by default out of this user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state-home")))
        yield


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this user's own settings from a command."""
    for name in [name for name in os.environ if name.upper().startswith("MIEN_")]:
        monkeypatch.delenv(name)
