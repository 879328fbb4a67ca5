"""ONNX Runtime on the CPU gives the same bytes: run by run, in a fresh process, and whatever rows are beside a row."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.engine import Engine, EngineOptions
from engines.folder import open_folder
from engines.manifest import Graph
from engines.open import open_engine
from tests.engines.contract import SHIPPED, batch, graphs

ROWS = 6
INVARIANT = [
    (folder.manifest.id, part)
    for folder in map(open_folder, sorted(path for path in SHIPPED.iterdir() if path.is_dir()))
    if folder.manifest.batch.invariant
    for part, _ in graphs(folder)
]
OTHER_PROCESS = """
import sys
from tests.engines.test_onnx_bytes import digest
print(digest(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def opened(id: str, part: str, threads: int = 1) -> tuple[Engine, Graph]:
    folder = open_folder(SHIPPED / id)
    (graph,) = (graph for name, graph in graphs(folder) if name == part)
    return open_engine(folder, part, EngineOptions(providers=("CPUExecutionProvider",), threads=threads)), graph  # type: ignore[arg-type]


def digest(id: str, part: str, threads: int) -> str:
    """The sha256 of what a shipped graph says of fixed inputs."""
    engine, graph = opened(id, part, threads)
    outputs = engine.run(batch(graph, ROWS))
    return hashlib.sha256(b"".join(outputs[name].tobytes() for name in sorted(outputs))).hexdigest()


def test_shipped_models_are_invariant() -> None:
    assert ("fer-small", "frame") in INVARIANT


@pytest.mark.parametrize(("id", "part"), INVARIANT)
def test_runs_and_threads_and_processes_agree(checkout: Path, id: str, part: str) -> None:
    said = {digest(id, part, threads) for threads in (1, 1, 2)}
    for threads in ("1", "2"):
        command = [sys.executable, "-c", OTHER_PROCESS, id, part, threads]
        said.add(subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip())
    assert len(said) == 1


@pytest.mark.parametrize(("id", "part"), INVARIANT)
def test_rows_do_not_depend_on_their_neighbours(id: str, part: str) -> None:
    engine, graph = opened(id, part)
    rows = batch(graph, ROWS)
    alone = [engine.run({name: array[i : i + 1] for name, array in rows.items()}) for i in range(ROWS)]

    @settings(max_examples=12, suppress_health_check=[HealthCheck.differing_executors])
    @given(chosen=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=9))
    def compose(chosen: list[int]) -> None:
        found = engine.run({name: array[chosen] for name, array in rows.items()})
        for place, i in enumerate(chosen):
            for name, array in found.items():
                assert array[place].tobytes() == np.ascontiguousarray(alone[i][name][0]).tobytes(), (name, i)

    compose()
