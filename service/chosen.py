"""What a configuration chooses, opened: the models it may use, its face finder and its network.

Owns the one way from `Config` to running graphs, for the command line and the server alike. Does not own either's use of them.
"""

from __future__ import annotations

from engines.engine import EngineOptions
from engines.manifest import Detector, Expression, Manifest
from service.config import Config
from service.models import Models, UnknownModel
from service.settings import unusable


def open_models(config: Config) -> Models:
    """Return the models a configuration may use, none loaded yet; the caller closes them.

    Raises:
        EngineError: a folder of models is not one.
    """
    options = EngineOptions(config.engine.backend, config.engine.providers, config.engine.threads, config.engine.allow_fallback)
    return Models(config.model.dirs, options, config.model.allow_random_weights)


def detector_of(models: Models, config: Config) -> Detector:
    """Return the manifest of the face finder chosen, the network chosen being of the right kind too.

    Raises:
        UnknownModel: there is no such model, it is of another kind, or it needs what no source gives.
        EngineError: a model folder cannot be used.
    """
    detector, network = models.folder(config.model.detector).manifest, models.folder(config.model.id).manifest
    if not isinstance(detector, Detector):
        raise UnknownModel(_other_kind(models, detector, "detector"))
    if not isinstance(network, Expression):
        raise UnknownModel(_other_kind(models, network, "expression"))
    if (why := unusable(network)) is not None:
        raise UnknownModel(why)
    return detector


def _other_kind(models: Models, manifest: Manifest, wanted: str) -> str:
    there = ", ".join(models.ids(wanted)) or "none"
    return f"model {manifest.id!r} is of kind {manifest.kind}; one of kind {wanted} is needed, and there are: {there}"
