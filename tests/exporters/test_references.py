"""The shipped graphs against outputs of graphs that were made with other code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.invariance import open_session, run
from exporters.shipped import shipped_folders

HERE = Path(__file__).parent / "references"


def test_fer_small_agrees_with_the_training_s_own_export() -> None:
    with np.load(HERE / "fer_small.npz") as reference:
        face = np.repeat(reference["gray"][:, None], 3, axis=1)
        got = run(open_session((shipped_folders() / "fer-small" / "frame.onnx").read_bytes()), {"face": face})
        assert len({int(row.argmax()) for row in reference["probabilities"]}) > 1
        for name in ("probabilities", "features"):
            np.testing.assert_allclose(got[name], reference[name], rtol=0, atol=1e-5)


def test_faceapi_agrees_with_an_earlier_conversion_but_for_the_temperature() -> None:
    with np.load(HERE / "faceapi.npz") as reference:
        session = open_session((shipped_folders() / "faceapi-expression" / "frame.onnx").read_bytes())
        got = np.asarray(run(session, {"face": reference["face"]})["probabilities"], np.float64)
        sharpened = got**3.6
        sharpened /= sharpened.sum(axis=1, keepdims=True)
        assert len({int(row.argmax()) for row in reference["probabilities"]}) > 1
        np.testing.assert_allclose(sharpened, reference["probabilities"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("identity", ["fer-small", "faceapi-expression"])
def test_gray_and_colour_count_as_luma(identity: str) -> None:
    size = 64 if identity == "fer-small" else 112
    session = open_session((shipped_folders() / identity / "frame.onnx").read_bytes())
    face = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), dtype=np.uint8)
    swapped = np.ascontiguousarray(face[:, ::-1])
    # Red and blue weigh differently, so a swap of channels must show.
    assert np.abs(run(session, {"face": face})["features"] - run(session, {"face": swapped})["features"]).max() > 1e-4
