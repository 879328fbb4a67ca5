"""`GET /v1/models` and `GET /v1/models/{id}`: what networks there are, with manifest and card.

Owns the addresses. Ids are looked up among the folders found at the start (`service/models.py`): none becomes a path.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter, Request

from engines.engine import EngineError
from engines.folder import Folder
from service.api.errors import Problem
from service.api.service import Service
from service.models import UnknownModel

log = logging.getLogger("mien.api")
router = APIRouter()


@router.get("/v1/models")
def models(request: Request) -> dict[str, Any]:
    """List all models; one whose folder cannot be used says so."""
    service: Service = request.app.state.service
    return {"default": service.config.model.id, "models": [_entry(service, id) for id in service.models.ids()]}


@router.get("/v1/models/{id:path}")
def model(request: Request, id: str) -> dict[str, Any]:
    """Give one model's manifest and card."""
    service: Service = request.app.state.service
    folder = _folder(service, id)
    card = folder.read(folder.manifest.card).decode()
    return _summary(folder) | {"manifest": folder.manifest.model_dump(mode="json", by_alias=True, exclude_none=True), "card": card}


def _entry(service: Service, id: str) -> dict[str, Any]:
    try:
        return _summary(_folder(service, id))
    except Problem as problem:
        return {"id": id, "error": problem.kind.code}


def _folder(service: Service, id: str) -> Folder:
    try:
        return service.models.folder(id)
    except UnknownModel as error:
        raise Problem("unknown-model", f"{error}"[:400]) from None
    except EngineError:
        # Its words name files of this machine: they are for the log.
        log.exception("the folder of model %r cannot be used", id)
        raise Problem("model-broken", f"The folder of model {id!r} cannot be used.") from None


def _summary(folder: Folder) -> dict[str, Any]:
    manifest = folder.manifest
    return {
        "id": manifest.id, "kind": manifest.kind, "title": manifest.title, "sha256": folder.sha256, "precision": manifest.precision,
        "weights": manifest.weights.kind, "licence": manifest.licence.spdx, "cost": manifest.cost.model_dump(mode="json"),
    }  # fmt: skip
