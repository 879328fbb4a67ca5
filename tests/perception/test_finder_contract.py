"""Every face finder there is keeps one contract on real pictures: where faces are, in whose pixels, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.engine import EngineError
from service.analyze import Analyser, analyse
from service.config import Config, EngineSection, Model
from service.events import ClipPrediction, Event
from service.inputs import Detection
from service.intake import Source
from service.perception.pixels import finders, open_alone
from tests.perception.finders import FINDERS, Opened, mediapipe_file

EYES = ("right_eye", "left_eye")


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.proof if "mediapipe" in name else ()) for name in FINDERS])
def finder(request: pytest.FixtureRequest) -> Iterator[Opened]:
    opened = FINDERS[request.param]()
    yield opened
    opened.engine.close()


@pytest.fixture(scope="module")
def single(media: Path) -> np.ndarray:
    return read(media / "single_face.jpg")


def read(file: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)


def frames(file: Path, count: int) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24", threads=1) for frame in islice(container.decode(video=0), count)]


def agree(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - shared)


def only(found: tuple[Detection, ...]) -> Detection:
    (face,) = found
    return face


def test_every_finder_for_pictures_is_tried() -> None:
    assert {opened.partition("-")[0].partition(",")[0] for opened in FINDERS} == set(finders()) - {"synthetic"}


def test_a_face_is_where_it_is_seen(finder: Opened, single: np.ndarray) -> None:
    """572 × 562 pixels; the face, from brows to chin and ear to ear, looked up by eye."""
    face = only(finder.faces(single)[0])
    assert agree(face.box, (165, 165, 385, 400)) >= 0.7
    assert finder.manifest.min_score <= face.score <= 1
    assert set(EYES) <= set(face.keypoints) == set(finder.manifest.keypoints)
    (rx, ry), (lx, ly) = (face.keypoints[eye] for eye in EYES)
    assert rx < lx, "the person's right eye is on the picture's left"
    assert np.hypot(rx - 231, ry - 253) < 15
    assert np.hypot(lx - 314, ly - 246) < 15
    assert face.keypoints["mouth"][1] > face.keypoints["nose"][1] > ry


def test_boxes_are_of_the_pictures_pixels_whatever_its_shape(finder: Opened, single: np.ndarray) -> None:
    face = only(finder.faces(single)[0])
    wide = np.zeros((single.shape[0], 2 * single.shape[1], 3), np.uint8)
    wide[:, 100 : 100 + single.shape[1]] = single
    tall = np.zeros((2 * single.shape[0], single.shape[1], 3), np.uint8)
    tall[60 : 60 + single.shape[0]] = single
    double = cv2.resize(single, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    x0, y0, x1, y1 = face.box
    assert agree(only(finder.faces(wide)[0]).box, (x0 + 100, y0, x1 + 100, y1)) >= 0.8
    assert agree(only(finder.faces(tall)[0]).box, (x0, y0 + 60, x1, y1 + 60)) >= 0.8
    assert agree(only(finder.faces(double)[0]).box, (2 * x0, 2 * y0, 2 * x1, 2 * y1)) >= 0.9


def test_a_mirrored_picture_has_a_mirrored_face(finder: Opened, single: np.ndarray) -> None:
    face, width = only(finder.faces(single)[0]), single.shape[1]
    mirrored = only(finder.faces(np.ascontiguousarray(single[:, ::-1]))[0])
    assert agree(mirrored.box, (width - face.box[2], face.box[1], width - face.box[0], face.box[3])) >= 0.8
    assert abs(mirrored.keypoints["right_eye"][0] - (width - face.keypoints["left_eye"][0])) < 12


def test_boxes_lie_in_the_picture_and_the_best_comes_first(finder: Opened, media: Path, single: np.ndarray) -> None:
    cut = np.ascontiguousarray(single[:, : single.shape[1] // 2 + 20])
    for image in (read(media / "multi_face.jpg"), cut):
        found = finder.faces(image)[0]
        scores = [face.score for face in found]
        assert scores == sorted(scores, reverse=True)
        for face in found:
            x0, y0, x1, y1 = face.box
            assert 0 <= x0 < x1 <= image.shape[1]
            assert 0 <= y0 < y1 <= image.shape[0]


def test_one_person_is_one_face(finder: Opened, media: Path, single: np.ndarray) -> None:
    assert len(finder.faces(np.concatenate([single, single[:, ::-1]], axis=1))[0]) == 2
    found = finder.faces(read(media / "multi_face.jpg"))[0]
    assert all(agree(face.box, other.box) < 0.3 for i, face in enumerate(found) for other in found[:i])


@pytest.mark.parametrize("shape", [(480, 640), (33, 7), (1, 1)])
def test_where_there_is_nothing_nothing_is_found(finder: Opened, shape: tuple[int, int]) -> None:
    assert finder.faces(np.full((*shape, 3), 127, np.uint8)) == [()]


def test_a_face_is_found_in_every_frame_and_hardly_one_where_there_is_none(finder: Opened, media: Path) -> None:
    assert [len(finder.faces(image)[0]) for image in frames(media / "single_face.mp4", 72)] == [1] * 72
    assert sum(len(finder.faces(image)[0]) for image in frames(media / "no_face.mp4", 95)) <= 1


def test_the_same_picture_has_the_same_faces_alone_and_among_others(finder: Opened, media: Path, single: np.ndarray) -> None:
    group = read(media / "multi_face.jpg")
    alone, others = finder.faces(single)[0], finder.faces(group)[0]
    assert finder.faces(single)[0] == alone
    if finder.manifest.batch.max > 1:
        assert finder.faces(group, single, group) == [others, alone, others]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "needs a model file: set model.detector_file"), (b"no model", "is no TensorFlow Lite file")]
)
def test_a_finder_without_a_folder_says_what_it_needs(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = None if content is None else tmp_path / "model.tflite"
    if file is not None and content is not None:
        file.write_bytes(content)
    with pytest.raises(EngineError, match=said):
        open_alone("mediapipe", file)
    with pytest.raises(EngineError, match=r"absent\.tflite: cannot be read: No such file"):
        open_alone("mediapipe", tmp_path / "absent.tflite")


def test_other_finders_need_a_folder() -> None:
    assert open_alone("blazeface", None) is None
    assert open_alone("nobody", None) is None


@pytest.mark.proof
def test_a_clip_is_analysed_with_a_finder_without_a_folder(media: Path) -> None:
    FINDERS["mediapipe, short range"]().engine.close()  # skips where it is not installed
    chosen = Model(detector="mediapipe", detector_file=mediapipe_file("face_detection_short_range.tflite"))
    with closing(Analyser.create(Config(model=chosen, engine=EngineSection(threads=1)))) as analyser:
        events = list(analyse(Source(media / "single_face.mp4", "single_face.mp4"), analyser))
    labels = [face.prediction.label for event in events if isinstance(event, Event) for face in event.faces if face.prediction]
    assert labels[-1] == "happy"
    assert [event.label for event in events if isinstance(event, ClipPrediction)] == ["happy"]
