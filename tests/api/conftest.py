"""Servers for the API's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.tiny import Running, running


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with two loadable models and default limits."""
    with running() as it:
        yield it
