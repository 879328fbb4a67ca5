"""When a TensorRT run is recorded and when that recording ends: the order of calls, without a device.

What a device makes of these calls, the contract suite of backends says where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cuda.bindings.runtime")

from engines.backends.tensorrt import AGAIN, TensorRtEngine
from engines.engine import EngineError
from engines.manifest import Graph, Tensor
from engines.shapes import Shapes

GRAPH = Graph(
    file="g.onnx", inputs=(Tensor(name="x", dtype="float32", shape=(2,)),), outputs=(Tensor(name="y", dtype="float32", shape=(2,)),)
)


class Made:
    """A stream, its recordings, a context and memory that note what is asked of them. A recorded run begins as it was recorded."""

    handle = 7

    def __init__(self, recordable: bool = True) -> None:
        self.said: list[str] = []
        self.recordable = recordable
        self.rows = 0

    def wait(self) -> None:
        pass

    def close(self) -> None:
        self.said.append("closed")

    def begin(self, stream: int) -> None:
        self.said.append(f"begun as of {self.rows}")

    def recorded(self, work: Callable[[], None]) -> Made | None:
        self.said.append("record")
        return self if self.recordable else None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.rows = shape[0]
        self.said.append(f"shape {shape[0]}")
        return shape[0] != 5

    def execute_async_v3(self, stream: int) -> bool:
        self.said.append("run")
        return True


class Memory:
    """One tensor's memory."""

    def __init__(self) -> None:
        self.host = np.zeros((8, 2), np.float32)

    def to_device(self, rows: int, stream: int) -> None:
        pass

    to_host = to_device

    def close(self) -> None:
        pass


def engine(made: Made) -> TensorRtEngine:
    """An engine as it is after a plan was loaded."""
    one: Any = TensorRtEngine.__new__(TensorRtEngine)
    one._name, one._largest, one._shapes = "m/full", 8, Shapes.of("m/full", GRAPH)
    one._complaints, one._pairs = [], {"x": Memory(), "y": Memory()}
    one._recording, one._rows, one._on_end, one._unrecordable = None, 0, 0, set()
    one._stream = one._context = made
    engine: TensorRtEngine = one
    return engine


def run(one: TensorRtEngine, made: Made, rows: int) -> list[str]:
    made.said.clear()
    assert one.run({"x": np.zeros((rows, 2), np.float32)})["y"].shape == (rows, 2)
    return list(made.said)


def test_a_size_that_comes_again_is_recorded_and_another_ends_it() -> None:
    made = Made()
    one = engine(made)
    assert AGAIN == 2
    assert run(one, made, 1) == ["shape 1", "run"]
    assert run(one, made, 1) == ["run", "record"]
    assert run(one, made, 1) == ["begun as of 1"]
    # The recording has gone before the context changes.
    assert run(one, made, 4) == ["closed", "shape 4", "run"]
    assert run(one, made, 1) == ["shape 1", "run"]
    assert run(one, made, 1) == ["run", "record"]


def test_what_cannot_be_recorded_is_tried_once() -> None:
    made = Made(recordable=False)
    one = engine(made)
    assert [word for _ in range(4) for word in run(one, made, 1)] == ["shape 1", "run", "run", "record", "run", "run"]
    run(one, made, 2)
    assert [word for _ in range(3) for word in run(one, made, 1)] == ["shape 1", "run", "run", "run"]


def test_a_size_that_the_plan_refuses_leaves_nothing_behind() -> None:
    made = Made()
    one = engine(made)
    run(one, made, 1)
    with pytest.raises(EngineError, match="a batch of 5 is not one that the plan takes"):
        one.run({"x": np.zeros((5, 2), np.float32)})
    # The context was touched: the next run says its size again.
    assert run(one, made, 1) == ["shape 1", "run"]
