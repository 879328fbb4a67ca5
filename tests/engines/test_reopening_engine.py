"""A lost engine fails at once until it is back, comes back by itself, and only as what it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from engines.engine import Arrays, BackendLost, Engine, EngineError, EngineInfo
from engines.reopening import ReopeningEngine
from engines.synthetic import SyntheticEngine
from tests.waiting import PATIENCE_S, until

ONE = {"x": np.ones((1, 3), np.float32)}
WAIT_S = PATIENCE_S


class Runtime:
    """A runtime that can go away: engines of it are lost while it is `gone`. `tries`: how often one was opened."""

    def __init__(self) -> None:
        self.gone = False
        self.closed = 0
        self.tried, self.freed = threading.Event(), threading.Event()
        self.info = EngineInfo("synthetic:there", "1", 1)

    def open(self) -> Engine:
        self.tried.set()
        if self.gone:
            raise BackendLost("still gone")
        return _Engine(self)

    def row(self, inputs: Arrays) -> Arrays:
        if self.gone:
            raise BackendLost("the device has gone")
        return {"y": inputs["x"] * 2}


class _Engine(SyntheticEngine):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.row)
        self.info = runtime.info
        self._runtime = runtime

    def close(self) -> None:
        self._runtime.closed += 1
        self._runtime.freed.set()


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def engine(runtime: Runtime) -> Iterator[ReopeningEngine]:
    made = ReopeningEngine(runtime.open(), runtime.open, every_s=0.01)
    runtime.tried.clear()
    yield made
    made.close()


def lose(runtime: Runtime, engine: Engine) -> None:
    runtime.gone = True
    with pytest.raises(BackendLost, match="the device has gone"):
        engine.run(ONE)


def back(engine: Engine) -> Arrays:
    """Run until it works."""

    def works() -> Arrays | None:
        try:
            return engine.run(ONE)
        except BackendLost:
            return None

    found = until(works, "it is back")
    assert found is not None
    return found


def test_it_is_the_engine_while_all_is_well(engine: ReopeningEngine, runtime: Runtime) -> None:
    np.testing.assert_array_equal(engine.run(ONE)["y"], [[2, 2, 2]])
    assert engine.info == runtime.info
    assert not runtime.tried.is_set()


def test_lost_it_says_why_and_is_freed(engine: ReopeningEngine, runtime: Runtime) -> None:
    lose(runtime, engine)
    assert runtime.freed.wait(WAIT_S)
    assert runtime.tried.wait(WAIT_S)
    with pytest.raises(BackendLost, match=r"gone; it is tried again every 0\.01 s"):
        engine.run(ONE)


@pytest.mark.parametrize("times", [1, 3])
def test_it_comes_back(engine: ReopeningEngine, runtime: Runtime, times: int) -> None:
    for _ in range(times):
        lose(runtime, engine)
        runtime.gone = False
        np.testing.assert_array_equal(back(engine)["y"], [[2, 2, 2]])
    assert runtime.closed == times


def test_no_run_waits_for_an_opening_that_hangs(runtime: Runtime) -> None:
    hang, began = threading.Event(), threading.Event()

    def slow() -> Engine:
        began.set()
        hang.wait(WAIT_S)
        return runtime.open()

    engine = ReopeningEngine(runtime.open(), slow, every_s=0.0)
    lose(runtime, engine)
    assert began.wait(WAIT_S)
    for _ in range(1000):
        with pytest.raises(BackendLost):
            engine.run(ONE)
    engine.close()
    runtime.gone = False
    runtime.freed.clear()
    hang.set()
    assert runtime.freed.wait(WAIT_S), "what was opened after the end is closed again"


def test_it_does_not_come_back_as_something_else(engine: ReopeningEngine, runtime: Runtime) -> None:
    lose(runtime, engine)
    runtime.info, runtime.gone = EngineInfo("synthetic:elsewhere", "1", 1), False
    runtime.freed.clear()
    assert runtime.freed.wait(WAIT_S)  # the other one
    with pytest.raises(BackendLost, match="came back as synthetic:elsewhere and was synthetic:there"):
        engine.run(ONE)


def test_what_does_not_fit_loses_nothing(runtime: Runtime) -> None:
    engine = ReopeningEngine(runtime.open(), runtime.open)
    with pytest.raises(EngineError):
        engine.run({})
    assert engine.run(ONE)
    engine.close()


def test_closed_it_runs_no_more_and_is_not_tried_again(engine: ReopeningEngine, runtime: Runtime) -> None:
    before = set(threading.enumerate())
    lose(runtime, engine)
    assert runtime.tried.wait(WAIT_S)
    (trying,) = set(threading.enumerate()) - before
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(ONE)
    trying.join(WAIT_S)
    assert not trying.is_alive()
    runtime.tried.clear()
    runtime.gone = False
    with pytest.raises(EngineError, match="closed"):
        engine.run(ONE)
    assert not runtime.tried.wait(0.2)
