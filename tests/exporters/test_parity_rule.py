"""The rule of parity and its measurement, on graphs of one or two nodes: every error and spread here was worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from engines.manifest import Tensor
from engines.proof import Parity
from exporters import parity
from exporters.onnx_graph import GraphBuilder
from exporters.parity import ParityFailed

X = Tensor(name="x", dtype="float32", shape=(2,))
ROWS = {"x": np.array([[0, 4], [2, 4], [4, 4], [0, 4], [2, 4], [4, 4]], np.float32)}
"""Down the rows the first element is 0, 2, 4, 0, 2, 4 (variance 8/3), the second does not move."""


def proof(error: float = 1e-6, spread: float = 1e-3, tolerance: float = 1e-5, tensor: str = "y") -> Parity:
    return Parity.model_construct(tensor=tensor, reference="by hand", batch=(1, 3), max_abs_error=error, spread=spread, tolerance=tolerance)


@pytest.mark.parametrize(
    "measured",
    [proof(), proof(error=0.0), proof(error=1e-5), proof(spread=1.0), proof(error=1e-3, spread=0.1, tolerance=1e-3)],
    ids=["just enough spread", "no error", "as much as allowed", "much spread", "another tolerance"],
)
def test_what_is_accepted(measured: Parity) -> None:
    parity.require([measured])


@pytest.mark.parametrize(
    ("measured", "fault"),
    [
        (proof(error=1.001e-5), "y: error 1e-05 is above 1e-05"),
        (proof(error=1.0), "y: error 1 is above 1e-05"),
        (proof(error=math.nan), "y: error nan is above 1e-05"),
        (proof(error=math.inf), "y: error inf is above 1e-05"),
        (proof(spread=0.999e-3), "y: the reference moves by 0.000999 only, under 100 × tolerance 1e-05"),
        (proof(spread=1e-4), "y: the reference moves by 0.0001 only, under 100 × tolerance 1e-05"),
        (proof(spread=1e-5), "y: the reference moves by 1e-05 only"),
        (proof(spread=0.0, error=0.0), "y: the reference moves by 0 only"),
        (proof(spread=math.nan), "y: the reference moves by nan only"),
    ],
    ids=["a little", "much", "nan", "inf", "99.9 ×", "10 ×", "1 ×", "none", "nan spread"],
)
def test_what_is_refused(measured: Parity, fault: str) -> None:
    with pytest.raises(ParityFailed) as refused:
        parity.require([measured])
    assert fault in str(refused.value)


def test_every_tensor_counts_and_every_fault_is_listed() -> None:
    good = proof(tensor="good")
    for order in ([good, proof(error=1.0, tensor="last")], [proof(error=1.0, tensor="first"), good]):
        with pytest.raises(ParityFailed):
            parity.require(order)
    with pytest.raises(ParityFailed) as refused:
        parity.require([proof(error=1.0, tensor="a"), good, proof(spread=0.0, tensor="b"), proof(error=2.0, spread=0.0, tensor="c")])
    assert [refused.value.args[0].count(f"{name}: ") for name in ("a", "b", "c", "good")] == [1, 1, 2, 0]
    parity.require([])


Nodes = Callable[[GraphBuilder], object]


def built(nodes: Nodes, outputs: tuple[str, ...] = ("y",)) -> bytes:
    builder = GraphBuilder()
    nodes(builder)
    made = builder.model("made", [X], [Tensor(name=name, dtype="float32", shape=(2,)) for name in outputs])
    return bytes(made.SerializeToString())


def times(slope: float, more: float = 0.0) -> Nodes:
    """y = slope · x + more."""
    return lambda b: b.node("Add", b.node("Mul", "x", b.constant(slope)), b.constant(more), name="y")


def doubled(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": np.asarray(inputs["x"], np.float64) * 2.0}


def measured(nodes: Nodes, tolerance: Mapping[str, float] | None = None) -> Parity:
    (found,) = parity.measure(built(nodes), doubled, "by hand", ROWS, tolerance or {"y": 1e-5})
    return found


def test_error_and_spread_by_hand() -> None:
    found = measured(times(2.0))
    assert (found.tensor, found.reference, found.batch, found.tolerance) == ("y", "by hand", (1, 3), 1e-5)
    assert found.max_abs_error == 0.0
    # Doubled, the variances are 32/3 and 0; the root of their mean.
    assert found.spread == pytest.approx(math.sqrt(16 / 3))


@pytest.mark.parametrize("more", [0.5, -0.5])
def test_an_error_has_no_sign(more: float) -> None:
    assert measured(times(2.0, more)).max_abs_error == pytest.approx(0.5)


def test_the_worst_element_of_the_worst_row_counts() -> None:
    """2.25 · x: at 4 one too many, at 0 none."""
    assert measured(times(2.25)).max_abs_error == pytest.approx(1.0)

    def one_element(builder: GraphBuilder) -> None:
        builder.node("Add", builder.node("Mul", "x", builder.constant(2.0)), builder.constant([0.0, -0.125]), name="y")

    assert measured(one_element).max_abs_error == pytest.approx(0.125)


def _at_rows(off: Callable[[GraphBuilder, str], str]) -> Nodes:
    """2 · x and, of the number of rows as a float, what `off` makes."""

    def nodes(builder: GraphBuilder) -> None:
        count = builder.node("Gather", builder.node("Shape", "x"), builder.constant(0, np.int64))
        more = off(builder, builder.node("Cast", count, to=1))
        builder.node("Add", builder.node("Mul", "x", builder.constant(2.0)), more, name="y")

    return nodes


def test_a_graph_that_is_wrong_in_a_batch_or_alone_is_found() -> None:
    """In a batch of 3 it gives 0.5 too much, and alone 0.25."""
    in_three = _at_rows(lambda b, rows: b.node("Mul", b.node("Sub", rows, b.constant(1.0)), b.constant(0.25)))
    alone = _at_rows(lambda b, rows: b.node("Mul", b.node("Sub", b.constant(3.0), rows), b.constant(0.125)))
    assert measured(in_three).max_abs_error == pytest.approx(0.5)
    assert measured(alone).max_abs_error == pytest.approx(0.25)


def test_rows_that_are_mixed_up_are_found() -> None:
    """Right row by row, and in a batch of three the first row's answer for all."""

    def nodes(builder: GraphBuilder) -> None:
        first = builder.node("Gather", "x", builder.constant([0], np.int64), axis=0)
        builder.node("Mul", builder.node("Add", builder.node("Mul", "x", builder.constant(0.0)), first), builder.constant(2.0), name="y")

    assert measured(nodes).max_abs_error == pytest.approx(8.0)


