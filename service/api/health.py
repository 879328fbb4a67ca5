"""`/livez`, `/readyz`, `/startupz`, `/metrics`: what supervisors and Prometheus ask.

Owns the addresses; the answers are read from the service at that moment, never hard-coded.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from service.api.errors import Problem
from service.api.service import Service

router = APIRouter()


@router.get("/livez")
async def livez(request: Request) -> dict[str, str]:
    """Say whether a restart is needed: 503 if the inference loop has ended."""
    service = _service(request)
    if service.failed is not None or not (service.loop.healthy or service.draining):
        raise Problem("internal", "The inference loop has failed; the server must be restarted.")
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """Say whether new sessions are taken: 503 while loading or draining."""
    problem = _service(request).unready()
    if problem is not None:
        raise problem
    return {"status": "ready"}


@router.get("/startupz")
async def startupz(request: Request) -> dict[str, str]:
    """Say whether loading has ended."""
    service = _service(request)
    if not service.loaded:
        raise service.unready() or Problem("loading", "Models and cameras are still being opened.")
    return {"status": "started"}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Give the counters in Prometheus' text format."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
