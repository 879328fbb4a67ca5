"""What spans several keys of a manifest: every name leads somewhere, every shape fits."""

from __future__ import annotations

from typing import Any

import pytest

from engines.manifest import Expression, parse
from engines.wiring import fault
from service.perception.synthetic import synthetic_expression

D, T = 6, 4


def _broken(**changes: Any) -> Expression:
    body = synthetic_expression(D, T, 8, 2).model_dump(mode="json", by_alias=True, exclude_none=True)
    for path, value in changes.items():
        at: Any = body
        *keys, last = path.split("__")
        for key in keys:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[last] = value
    return Expression.model_validate(body)


def test_a_manifest_that_fits_has_no_fault() -> None:
    assert fault(_broken()) is None


@pytest.mark.parametrize("id", ["fer-small", "faceapi-expression", "blazeface-front", "blazeface-back"])
def test_the_shipped_ones_fit(id: str, checkout: Any) -> None:
    assert fault(parse((checkout / "engines" / "models" / id / "manifest.json").read_bytes())) is None


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"outputs__probabilities": "probs"}, ("outputs.probabilities", "probs", "features")),
        ({"outputs__features": "feature"}, ("outputs.features", "feature")),
        ({"labels": ["a", "b"]}, ("2 labels", "(4,)")),
        ({"crops": {"other": {"size": [1, 1]}}}, ("crops", "other", "face")),
        ({"keyframes": {"selector": "uniform", "features": "nowhere"}}, ("keyframes.features", "nowhere")),
        ({"keyframes": {"selector": "itq", "features": "features", "file": "itq.npz"}}, ("keyframes.file", "itq.npz")),
    ],
)
def test_each_loose_end_is_named(changes: dict[str, Any], names: tuple[str, ...]) -> None:
    told = fault(_broken(**changes))
    assert told is not None
    assert all(name in told for name in names)


def test_a_window_graph_takes_the_frame_graphs_outputs_stacked() -> None:
    window = {
        "file": "none.onnx",
        "inputs": [{"name": "features", "dtype": "float32", "shape": [T, D]}],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [4]}],
    }
    body = _broken().model_dump(mode="json", by_alias=True, exclude_none=True)
    body["graphs"]["window"] = window
    del body["aggregate"]
    assert fault(Expression.model_validate(body)) is None
    window["inputs"] = [{"name": "features", "dtype": "float32", "shape": [T + 1, D]}]
    told = fault(Expression.model_validate(body))
    assert told is not None
    assert "(5, 6)" in told
    assert "(4, 6)" in told
