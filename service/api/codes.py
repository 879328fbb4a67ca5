"""The one registry of what can go wrong on the wire, as HTTP problem, `error` message, rejected frame or close.

Owns codes, statuses, titles, remedies and close codes. The tables in docs/api.md are made from here (`reference.py`); how
they are said is `errors.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One code. `status`: as an HTTP answer; `error`: as a WebSocket `error` message, followed by a close with `close`
    unless that is None; `frame`: as `frame.rejected`; `retryable`: the same request may succeed later."""

    code: str
    title: str
    remedy: str
    status: int | None = None
    error: bool = False
    close: int | None = None
    frame: bool = False
    retryable: bool = False


# fmt: off
_REQUESTS = (
    Kind("bad-request", "The request is malformed",
         "Send valid HTTP; for a WebSocket, a complete upgrade handshake.", status=400),
    Kind("foreign-origin", "A page of this origin may not connect",
         "Serve the page from this server, or add its origin to `server.origins`.", status=403),
    Kind("not-found", "There is nothing at this address",
         "`/openapi.json` lists the addresses.", status=404),
    Kind("unknown-stream", "There is no such camera",
         "`GET /v1/streams` lists the names.", status=404),
    Kind("method-not-allowed", "The address does not take this method",
         "The `Allow` header names those it takes.", status=405),
    Kind("foreign-host", "The request was made for another host",
         "Use 127.0.0.1, ::1 or localhost, or add the host's origin to `server.origins`.", status=421),
    Kind("invalid-parameter", "A parameter is unknown or has a wrong value",
         "`detail` names it and what is allowed.", status=422),
    Kind("unknown-model", "There is no such model",
         "`GET /v1/models` lists the ids. An id is never a path.", status=422, error=True),
    Kind("upgrade-required", "This address speaks WebSocket only",
         "Connect with a WebSocket client.", status=426),
    Kind("internal", "The server has failed",
         "The server's log has the cause; find it by `request_id`.", status=500, error=True, close=1011),
    Kind("model-broken", "The model's folder cannot be used",
         "The server's log names the file and the remedy.", status=500),
    Kind("loading", "The server is still loading",
         "Try again after `Retry-After` seconds.", status=503, retryable=True),
    Kind("draining", "The server is shutting down",
         "Try again after `Retry-After` seconds.", status=503, retryable=True),
    Kind("overloaded", "There is no room for one more session",
         "Try again after `Retry-After` seconds, or close another session.", status=503, retryable=True),
)
_CLIPS = (
    Kind("bad-multipart", "The body is not valid multipart/form-data",
         "Send a part `file`, and if wanted a part `options` with JSON.", status=400),
    Kind("unknown-clip", "There is no such clip",
         "Results are kept for `clips.ttl_h` hours; send the clip again.", status=404, error=True, close=1000),
    Kind("not-acceptable", "The result does not exist in a format you accept",
         "Accept application/json, application/x-ndjson, text/csv or text/vtt.", status=406),
    Kind("slow-body", "The body came too slowly",
         "Send it again over a faster connection.", status=408, retryable=True),
    Kind("clip-not-done", "The clip has no result yet",
         "Ask for its state, listen to its events, or send it with `?wait=30`.", status=409, retryable=True),
    Kind("idempotency-in-progress", "A request with this Idempotency-Key is being served",
         "Wait for its answer, then ask again.", status=409, retryable=True),
    Kind("clip-too-large", "The clip has more bytes than allowed",
         "Compress or cut it; `limit` says how many are allowed.", status=413),
    Kind("unsupported-container", "The file is no clip or image that is taken",
         "Send MP4/MOV, Matroska/WebM, AVI, MPEG-TS, or a JPEG, PNG, WebP, BMP or TIFF; content counts, not the name.", status=415),
    Kind("unsupported-media-type", "The body has a type that is not taken",
         "Send multipart/form-data.", status=415),
    Kind("empty-clip", "The clip is empty",
         "Record or copy it again.", status=422),
    Kind("clip-unreadable", "The clip cannot be read",
         "Was it cut off? Record, copy or convert it again.", status=422),
    Kind("clip-truncated", "The clip ends before its announced end",
         "Copy it again, or send it with `allow_partial`: true. `limit`: frames announced, `actual`: decoded.", status=422),
    Kind("clip-limits-exceeded", "The clip is larger, longer or faster than allowed",
         "Scale, cut or convert it; `limit` and `actual` say how far.", status=422),
    Kind("poison-clip", "The clip crashes or hangs its decoder",
         "Convert it, and report the file as a bug.", status=422),
    Kind("idempotency-key-reused", "This Idempotency-Key came with another body before",
         "Use a new key for a new clip.", status=422),
    Kind("clips-off", "This server takes no clips",
         "Start it by `mien serve`.", status=503),
    Kind("gpu-memory", "The GPU has no memory left for the model",
         "Try again later; whoever runs the server may close other sessions or choose a smaller model.",
         status=503, frame=True, retryable=True),
    Kind("queue-full", "As many clips wait as may",
         "Try again after `Retry-After` seconds.", status=503, retryable=True),
    Kind("storage-full", "There is no room on the server's disk",
         "Try again later; whoever runs the server must make room.", status=507, retryable=True),
)
_MESSAGES = (
    Kind("bad-json", "A text message is not JSON",
         "Send one JSON object per text message.", error=True, close=1008),
    Kind("bad-message", "A message has an unknown type or field, or a wrong value",
         "Send what docs/live.schema.json allows; `detail` names the place.", error=True, close=1008),
    Kind("bad-frame", "A binary message's header or its lengths are wrong",
         "Send a bare JPEG or PNG, or header length, header and parts exactly.", error=True, close=1008),
    Kind("too-many-broken", "Too many unusable images in a row",
         "The rejections before say what was wrong with each.", error=True, close=1008),
    Kind("read-only", "A camera's subscribers cannot send this",
         "Send nothing but `session.close` here.", error=True, close=1008),
    Kind("slow-reader", "Messages have waited too long to be read",
         "Read faster, widen the hop, or report fewer faces; then connect again.", error=True, close=4408, retryable=True),
    Kind("bad-change", "The update was refused and nothing changed",
         "`detail` names the value and what is allowed.", error=True),
    Kind("model-not-loaded", "The model could not be loaded; the old one goes on",
         "The server's log has the cause.", error=True),
    Kind("auth-not-enabled", "This server has no authentication; the message was ignored",
         "Leave out `session.auth`.", error=True),
    Kind("notice-not-required", "No notice is required here; the update was not applied",
         "Leave out `notice` when `notice_required` is false.", error=True),
    Kind("unknown-rig", "No such camera rig is calibrated",
         "Leave out `rig`, and send colour parts only.", error=True, frame=True),
)
_FRAMES = (
    Kind("not-an-image", "The bytes are neither a JPEG nor a PNG",
         "Send whole JPEG or PNG files.", frame=True),
    Kind("image-broken", "The image is cut off or damaged, or not what its header says",
         "Send it as the encoder made it.", status=422, frame=True),
    Kind("image-too-large", "The image has more pixels than allowed",
         "Scale it down to `limits.max_pixels`.", frame=True),
    Kind("time-order", "The frame is not later than the one before it",
         "`t_capture_ns` must increase.", frame=True),
    Kind("clock-mismatch", "Some frames have `t_capture_ns` and some have not",
         "Send it with every frame or with none.", frame=True),
)
# fmt: on
REGISTRY: Mapping[str, Kind] = {kind.code: kind for kind in (*_REQUESTS, *_CLIPS, *_MESSAGES, *_FRAMES)}

CLOSES: Mapping[int, str] = {
    1000: "The session ended as asked.",
    1007: "A text message was not UTF-8. No `error` goes first: such a text cannot be answered.",
    1008: "The client broke the protocol; the `error` before it says how.",
    1009: "A message was longer than `limits.max_message_bytes`. No `error` goes first: it is refused while it arrives.",
    1011: "The server failed, or the client answered no pings.",
    1012: "The server is restarting; connect again.",
    4408: "The client read too slowly.",
}
