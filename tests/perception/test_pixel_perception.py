from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from capture.frame import Bundle, Frame, Modality, Packet
from capture.image import ImageBroken
from engines.manifest import SCHEMA, Detector, Expression
from service.inputs import Detection
from service.perception.pixels import FinderError, PictureError, create, finders

FACE = Detection((40, 40, 140, 140), 0.9, {"right_eye": (70, 80), "left_eye": (110, 80)})
COMMON = {
    "schema": SCHEMA, "title": "a test's", "card": "card.md", "files": dict.fromkeys(("full.onnx", "card.md", "LICENSE"), "0" * 64),
    "opset": 17, "weights": {"kind": "random", "source": "a test"}, "cost": {"gmac_per_frame": 0.0},
    "licence": {"spdx": "Apache-2.0", "file": "LICENSE", "holder": "mien"},
}  # fmt: skip


def detector(**changes: Any) -> Detector:
    body = COMMON | {
        "id": "finder", "kind": "detector", "decoder": "blazeface", "image": {"size": [128, 128]}, "min_score": 0.6, "confirm_frames": 4,
        "anchors": [{"stride": 8, "per_cell": 2}, {"stride": 16, "per_cell": 6}], "keypoints": ["right_eye", "left_eye"],
        "graphs": {"full": {
            "file": "full.onnx", "inputs": [{"name": "image", "dtype": "uint8", "shape": [3, 128, 128]}],
            "outputs": [{"name": "boxes", "dtype": "float32", "shape": [896, 8]}, {"name": "scores", "dtype": "float32", "shape": [896]}],
        }},
    }  # fmt: skip
    return Detector.model_validate_json(json.dumps(body | changes))


def expression(**crops: Any) -> Expression:
    crops = crops or {"face": {"size": [64, 64]}}
    tensors = [{"name": name, "dtype": "uint8", "shape": [3, *spec["size"]]} for name, spec in crops.items()]
    body = COMMON | {
        "id": "model", "kind": "expression", "labels": ["neutral", "happy"], "crops": crops, "outputs": {"probabilities": "probabilities"},
        "window": {"frames": 4, "buffer": 4, "hop": 1}, "aggregate": "mean-probabilities", "gates": {"min_sharpness": 30},
        "graphs": {"frame": {
            "file": "full.onnx", "inputs": tensors, "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [2]}],
        }},
    }  # fmt: skip
    return Expression.model_validate_json(json.dumps(body))


def bundle(data: np.ndarray | None, packet: Packet | None = None, modality: Modality = "color") -> Bundle:
    return Bundle(7, 0, "media", 0, {"desk": Frame("desk", modality, 3, 0, 0, data, packet)})


def picture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (200, 240, 3), np.uint8)


def test_a_request_goes_to_the_detectors_graph_and_comes_back_as_faces() -> None:
    perception, scene = create(detector()), bundle(picture()[:180])
    request = perception.detect(scene)
    assert request.graph == ("finder", "full")
    assert request.inputs["image"].shape == (3, 128, 128)
    assert perception.confirm_frames == 4
    boxes, scores = np.zeros((896, 8), np.float32), np.full(896, -9, np.float32)
    boxes[136 * 2], scores[136 * 2] = (0, 0, 32, 32, -8, 0, 8, 0), 3
    (face,) = perception.faces(scene, {"boxes": boxes, "scores": scores})
    # cell 8, 8 has its centre at 68, 68 of the square, where 240 × 180 lies 1.875 times smaller, 16 rows down
    assert face.box == pytest.approx((52 * 1.875, 36 * 1.875, 84 * 1.875, 68 * 1.875))
    assert tuple(face.keypoints) == ("right_eye", "left_eye")


def test_a_sample_is_a_crop_for_each_input() -> None:
    model = expression(face={"size": [64, 64]}, scene={"kind": "full", "size": [32, 48]})
    sample = create(detector()).sample(bundle(picture()), FACE, model)
    assert not isinstance(sample, str)
    assert {name: crop.shape for name, crop in sample.items()} == {"face": (3, 64, 64), "scene": (3, 32, 48)}


def test_pixels_and_their_png_give_the_same_sample() -> None:
    image = picture()
    data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    perception, model = create(detector()), expression()
    plain, packed = (perception.sample(scene, FACE, model) for scene in (bundle(image), bundle(None, Packet("png", data))))
    assert not isinstance(plain, str)
    assert not isinstance(packed, str)
    np.testing.assert_array_equal(plain["face"], packed["face"])


def test_gates_come_in_the_order_small_dark_blurred() -> None:
    perception, model = create(detector()), expression()
    black, grey = bundle(np.zeros((200, 240, 3), np.uint8)), bundle(np.full((200, 240, 3), 90, np.uint8))
    small = Detection((40, 40, 60, 60), 0.9, {})
    assert perception.sample(black, small, model) == "too-small"
    assert perception.sample(black, FACE, model) == "too-dark"
    assert perception.sample(grey, FACE, model) == "blurred"


def test_gates_look_at_the_face_whatever_the_order_of_inputs() -> None:
    image = np.full((200, 240, 3), 90, np.uint8)
    image[:, 200:] = picture()[:, 200:]
    model = expression(scene={"kind": "full", "size": [64, 64]}, face={"size": [64, 64]})
    assert create(detector()).sample(bundle(image), FACE, model) == "blurred"


def test_black_beyond_the_edge_is_not_darkness() -> None:
    body = expression(body={"kind": "upper-body", "size": [64, 64]})
    close = Detection((0, 0, 240, 200), 0.9, {})
    squares = np.random.default_rng(1).integers(0, 44, (10, 12, 3), np.uint8)
    scene = bundle(np.kron(squares, np.ones((20, 20, 1), np.uint8)))
    sample = create(detector()).sample(scene, close, body)
    assert not isinstance(sample, str)
    assert sample["body"].mean() < body.gates.min_luma


def test_a_bundle_without_a_colour_picture_is_an_error_that_says_so() -> None:
    perception = create(detector())
    with pytest.raises(PictureError, match=r"bundle 7 has no colour frame but depth of 'desk'"):
        perception.detect(bundle(np.zeros((4, 4), np.uint16), modality="depth"))
    with pytest.raises(PictureError, match=r"bundle 7 has no colour frame but nothing"):
        perception.detect(Bundle(7, 0, "media", 0))
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(PictureError, match=r"colour must be uint8 \(H, W, 3\) RGB"):
            perception.detect(bundle(wrong))
    heat = expression(heat={"size": [64, 64], "modality": "thermal"})
    with pytest.raises(PictureError, match="'heat' wants a thermal crop; bundle 7 has no thermal picture"):
        perception.crops(bundle(picture()), FACE, heat.crops)
    assert perception.sample(bundle(picture()), FACE, heat) == "sensor-stale"


def test_a_broken_packet_is_the_frames_fault() -> None:
    with pytest.raises(ImageBroken):
        create(detector()).detect(bundle(None, Packet("jpeg", b"\xff\xd8 no jpeg")))


def test_an_unknown_decoder_is_refused_with_what_there_is() -> None:
    assert "blazeface" in finders()
    with pytest.raises(FinderError, match=r"finder: no face finder 'haar'; there are: .*blazeface"):
        create(detector(decoder="haar"))
