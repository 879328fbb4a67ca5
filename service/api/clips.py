"""`/v1/clips`: send a clip, ask for its state, fetch its result, erase it.

Owns the addresses, and formats by `Accept` or suffix. Does not own the body's parsing (`upload.py`), the queue
(`service/clips/queue.py`), how a state is told (`clip_state.py`) or `WS /v1/clips/{id}/events` (`clip_events.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.responses import FileResponse, JSONResponse, Response

from capture.container import demuxer_of
from service.api import errors
from service.api.clip_state import clips_of, told, told_of
from service.api.framing import explained
from service.api.service import Service
from service.api.upload import Body, Form, Gone, Lingering, check_declared
from service.clips.files import StorageFull, Upload
from service.clips.limits import ClipRefused
from service.clips.queue import Clips, Progress
from service.clips.result import MEDIA_TYPES
from service.clips.store import Clip, ClipOptions
from service.intake import is_image
from service.models import UnknownModel
from service.settings import unusable

router = APIRouter()
MAX_WAIT_S = 120.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"\d{1,3}(\.\d{1,3})?")


class Options(BaseModel):
    """The part `options` of an upload: JSON. What is left out is the server's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    faces: Annotated[int, Field(ge=1, le=64)] | None = None
    hop: Annotated[int, Field(ge=1, le=100_000)] | None = None
    allow_partial: bool = False


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}, "options": Options.model_json_schema()},
                },
                "encoding": {"options": {"contentType": "application/json"}},
            }
        },
    },
    "parameters": [
        {"name": "wait", "in": "query", "schema": {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S}},
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255}},
    ],
}


@router.post("/v1/clips", status_code=202, openapi_extra=_BODY)
async def send(request: Request) -> Response:
    """Take a clip: 202 when it is durably queued, 200 with the result if `wait` seconds were enough."""
    service, clips = _service(request)
    body = Body(request.receive, clips.settings.min_bytes_per_s)
    try:
        with told():
            return await _received(request, service, clips, body)
    except Gone:
        return Response(status_code=400)  # to nobody
    except errors.Problem as problem:
        answer = errors.response(problem, request.scope)
        # Of a slow body there is no end to wait for.
        return answer if body.complete or problem.kind.code == "slow-body" else Lingering(answer, request.headers)


@router.get("/v1/clips/{id}")
def state(request: Request, id: str) -> dict[str, Any]:
    """Say how far a clip is."""
    _, clips = _service(request)
    with told():
        clip = clips.find(id)
        return told_of(clip, clips.progress(clip), clips) | {"ahead": clips.ahead(clip)}


@router.get("/v1/clips/{id}/{result}", response_class=Response)
def fetch(request: Request, id: str, result: str) -> Response:
    """Give a clip's result: `result`, or `result.json`, `.ndjson`, `.csv`, `.vtt`."""
    _, clips = _service(request)
    if result == "events":
        raise errors.Problem("upgrade-required", "This address speaks WebSocket only; connect with a WebSocket client.")
    name, _, suffix = result.partition(".")
    if name != "result" or (suffix and suffix not in MEDIA_TYPES) or result.endswith("."):
        raise errors.of_status(404)
    with told():
        clip = clips.find(id)
        return _file(clips, clip, suffix or _accepted(request))


@router.delete("/v1/clips/{id}", status_code=204, response_class=Response)
def erase(request: Request, id: str) -> Response:
    """Erase a clip, its input and its results."""
    _, clips = _service(request)
    with told():
        clips.delete(id)
    return Response(status_code=204)


def _service(request: Request) -> tuple[Service, Clips]:
    service: Service = request.app.state.service
    return service, clips_of(service)


async def _received(request: Request, service: Service, clips: Clips, body: Body) -> Response:
    problem = service.unready()
    if problem is not None:
        raise problem
    wait_s, key, suffix = _wait(request), _key(request), _accepted(request)
    with clips.holding(key) as earlier:
        if earlier is None:
            with clips.room():
                clip, new = await _uploaded(request, service, clips, body, key, None), True
        else:
            clip, new = await _uploaded(request, service, clips, body, key, earlier), False
    # The first answer said how it began; a repeated request is told the same, and with `wait` what has become of it.
    began = told_of(replace(clip, state="queued", ended_s=None, outcome=None), Progress(0.0, None, 0, []), clips)
    if wait_s:
        clip = await _waited(request, clips, clip.id, wait_s)
        if clip.state in ("done", "failed"):
            return _file(clips, clip, suffix)
    headers = {"Location": f"/v1/clips/{clip.id}"} | ({} if new else {"Idempotency-Replayed": "true"})
    return JSONResponse(began, 202, headers)


