"""A configuration's live loop without a server: for what runs sessions from the command line.

Owns its building and its end. Does not own the loop (`live.py`) or who uses it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from capture.recorded import Json
from service.chosen import detector_of, open_models, settled
from service.config import Config
from service.live import LiveLoop
from service.perception import pixels
from service.settings import GIVEN

_STOP_S = 5.0


@contextlib.contextmanager
def running_loop(config: Config, given: frozenset[str] = GIVEN) -> Iterator[tuple[LiveLoop, Config, Json]]:
    """Give a started loop, the settled configuration, and what a session is made of (`service.replay.Recipe` reads it).

    `given`: modalities of pictures that its source has.

    Raises:
        UnknownModel: there is no such model, or it is of another kind.
        EngineError: a model folder or runtime cannot be used.
    """
    config = settled(config)
    with contextlib.closing(open_models(config)) as models:
        detector = detector_of(models, config, given)
        models.load(detector.id)
        model = models.load(config.model.id)
        loop = LiveLoop(models, pixels.create(detector), max_sessions=1)
        loop.start()
        session = {
            "model": model.name.id, "model_sha256": model.name.sha256, "detector": detector.id,
            "detector_sha256": models.folder(detector.id).sha256[:12], "backend": model.backend,
            "faces": config.session.faces, "hop": config.session.hop,
        }  # fmt: skip
        try:
            yield loop, config, session
        finally:
            loop.stop(_STOP_S)
