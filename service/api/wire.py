"""What the live loop says, as JSON objects of the wire.

Owns `delivery` (made at the moment of sending: the only wall clock of the service) and the session's own messages. Does
not own events (`service.events.wire`) or the queue (`outbox.py`).
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from engines.manifest import Expression
from service.api import errors, messages
from service.api.codes import REGISTRY
from service.events import Event, ModelName, wire
from service.messages import Closed, Dropped, Failure, Loading, Output, Policy, Timing, Updated
from service.settings import Settings

Json = dict[str, Any]


def message_of(output: Output) -> Json:
    """Return the message for an output, to be sent now."""
    said = output.message
    if isinstance(said, Event):
        body = wire(said)
        if output.id is not None:
            body["id"] = output.id
        if output.timing is not None:
            body["delivery"] = delivery(output, output.timing)
        return body
    if isinstance(said, Dropped):
        return _json(messages.FrameDropped(frames=said.frames, reason=said.reason))
    if isinstance(said, Updated):
        settings = (said.model.name, said.model.manifest, said.hop, said.period_ms)
        return _json(updated(*settings, said.policy, said.faces, said.from_frame))
    if isinstance(said, Loading):
        return _json(messages.SessionLoading(model=messages.ModelId(id=said.model)))
    if isinstance(said, Closed):
        counts = {"received": said.received, "used": said.used, "dropped": dict(said.dropped), "rejected": said.rejected}
        return {"type": "session.closed", "reason": said.reason} | counts
    if isinstance(said, Failure):
        # Why a model does not load names files of this machine: that is for the log.
        hidden = said.code == "model-not-loaded"
        return errors.message(said.code, f"{REGISTRY[said.code].title}." if hidden else said.detail)
    body = wire(said)
    return body if output.id is None else body | {"id": output.id}


def delivery(output: Output, timing: Timing) -> Json:
    """Return how a result travelled, as of now."""
    now_ns = time.monotonic_ns()
    spent = {"decode": timing.decode_ns, "wait": timing.wait_ns, "infer": timing.infer_ns, "send": now_ns - timing.done_ns}
    body: Json = {
        "t_utc": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "age_ms": _ms(now_ns - timing.arrival_ns),
        "timing": {name: _ms(ns) for name, ns in spent.items()},
        "dropped_since_last": output.dropped_since_last,
    }
    return body if output.degraded is None else body | {"degraded": output.degraded}


def created(session_id: str, limits: messages.Limits, settings: Settings, policy: Policy) -> Json:
    """Return the first message of a session."""
    manifest = settings.manifest
    return _json(
        messages.SessionCreated(
            session_id=session_id,
            limits=limits,
            model=_ref(settings.model.name),
            labels=manifest.labels,
            window=_window(manifest, settings.hop, settings.period_ms),
            policy=policy,
            faces=settings.faces,
            notice_required=False,
        )
    )


def subscribed(settings: Settings, policy: Policy, from_frame: int) -> Json:
    """Return the first message to a camera's subscriber: what is in force."""
    given = (settings.model.name, settings.manifest, settings.hop, settings.period_ms)
    return _json(updated(*given, policy, settings.faces, from_frame))


def updated(
    name: ModelName, manifest: Any, hop: int, period_ms: float | None, policy: Policy, faces: int, from_frame: int
) -> messages.SessionUpdated:
    """Return the message that names the settings in force."""
    assert isinstance(manifest, Expression)
    return messages.SessionUpdated(
        model=_ref(name),
        labels=manifest.labels,
        window=_window(manifest, hop, period_ms),
        policy=policy,
        faces=faces,
        from_frame=from_frame,
    )


def _ref(name: ModelName) -> messages.ModelRef:
    return messages.ModelRef(id=name.id, sha256=name.sha256)


def _window(manifest: Expression, hop: int, period_ms: float | None) -> messages.WindowSettings:
    return messages.WindowSettings(frames=manifest.window.frames, buffer=manifest.window.buffer, hop=hop, period_ms=period_ms)


def _json(message: messages.Said) -> Json:
    return message.model_dump(mode="json")


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)
