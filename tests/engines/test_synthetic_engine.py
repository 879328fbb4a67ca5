"""The synthetic engine runs a function over rows, and fails as an engine may."""

from __future__ import annotations

import numpy as np
import pytest

from engines.engine import Arrays, BackendLost, EngineError
from engines.synthetic import SyntheticEngine


def doubled(row: Arrays) -> Arrays:
    return {"y": row["x"] * 2, "who": row["who"]}


def test_rows_are_computed_one_by_one_and_stacked() -> None:
    outputs = SyntheticEngine(doubled).run({"x": np.arange(6.0).reshape(3, 2), "who": np.array([7, 8, 9])})
    np.testing.assert_array_equal(outputs["y"], [[0, 2], [4, 6], [8, 10]])
    np.testing.assert_array_equal(outputs["who"], [7, 8, 9])


@pytest.mark.parametrize(
    "inputs", [{}, {"x": np.ones((0, 2)), "who": np.ones(0)}, {"x": np.ones((2, 2)), "who": np.ones(3)}], ids=["none", "empty", "uneven"]
)
def test_batches_that_are_none_are_refused(inputs: Arrays) -> None:
    with pytest.raises(EngineError, match="one batch size"):
        SyntheticEngine(doubled).run(inputs)


def test_a_loss_passes_through() -> None:
    def lose(row: Arrays) -> Arrays:
        raise BackendLost("the device has gone")

    with pytest.raises(BackendLost, match="gone"):
        SyntheticEngine(lose).run({"x": np.ones((1, 2))})
