from __future__ import annotations

import numpy as np
import pytest

from capture.frame import Bundle, Frame
from service.perception.synthetic import (
    LABELS,
    SyntheticFace,
    SyntheticPerception,
    express_row,
    find_row,
    synthetic_detector,
    synthetic_expression,
    table,
)  # fmt: skip

D = 6
ANNA, BEN = (2.0, 0.0, 0.0, 0.0, 7.0, 1.0), (0.0, 0.0, 3.0, 0.0, -7.0, 2.0)


def bundle(*faces: SyntheticFace) -> Bundle:
    frame = Frame("camera", "color", 1, 0, 0, table(faces, D))
    return Bundle(1, 0, "media", 0, {"camera": frame})


def test_each_face_gets_its_own_identity_back() -> None:
    anna, ben = SyntheticFace((0.1, 0, 10, 10), ANNA, 0.7), SyntheticFace((50, 0, 60.3, 10), BEN, 0.9)
    perception, manifest, scene = SyntheticPerception(D), synthetic_expression(D, 4, 8, 2), bundle(anna, ben)
    faces = perception.faces(scene, find_row(perception.detect(scene).inputs))
    assert [face.score for face in faces] == pytest.approx([0.9, 0.7])
    samples = [perception.sample(scene, face, manifest) for face in faces]
    assert [sample["face"].tolist() for sample in samples if not isinstance(sample, str)] == [list(BEN), list(ANNA)]


def test_a_row_may_name_its_gate() -> None:
    dark = SyntheticFace((0, 0, 10, 10), ANNA, gate="too-dark")
    perception, scene = SyntheticPerception(D), bundle(dark)
    (face,) = perception.faces(scene, find_row(perception.detect(scene).inputs))
    assert perception.sample(scene, face, synthetic_expression(D, 4, 8, 2)) == "too-dark"


def test_requests_stack_and_fit_the_manifest() -> None:
    perception = SyntheticPerception(D, rows=3)
    requests = [perception.detect(bundle()), perception.detect(bundle(SyntheticFace((0, 0, 1, 1), ANNA)))]
    manifest = synthetic_detector(D, rows=3)
    assert {request.graph for request in requests} == {(manifest.id, "full")}
    assert {request.inputs["table"].shape for request in requests} == {manifest.graphs["full"].inputs[0].shape}
    assert perception.faces(bundle(), find_row(requests[0].inputs)) == ()


def test_an_identity_is_its_features_and_its_label() -> None:
    manifest = synthetic_expression(D, 4, 8, 2, window={"period_ms": 250.0}, keyframes={"selector": "uniform"})
    result = express_row({"face": np.array(BEN, np.float32)})
    promised = {tensor.name: tensor.shape for tensor in manifest.graphs["frame"].outputs}
    assert promised == {name: value.shape for name, value in result.items()}
    assert LABELS[int(result["probabilities"].argmax())] == "sad"
    assert result["probabilities"].sum() == pytest.approx(1)
    assert result["features"].tolist() == list(BEN)
    assert (manifest.window.frames, manifest.window.buffer, manifest.window.hop, manifest.window.period_ms) == (4, 8, 2, 250)


def test_tables_that_do_not_fit_are_refused() -> None:
    twin = SyntheticFace((0, 0, 1, 1), ANNA)
    perception = SyntheticPerception(D, rows=2)
    with pytest.raises(ValueError, match="up to 2, 12"):
        perception.detect(bundle(twin, twin, twin))
    scene = bundle(twin, twin)
    face = perception.faces(scene, find_row(perception.detect(scene).inputs))[0]
    with pytest.raises(ValueError, match="2 rows"):
        perception.sample(scene, face, synthetic_expression(D, 4, 8, 2))
    with pytest.raises(ValueError, match="has 6 numbers"):
        table([twin], 5)
    with pytest.raises(ValueError, match="is no gate"):
        table([SyntheticFace((0, 0, 1, 1), ANNA, gate="window-filling")], D)
