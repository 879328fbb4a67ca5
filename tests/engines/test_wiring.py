"""What spans several keys of a manifest: every name leads somewhere, every shape fits."""

from __future__ import annotations

from typing import Any

import pytest

from engines.manifest import Expression, parse
from engines.wiring import fault
from service.perception.synthetic import synthetic_expression

D, T = 6, 4


def _body() -> dict[str, Any]:
    """A frame graph over crops of 8 × 8 pixels that fits together."""
    body = synthetic_expression(D, T, 8, 2, crops={"face": {"size": (8, 8)}}).model_dump(mode="json", by_alias=True, exclude_none=True)
    body["graphs"]["frame"]["inputs"] = [{"name": "face", "dtype": "uint8", "shape": [3, 8, 8]}]
    return body


def _whole(crops: dict[str, Any], **inputs: tuple[str, list[int]]) -> Expression:
    """A full graph alone, of crops and inputs (dtype, shape) by name."""
    body = _body()
    graph = body["graphs"].pop("frame")
    graph["inputs"] = [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape) in inputs.items()]
    graph["outputs"] = graph["outputs"][:1]
    del body["aggregate"], body["outputs"]["features"]
    return Expression.model_validate(body | {"graphs": {"full": graph}, "crops": crops})


def _broken(**changes: Any) -> Expression:
    body = _body()
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
    body = _body()
    body["graphs"]["window"] = window
    del body["aggregate"]
    assert fault(Expression.model_validate(body)) is None
    window["inputs"] = [{"name": "features", "dtype": "float32", "shape": [T + 1, D]}]
    told = fault(Expression.model_validate(body))
    assert told is not None
    assert "(5, 6)" in told
    assert "(4, 6)" in told


SIDE = {"size": [8, 8]}
FLOW = SIDE | {"content": "flow"}


@pytest.mark.parametrize(
    ("crop", "dtype", "channels"),
    [
        (SIDE, "uint8", 3),
        (FLOW, "float32", 2),
        (SIDE | {"modality": "depth"}, "float32", 1),
        (SIDE | {"modality": "thermal"}, "float32", 1),
    ],
)
def test_a_full_graph_takes_its_crops_stacked(crop: dict[str, Any], dtype: str, channels: int) -> None:
    assert fault(_whole({"x": crop}, x=(dtype, [T, channels, 8, 8]))) is None
    other = "uint8" if dtype == "float32" else "float32"
    for wrong in (
        (other, [T, channels, 8, 8]),
        (dtype, [T + 1, channels, 8, 8]),
        (dtype, [channels, 8, 8]),
        (dtype, [T, channels + 1, 8, 8]),
        (dtype, [T, channels, 8, 9]),
        (dtype, [channels, T, 8, 8]),
    ):
        told = fault(_whole({"x": crop}, x=wrong))
        assert told is not None
        assert "crops.x" in told
        assert f"{dtype} {(T, channels, 8, 8)}" in told
        assert f"{wrong[0]} {tuple(wrong[1])}" in told


def test_a_frame_graph_takes_one_crop() -> None:
    told = fault(_broken(graphs__frame__inputs__0__shape=[T, 3, 8, 8]))
    assert told is not None
    assert "uint8 (3, 8, 8)" in told
    assert "(4, 3, 8, 8)" in told


def test_flow_is_for_full_graphs_alone_and_of_colour() -> None:
    told = fault(_broken(crops__face__content="flow"))
    assert told is not None
    assert "full graph alone" in told
    assert "second" in told
    told = fault(_whole({"x": FLOW | {"modality": "depth"}}, x=("float32", [T, 2, 8, 8])))
    assert told is not None
    assert "no flow of depth" in told


def test_features_of_another_model_are_the_output_that_requires_names() -> None:
    need = {"id": "eye", "sha256": "0" * 64, "output": "code"}
    keyframes = {"selector": "uniform", "features": "code", "model": "eye"}
    assert fault(_broken(requires=[need], keyframes=keyframes)) is None
    told = fault(_broken(requires=[need], keyframes=keyframes | {"features": "features"}))
    assert told is not None
    assert "keyframes.features" in told
    assert "code" in told


def test_features_need_a_frame_graph_or_a_model() -> None:
    body = _whole({"x": SIDE}, x=("uint8", [T, 3, 8, 8])).model_dump(mode="json", by_alias=True, exclude_none=True)
    body["keyframes"] = {"selector": "uniform", "features": "features"}
    told = fault(Expression.model_validate(body))
    assert told is not None
    assert "keyframes.model" in told
