"""A server of clips with default limits, for the rows of FAULTS that speak of clips."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clips.at_work import ClipServer, serving


@pytest.fixture(scope="package")
def clip_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipServer]:
    with serving(tmp_path_factory.mktemp("clips") / "state") as server:
        yield server
        assert not server.files() or all(entry.startswith("results/") for entry in server.files())