def two(more_y: float, more_h: float) -> bytes:
    """h = x + 1 + more_h inside, y = 2 · (h − 1) + more_y − 2 · more_h: an error in h is hidden from y."""

    def nodes(builder: GraphBuilder) -> None:
        h = builder.node("Add", "x", builder.constant(1.0 + more_h), name="h")
        doubled = builder.node("Mul", builder.node("Sub", h, builder.constant(1.0 + more_h)), builder.constant(2.0))
        builder.node("Add", doubled, builder.constant(more_y), name="y")

    return built(nodes)


def both(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    x = np.asarray(inputs["x"], np.float64)
    return {"y": 2 * x, "h": x + 1}


def test_a_tensor_inside_is_held_to_its_own_tolerance() -> None:
    tolerance = {"y": 1e-5, "h": 1e-3}
    fine = parity.measure(two(0.0, 0.0), both, "by hand", ROWS, tolerance)
    assert [(one.tensor, one.tolerance) for one in fine] == [("y", 1e-5), ("h", 1e-3)]
    assert [one.spread for one in fine] == [pytest.approx(math.sqrt(16 / 3)), pytest.approx(math.sqrt(4 / 3))]
    for more_y, more_h in ((0.0, 0.25), (0.5, 0.0), (0.5, 0.25)):
        errors = [one.max_abs_error for one in parity.measure(two(more_y, more_h), both, "by hand", ROWS, tolerance)]
        assert errors == [pytest.approx(more_y, abs=1e-6), pytest.approx(more_h, abs=1e-6)]


def test_what_cannot_be_compared_is_no_pass() -> None:
    with pytest.raises(ParityFailed, match="no tensor missing to compare"):
        parity.measure(two(0.0, 0.0), both, "by hand", ROWS, {"y": 1e-5, "missing": 1e-5})
    with pytest.raises(ValueError, match="a multiple of 3 rows, not 4"):
        parity.measure(built(times(2.0)), doubled, "by hand", {"x": ROWS["x"][:4]}, {"y": 1e-5})
    with pytest.raises(ParityFailed, match="y: the graph or its reference gives values that are not finite"):
        parity.measure(built(times(2.0)), lambda inputs: {"y": np.full((6, 2), np.nan)}, "by hand", ROWS, {"y": 1e-5})


def test_a_last_row_that_alone_is_not_finite_is_found() -> None:
    def nodes(builder: GraphBuilder) -> None:
        builder.node("Div", "x", builder.node("Sub", "x", builder.constant(4.0)), name="y")

    rows = {"x": np.array([[1, 1]] * 5 + [[1, 4]], np.float32)}
    with pytest.raises(ParityFailed, match="not finite"):
        parity.measure(built(nodes), lambda inputs: {"y": np.full((6, 2), -1 / 3)}, "by hand", rows, {"y": 1e-5})
