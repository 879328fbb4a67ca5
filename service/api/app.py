"""The application: routes, error answers and the boundary around them, started and stopped with the service.

Owns composition only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from service.api import clip_events, clips, errors, health, live, models, streams
from service.api.boundary import Boundary
from service.api.codes import REGISTRY
from service.api.conversation import deny
from service.api.service import Service
from service.clips.queue import Clips
from service.config import Config
from service.live import LiveLoop
from service.metrics import Metrics
from service.models import Models
from service.pages import serve as pages

DESCRIPTION = "Facial expressions from video, on this machine. The WebSocket messages are described by docs/live.schema.json."


def create_app(
    config: Config,
    loop: LiveLoop,
    models_: Models,
    metrics: Metrics,
    *,
    behind_s: float = 5.0,
    on_failed: Callable[[], None] = lambda: None,
    clips_: Clips | None = None,
) -> FastAPI:
    """Return the application over a live loop that is not started yet; its lifespan starts and stops everything.

    `metrics` is what the loop was given to count its rounds with; `on_failed` is called when loading has failed;
    without `clips_` the routes of clips say that there are none.
    """
    service = Service(config, loop, models_, metrics, behind_s, on_failed, clips_)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="mien", version="1", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )  # fmt: skip
    app.state.service = service
    for module in (health, models, streams, live, clips, clip_events, pages):
        app.include_router(module.router)
    app.add_api_websocket_route("/{path:path}", _nothing_here)
    for address in ("/v1/live", "/v1/streams/{name}/events"):
        app.add_api_route(address, _websocket_only, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(errors.Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_middleware(Boundary, origins=config.server.origins)
    return app


_PROBLEM = {
    "description": "A problem document (RFC 9457); docs/api.md lists the codes.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"],
                "properties": {
                    **{name: {"type": "string"} for name in ("type", "title", "detail", "instance", "request_id")},
                    "code": {"type": "string", "enum": [kind.code for kind in REGISTRY.values() if kind.status is not None]},
                    **{name: {"type": "integer"} for name in ("status", "limit", "actual")},
                    "retryable": {"type": "boolean"},
                },
            }
        }
    },
}


async def _nothing_here(websocket: WebSocket) -> None:
    await deny(websocket, errors.of_status(404))


async def _websocket_only() -> None:
    raise errors.Problem("upgrade-required", "This address speaks WebSocket only; connect with a WebSocket client.")


async def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.Problem)
    return errors.response(error, request.scope)


async def _answer_status(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return errors.response(errors.of_status(error.status_code, error.headers), request.scope)


async def _answer_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return errors.response(errors.Problem("invalid-parameter", f"{'.'.join(map(str, first['loc']))}: {first['msg']}."), request.scope)
