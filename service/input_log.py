"""A session's input log: what it took, in the order in which it did, as JSON and back.

Owns the words of the log: every kind of input, frames by reference (source and number of its read), and beside them what became
of the frames that never reached the session. Does not own files (`capture/tape.py`), when an entry is written (`feed.py`) or
its replay (`replay.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from capture.frame import Bundle, Clock, Frame, Modality, SourceState, State, Tick
from capture.recorded import Json, RecordingError
from service.events import Rejected
from service.inputs import Change, Input, Keep
from service.messages import Dropped

INPUTS, EVENTS, FEATURES = "/mien/inputs", "/mien/events", "/mien/features"
"""Topics."""
_NUMBERS = {"type": "object", "additionalProperties": {"type": "integer"}}
_NAMES = {"type": "array", "items": {"type": "string"}}
INPUT_SCHEMA: Json = {
    "type": "object", "title": "mien.Input", "required": ["kind"],
    "properties": {
        "kind": {"enum": ["bundle", "source", "tick", "change", "dropped", "rejected"]},
        "number": {"type": "integer"}, "t_ns": {"type": "integer"}, "clock": {"type": "string"}, "arrival_ns": {"type": "integer"},
        "frames": {"type": "object"}, "skew_ns": _NUMBERS, "missing": _NAMES, "held": _NAMES,
        "source": {"type": "string"}, "modality": {"type": "string"}, "state": {"type": "string"}, "since_ns": {"type": "integer"},
        "detail": {"type": "string"}, "model": {"type": ["string", "null"]}, "period_ms": {"type": ["number", "null"]},
        "hop": {"type": ["integer", "null"]}, "faces": {"type": ["integer", "null"]},
        "first": {"type": "integer"}, "last": {"type": "integer"}, "reason": {"type": "string"}, "code": {"type": "string"},
    },
}  # fmt: skip
EVENT_SCHEMA: Json = {
    "type": "object", "title": "mien.Event", "required": ["type"],
    "properties": {
        "type": {"type": "string"}, "frame": {"type": "integer"}, "t_ns": {"type": "integer"}, "due": {"type": "boolean"},
        "faces": {"type": "array", "items": {"type": "object"}}, "no_call": {"type": ["string", "null"]},
    },
}  # fmt: skip
FEATURE_SCHEMA: Json = {
    "type": "object", "title": "mien.Feature",
    "properties": {
        "track": {"type": "integer"}, "frame": {"type": "integer"}, "t_ns": {"type": "integer"},
        "feature": {"type": "array", "items": {"type": "number"}},
    },
}  # fmt: skip


def entry(given: Input) -> Json:
    """Return the log's entry of an input that a session took."""
    if isinstance(given, Bundle):
        return {
            "kind": "bundle", "number": given.number, "t_ns": given.t_ns, "clock": given.clock, "arrival_ns": given.arrival_ns,
            "frames": {name: {"seq": frame.seq, "flags": sorted(frame.flags)} for name, frame in given.frames.items()},
            "skew_ns": dict(given.skew_ns), "missing": list(given.missing), "held": list(given.held),
        }  # fmt: skip
    if isinstance(given, SourceState):
        return {
            "kind": "source", "source": given.source, "modality": given.modality, "state": given.state, "since_ns": given.since_ns,
            "detail": given.detail,
        }  # fmt: skip
    if isinstance(given, Tick):
        return {"kind": "tick", "t_ns": given.t_ns}
    body: Json = {"kind": "change", "model": given.model, "hop": given.hop, "faces": given.faces}
    return body if isinstance(given.period_ms, Keep) else body | {"period_ms": given.period_ms}


def loss(lost: Dropped | Rejected) -> Json:
    """Return the log's entry of frames that never reached the session."""
    if isinstance(lost, Dropped):
        return {"kind": "dropped", "first": lost.frames[0], "last": lost.frames[1], "reason": lost.reason}
    return {"kind": "rejected", "number": lost.frame, "code": lost.code, "detail": lost.detail}


def given(body: Json, frame: Callable[[str, int], Frame]) -> Input | Dropped | Rejected:
    """Return what an entry stands for. `frame` finds a frame by its source and the number of its read.

    Raises:
        RecordingError: "recording-broken": it is no entry of this log.
    """
    try:
        return _GIVEN[body["kind"]](body, frame)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordingError("recording-broken", f"an entry of the input log cannot be read: {error!r}") from None


def _bundle(body: Json, frame: Callable[[str, int], Frame]) -> Bundle:
    frames = {name: _flagged(frame(name, int(found["seq"])), found["flags"]) for name, found in body["frames"].items()}
    return Bundle(
        int(body["number"]), int(body["t_ns"]), cast(Clock, body["clock"]), int(body["arrival_ns"]), frames,
        {name: int(skew) for name, skew in body["skew_ns"].items()}, tuple(body["missing"]), tuple(body["held"]),
    )  # fmt: skip


def _flagged(frame: Frame, flags: list[str]) -> Frame:
    # A rig may have added what it found out about the frame after it was read.
    return frame if frame.flags == frozenset(flags) else replace(frame, flags=frozenset(flags))


def _state(body: Json, _: object) -> SourceState:
    state, modality = cast(State, body["state"]), cast(Modality, body["modality"])
    return SourceState(str(body["source"]), modality, state, int(body["since_ns"]), str(body["detail"]))


def _tick(body: Json, _: object) -> Tick:
    return Tick(int(body["t_ns"]))


def _change(body: Json, _: object) -> Change:
    return Change(model=body["model"], period_ms=body.get("period_ms", Keep.KEEP), hop=body["hop"], faces=body["faces"])


def _dropped(body: Json, _: object) -> Dropped:
    return Dropped((int(body["first"]), int(body["last"])), body["reason"])


def _rejected(body: Json, _: object) -> Rejected:
    return Rejected(int(body["number"]), str(body["code"]), str(body["detail"]))


_GIVEN: Mapping[str, Callable[[Json, Callable[[str, int], Frame]], Input | Dropped | Rejected]] = {
    "bundle": _bundle, "source": _state, "tick": _tick, "change": _change, "dropped": _dropped, "rejected": _rejected,
}  # fmt: skip
