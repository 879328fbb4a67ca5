from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.manifest import SCHEMA, Anchors, Detector
from service.perception.faces.blazeface import anchor_centres, create, merge, overlaps

KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
ANCHORS = 896


def front(**changes: Any) -> Detector:
    body = {
        "schema": SCHEMA, "id": "front", "title": "front", "kind": "detector", "decoder": "blazeface", "card": "card.md",
        "files": dict.fromkeys(("full.onnx", "card.md", "LICENSE"), "0" * 64), "opset": 17,
        "graphs": {"full": {
            "file": "full.onnx", "inputs": [{"name": "image", "dtype": "uint8", "shape": [3, 128, 128]}],
            "outputs": [
                {"name": "boxes", "dtype": "float32", "shape": [ANCHORS, 16]}, {"name": "scores", "dtype": "float32", "shape": [ANCHORS]},
            ],
        }},
        "image": {"size": [128, 128]}, "anchors": [{"stride": 8, "per_cell": 2}, {"stride": 16, "per_cell": 6}], "keypoints": KEYPOINTS,
        "min_score": 0.6, "weights": {"kind": "random", "source": "a test"}, "cost": {"gmac_per_frame": 0.03},
        "licence": {"spdx": "Apache-2.0", "file": "LICENSE", "holder": "mien"},
    }  # fmt: skip
    return Detector.model_validate_json(json.dumps(body | changes))


def outputs(*hits: tuple[int, float, tuple[float, float, float, float]]) -> dict[str, np.ndarray]:
    boxes, scores = np.zeros((ANCHORS, 16), np.float32), np.full(ANCHORS, -20, np.float32)
    for anchor, logit, box in hits:
        boxes[anchor, :4], scores[anchor] = box, logit
    return {"boxes": boxes, "scores": scores}


def test_anchors_run_through_strides_rows_and_cells() -> None:
    centres = anchor_centres((Anchors(stride=8, per_cell=2), Anchors(stride=16, per_cell=6)), (128, 128))
    assert centres.shape == (ANCHORS, 2)
    assert centres[:4].tolist() == [[4, 4], [4, 4], [12, 4], [12, 4]]
    assert centres[32].tolist() == [4, 12]
    assert centres[512].tolist() == centres[517].tolist() == [8, 8]
    assert centres[-1].tolist() == [120, 120]


def test_a_regressor_becomes_a_box_and_keypoints_in_the_picture() -> None:
    raw = outputs((512, 2.0, (40, 32, 20, 24)))
    raw["boxes"][512, 4:] = [-4, -6, 4, -6, 0, 0, 0, 6, -9, 0, 9, 0]
    (face,) = create(front()).decode(raw, (256, 512))
    # 512 × 256 lies in the square at a quarter of its size, 32 rows down; anchor 512 is centred at 8, 8
    assert face.box == pytest.approx(((48 - 10) * 4, (40 - 12 - 32) * 4 + 16, (48 + 10) * 4, (40 + 12 - 32) * 4))
    assert face.keypoints["right_eye"] == pytest.approx((16, (2 - 32) * 4))
    assert face.score == pytest.approx(1 / (1 + np.exp(-2)))
    assert tuple(face.keypoints) == KEYPOINTS


def test_boxes_are_clipped_to_the_picture_and_empty_ones_dropped() -> None:
    inside, outside = (0, 5.0, (0.0, 0.0, 40.0, 40.0)), (600, 5.0, (0.0, -200.0, 20.0, 20.0))
    faces = create(front()).decode(outputs(inside, outside), (128, 128))
    assert [face.box for face in faces] == [pytest.approx((0, 0, 24, 24))]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_make_no_face(value: float) -> None:
    finder = create(front())
    assert finder.decode(outputs((0, 5.0, (value, 0, 40, 40))), (128, 128)) == ()
    raw = outputs()
    raw["scores"][:] = np.nan
    assert finder.decode(raw, (128, 128)) == ()


def test_an_extreme_logit_is_a_score_not_an_overflow() -> None:
    raw = outputs((0, 3e38, (0, 0, 40, 40)))
    raw["scores"][1:] = -3e38
    (face,) = create(front()).decode(raw, (128, 128))
    assert face.score == 1.0


def test_min_score_is_the_manifests() -> None:
    raw = outputs((0, 1.0, (0, 0, 40, 40)))
    assert len(create(front(min_score=0.73)).decode(raw, (128, 128))) == 1
    assert create(front(min_score=0.74)).decode(raw, (128, 128)) == ()


@st.composite
def clusters(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Candidates of people who stand apart: rows, scores, and how many people there are."""
    people = draw(st.integers(1, 5))
    rows, scores = [], []
    for person in range(people):
        for _ in range(draw(st.integers(1, 6))):
            dx, dy = draw(st.integers(-8, 8)), draw(st.integers(-8, 8))
            rows.append([400 * person + dx, dy, 400 * person + dx + 100, dy + 100, 400 * person + dx + 50, dy + 50])
            scores.append(draw(st.sampled_from([0.6, 0.75, 0.9, 0.99])))
    return np.array(rows, float), np.array(scores), people


@given(clusters(), st.randoms())
def test_the_order_of_candidates_changes_nothing(found: tuple[np.ndarray, np.ndarray, int], random: Any) -> None:
    rows, scores, _ = found
    order = list(range(len(rows)))
    random.shuffle(order)
    before, after = merge(rows, scores, 0.3), merge(rows[order], scores[order], 0.3)
    assert [(row.tolist(), score) for row, score in before] == [(row.tolist(), score) for row, score in after]


@given(clusters())
def test_one_person_is_one_face_with_the_best_score(found: tuple[np.ndarray, np.ndarray, int]) -> None:
    rows, scores, people = found
    faces = merge(rows, scores, 0.3)
    assert len(faces) == people
    assert [score for _, score in faces] == sorted((score for _, score in faces), reverse=True)
    for row, score in faces:
        own = np.abs(rows[:, 0] - row[0]) < 100
        assert score == scores[own].max()
        np.testing.assert_allclose(row, np.average(rows[own], axis=0, weights=scores[own]), atol=1e-9)


def test_overlap_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [2, 0, 4, 2]], float)
    np.testing.assert_allclose(overlaps(boxes[0], boxes), [1, 1 / 7, 0, 0])
    assert overlaps(np.zeros(4), np.zeros((1, 4))).tolist() == [0]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_row_is_as_the_manifest_says(layout: str) -> None:
    shape = [3, 128, 128] if layout == "nchw" else [128, 128, 3]
    graphs = json.loads(front().model_dump_json())["graphs"]
    graphs["full"]["inputs"][0]["shape"] = shape
    row = create(front(graphs=graphs, image={"size": [128, 128], "layout": layout})).prepare(np.full((90, 160, 3), 7, np.uint8))["image"]
    assert row.shape == tuple(shape)
    assert row.dtype == np.uint8
    assert row.flags.c_contiguous
    assert np.count_nonzero(row) == 72 * 128 * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": {"size": [256, 256]}}, "'image' promises"),
        ({"anchors": [{"stride": 8, "per_cell": 2}]}, "its anchors and keypoints make"),
        ({"keypoints": KEYPOINTS[:4]}, "its anchors and keypoints make"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(front(**changes))
