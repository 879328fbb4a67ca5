"""The shipped finders on real pictures, and the shipped gates on real, blurred and darkened faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from capture.frame import Bundle, Frame
from engines.engine import Engine, EngineOptions
from engines.folder import open_folder
from engines.manifest import Detector, Expression
from engines.open import open_engine
from service.inputs import Detection, Perception
from service.perception.pixels import create

MODELS = Path("engines/models")


def bundles(file: Path) -> Iterator[Bundle]:
    with av.open(str(file)) as container:
        for number, frame in enumerate(container.decode(video=0), 1):
            yield picture(frame.to_ndarray(format="rgb24", threads=1), number)


def picture(image: np.ndarray, number: int = 1) -> Bundle:
    return Bundle(number, 0, "media", 0, {"clip": Frame("clip", "color", number, 0, 0, image)})


def faces(perception: Perception, engine: Engine, bundle: Bundle) -> tuple[Detection, ...]:
    row = perception.detect(bundle).inputs
    result = engine.run({name: value[None] for name, value in row.items()})
    return perception.faces(bundle, {name: value[0] for name, value in result.items()})


@pytest.fixture(scope="module", params=["blazeface-front", "blazeface-back"])
def finder(request: pytest.FixtureRequest, checkout: Path) -> Iterator[tuple[str, Perception, Engine]]:
    folder = open_folder(checkout / MODELS / request.param)
    assert isinstance(folder.manifest, Detector)
    engine = open_engine(folder, "full", EngineOptions(threads=1))
    yield request.param, create(folder.manifest), engine
    engine.close()


def fer_small(checkout: Path) -> Expression:
    manifest = open_folder(checkout / MODELS / "fer-small").manifest
    assert isinstance(manifest, Expression)
    return manifest


def test_faces_where_there_are_some(finder: tuple[str, Perception, Engine], media: Path) -> None:
    name, perception, engine = finder
    group = cv2.cvtColor(cv2.imread(str(media / "multi_face.jpg")), cv2.COLOR_BGR2RGB)
    assert len(faces(perception, engine, picture(group))) == {"blazeface-front": 2, "blazeface-back": 5}[name]
    counts = [len(faces(perception, engine, bundle)) for bundle in bundles(media / "single_face.mp4")]
    assert counts == [1] * 72


def test_hardly_any_where_there_are_none(finder: tuple[str, Perception, Engine], media: Path) -> None:
    _, perception, engine = finder
    found = [len(faces(perception, engine, bundle)) for bundle in bundles(media / "no_face.mp4")]
    assert sum(found) == 1


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda image, side: image, None),
        (lambda image, side: cv2.GaussianBlur(image, (0, 0), 0.02 * side), None),
        (lambda image, side: cv2.GaussianBlur(image, (0, 0), 0.05 * side), "blurred"),
        (lambda image, side: (image * 0.25).astype(np.uint8), None),
        (lambda image, side: (image * 0.05).astype(np.uint8), "too-dark"),
    ],
    ids=["as filmed", "soft", "blurred", "dim", "dark"],
)
def test_the_gates_refuse_heavy_blur_and_darkness_and_no_good_face(
    spoil: Callable[[np.ndarray, float], np.ndarray],
    expected: str | None,
    finder: tuple[str, Perception, Engine],
    media: Path,
    checkout: Path,
) -> None:
    _, perception, engine = finder
    model = fer_small(checkout)
    images = [cv2.cvtColor(cv2.imread(str(media / name)), cv2.COLOR_BGR2RGB) for name in ("multi_face.jpg", "single_face.jpg")]
    for clip in ("single_face.mp4", "WolfgangLanger_Pexels.mp4"):
        images += [np.asarray(b.frames["clip"].data, np.uint8) for b in bundles(media / clip) if b.number % 24 == 1]
    for image in images:
        for face in faces(perception, engine, picture(image)):
            sample = perception.sample(picture(spoil(image, face.box[2] - face.box[0])), face, model)
            assert (sample if isinstance(sample, str) else None) == expected
