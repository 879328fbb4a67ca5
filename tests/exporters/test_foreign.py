"""Readers of foreign files: quantised tensors, other networks, labels without a point."""

from __future__ import annotations

import json

import numpy as np
import pytest

from exporters import affect
from exporters.foreign import blazeface, tfjs
from exporters.onnx_graph import GraphBuilder, GraphRefused
from exporters.probes import drawn_faces


def test_tfjs_tensors_are_dequantised() -> None:
    manifest = [
        {
            "paths": ["w.bin"],
            "weights": [
                {"name": "a", "shape": [2, 2], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
                {"name": "b", "shape": [], "dtype": "float32"},
                {"name": "c", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
            ],
        }
    ]
    data = bytes([0, 1, 2, 255]) + np.array([7.25], "<f4").tobytes() + np.array([1.5, -2], "<f2").tobytes()
    read = tfjs.weights(json.dumps(manifest).encode(), {"w.bin": data})
    np.testing.assert_array_equal(read["a"], [[-1.0, -0.5], [0.0, 126.5]])
    assert read["b"] == 7.25
    np.testing.assert_array_equal(read["c"], [1.5, -2])
    with pytest.raises(ValueError, match="describes 12 bytes, the file has 13"):
        tfjs.weights(json.dumps(manifest).encode(), {"w.bin": data + b"x"})


def test_another_network_is_not_taken_for_blazeface() -> None:
    builder = GraphBuilder()
    builder.node("Sigmoid", "x", name="y")
    from engines.manifest import Tensor

    other = builder.model("other", [Tensor(name="x", dtype="float32", shape=(4,))], [Tensor(name="y", dtype="float32", shape=(4,))])
    with pytest.raises(GraphRefused, match="no Sigmoid"):
        blazeface.convert(other.SerializeToString(), 128)


def test_derived_points_name_every_label_or_refuse() -> None:
    points = affect.derived(("happy", "neutral", "contempt")).points
    assert points["happy"] == (0.81, 0.51)
    assert points["neutral"] == (0.0, 0.0)
    assert points["contempt"] == (-0.555, 0.47)
    with pytest.raises(ValueError, match="no valence-arousal point for puzzlement"):
        affect.derived(("happy", "puzzlement"))


def test_drawn_faces_are_seeded_and_differ() -> None:
    faces = drawn_faces(4, 48, 64, seed=3)
    assert faces.shape == (4, 48, 64, 3)
    np.testing.assert_array_equal(faces, drawn_faces(4, 48, 64, seed=3))
    assert len({face.tobytes() for face in faces}) == 4