async def _uploaded(request: Request, service: Service, clips: Clips, body: Body, key: str | None, earlier: Clip | None) -> Clip:
    """Receive the body and queue it; return the earlier clip of the same key, if the body is the same."""
    declared = check_declared(request.headers, clips.settings.max_bytes)
    if declared is not None:
        clips.check_room_for(declared)
    with told():
        try:
            upload = clips.files.upload()
        except OSError as error:
            raise StorageFull from error
    try:
        form = Form(request.headers.get("content-type", ""), upload, clips.settings.max_bytes)
        while data := await body.read():
            await asyncio.to_thread(form.feed, data)
        form.end()
        options, given = _options(service, form.options)
        fingerprint = hashlib.sha256(f"{upload.sha256} {given}".encode()).hexdigest()
        if earlier is not None:
            if earlier.fingerprint != fingerprint:
                raise ClipRefused("idempotency-key-reused", "The body or the options differ from those that came with this key first.")
            return earlier
        _check_content(upload)
        return await clips.accept(upload, form.name, options, key, fingerprint)
    finally:
        upload.discard()


def _check_content(upload: Upload) -> None:
    """Raise ClipRefused if the first bytes are none of a clip or an image; names and declared types say nothing."""
    if upload.size == 0:
        raise ClipRefused("empty-clip", "The part `file` has 0 bytes.")
    if demuxer_of(upload.head) is None and not is_image(upload.path):
        begin = upload.head[:8].hex(" ")
        raise ClipRefused("unsupported-container", f"The file begins {begin}, as none of the containers and image formats that are taken.")


def _options(service: Service, text: str | None) -> tuple[ClipOptions, str]:
    """Return the options in full, and as they were given in one spelling."""
    try:
        given = Options.model_validate_json(text) if text is not None and text.strip() else Options()
    except ValidationError as error:
        raise ClipRefused("invalid-parameter", f"options: {explained(error)}"[:400]) from None
    session, id = service.config.session, given.model or service.config.model.id
    try:
        manifest = service.models.manifest(id)
    except UnknownModel as error:
        raise ClipRefused("unknown-model", f"{error}"[:400]) from None
    if manifest.kind != "expression":
        raise ClipRefused("unknown-model", f"Model {id!r} is of kind {manifest.kind}; one of kind expression is needed.")
    if (why := unusable(manifest)) is not None:
        raise ClipRefused("invalid-parameter", f"options: model: {why}"[:400])
    hop = session.hop if given.hop is None and id == service.config.model.id else given.hop
    return ClipOptions(id, given.faces or session.faces, hop, given.allow_partial), given.model_dump_json()


async def _waited(request: Request, clips: Clips, id: str, wait_s: float) -> Clip:
    """Wait for a clip's end, no longer than its client does."""
    end = asyncio.create_task(clips.ended(id, wait_s))
    left = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({end, left}, return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            raise Gone
        return end.result()
    finally:
        for task in (end, left):
            task.cancel()
        await asyncio.gather(end, left, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _file(clips: Clips, clip: Clip, suffix: str) -> Response:
    path = clips.result(clip, suffix)
    if not path.is_file():
        raise ClipRefused("unknown-clip", "The clip has just been deleted.")
    headers = {"Content-Location": f"/v1/clips/{clip.id}/result.{suffix}", "Vary": "Accept"}
    return FileResponse(path, headers=headers, media_type=MEDIA_TYPES[suffix])


def _wait(request: Request) -> float:
    unknown = sorted(set(request.query_params) - {"wait"})
    if unknown:
        raise errors.Problem("invalid-parameter", f"There is no query parameter {unknown[0][:40]!r}; there is: wait.")
    text = request.query_params.get("wait", "0")
    if not _WAIT.fullmatch(text) or float(text) > MAX_WAIT_S:
        raise errors.Problem("invalid-parameter", f"wait is {text[:40]!r}; allowed are 0 to {MAX_WAIT_S:g} seconds.")
    return float(text)


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise errors.Problem("invalid-parameter", "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.")
    return key


def _accepted(request: Request) -> str:
    """Return the suffix of the format that the client likes best; JSON where it does not mind."""
    wanted: list[tuple[float, int, str]] = []
    for order, item in enumerate(request.headers.get("accept", "*/*").lower().split(",")):
        media, *parameters = (part.strip() for part in item.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        with contextlib.suppress(ValueError):
            wanted.append((-float(quality), order, media))
    for quality_, _, media in sorted(wanted):
        for suffix, type_ in MEDIA_TYPES.items():
            if quality_ < 0 and media in (type_.partition(";")[0], type_.partition("/")[0] + "/*", "*/*"):
                return suffix
    raise errors.Problem("not-acceptable", f"Accept asks for {request.headers.get('accept', '')[:80]!r}.")
