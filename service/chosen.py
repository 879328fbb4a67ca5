"""What a configuration chooses, opened: the models it may use, its face finder and its network.

Owns the one way from `Config` to running graphs, for the command line and the server alike. Does not own either's use of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.engine import EngineOptions
from engines.folder import MANIFEST, read_manifest
from engines.manifest import Detector, Expression, Manifest
from service.config import Config
from service.models import Models, UnknownModel
from service.perception.pixels import open_alone
from service.settings import GIVEN, unusable


def settled(config: Config) -> Config:
    """Return the configuration with ids alone: a model named by its folder is taken from there.

    A folder is what is written with a `/` and holds a manifest; anything else is an id, known or not.

    Raises:
        FolderError: the manifest there breaks a rule.
    """
    said = {"id": config.model.id, "detector": config.model.detector}
    folders = {role: Path(text) for role, text in said.items() if "/" in text and (Path(text) / MANIFEST).is_file()}
    ids = {role: read_manifest(folder).id for role, folder in folders.items()}
    model = config.model.model_copy(update={**ids, "dirs": (*folders.values(), *config.model.dirs)})
    return config.model_copy(update={"model": model})


def open_models(config: Config) -> Models:
    """Return the models a configuration may use, none loaded yet; the caller closes them.

    Raises:
        EngineError: a folder of models is not one.
    """
    return Models(config.model.dirs, engine_options(config), config.model.allow_random_weights, finder_options(config))


def engine_options(config: Config) -> EngineOptions:
    """Return how graphs are opened."""
    said = config.engine
    return EngineOptions(
        said.backend, said.providers, said.threads, said.allow_fallback, precision=said.precision, url=said.url, timeout_s=said.timeout_s,
        plans=None if said.plans is None else str(said.plans),
    )  # fmt: skip


def finder_options(config: Config) -> EngineOptions:
    """Return how those of face finders are."""
    options = engine_options(config)
    # A picture per frame is not worth sending: beside a server, faces are found here.
    backend = config.engine.detector_backend or ("onnx" if options.backend == "triton" else options.backend)
    return options if backend == options.backend else replace(options, backend=backend, providers=None)


def detector_of(models: Models, config: Config, given: frozenset[str] = GIVEN) -> Detector:
    """Return the manifest of the face finder chosen, the network chosen being of the right kind too; `given`: modalities of pictures.

    Raises:
        UnknownModel: there is no such model, it is of another kind, or it needs what no source gives.
        EngineError: a model folder cannot be used.
    """
    for id in (config.model.detector, config.model.id):
        if id not in models.ids() and (Path(id) / MANIFEST).is_file():
            raise UnknownModel(f"no model {id!r}; if the folder of that name is meant, write ./{id}")
    network = models.folder(config.model.id).manifest
    detector = _alone(models, config) or models.folder(config.model.detector).manifest
    if not isinstance(detector, Detector):
        raise UnknownModel(_other_kind(models, detector, "detector"))
    if not isinstance(network, Expression):
        raise UnknownModel(_other_kind(models, network, "expression"))
    if (why := unusable(network, given)) is not None:
        raise UnknownModel(why)
    return detector


def _alone(models: Models, config: Config) -> Detector | None:
    """Open the face finder chosen if it is one without a folder; a model of its name goes before it."""
    opened = None if config.model.detector in models.ids() else open_alone(config.model.detector, config.model.detector_file)
    if opened is None:
        return None
    models.adopt(*opened)
    return opened[0]


def _other_kind(models: Models, manifest: Manifest, wanted: str) -> str:
    there = ", ".join(models.ids(wanted)) or "none"
    return f"model {manifest.id!r} is of kind {manifest.kind}; one of kind {wanted} is needed, and there are: {there}"
