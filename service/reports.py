"""What an analysis looks like for programs: NDJSON, one JSON document, CSV.

Owns the layout of the three formats (`docs/analyze.md` describes it) and the `--timing` addition. Does not own an event's
own JSON (`events.py`), the trace (`windows/trace.py`) or the table for people (`tables.py`). Without `--timing` nothing
here depends on when it ran.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol, TextIO

from service.analyze import Tally
from service.events import ClipPrediction, Score, SessionEvent, wire
from service.intake import Source
from service.messages import Failure, Timing
from service.models import Model
from service.windows.trace import Trace, TraceValue

SCHEMA = "mien.analysis/1"


@dataclass(frozen=True, slots=True)
class Style:
    """What all reports of a run share. `several`: more than one input, so every record names its own; `timing`: add `delivery`."""

    model: Model
    several: bool
    timing: bool = False


class Report(Protocol):
    """Takes the inputs one after another: the events of one, then its end; at last the end of all."""

    def say(self, source: Source, event: SessionEvent, timing: Timing) -> None: ...

    def end(self, source: Source, outcome: Tally | Failure) -> None: ...

    def close(self) -> None: ...


class Ndjson:
    """One event per line, as it comes; a failed input ends with a line of type `error`."""

    def __init__(self, out: TextIO, style: Style) -> None:
        self._out = out
        self._style = style

    def say(self, source: Source, event: SessionEvent, timing: Timing) -> None:
        self._line(source, _delivered(event, timing, self._style))

    def end(self, source: Source, outcome: Tally | Failure) -> None:
        if isinstance(outcome, Failure):
            self._line(source, {"type": "error", "code": outcome.code, "detail": outcome.detail, "retryable": outcome.retryable})

    def close(self) -> None:
        self._out.flush()

    def _line(self, source: Source, body: dict[str, Any]) -> None:
        named = {"input": source.name, **body} if self._style.several else body
        self._out.write(_json(named) + "\n")


class JsonDocument:
    """One document per input; of several inputs, a list of them. One event per line, so that it can be read and compared."""

    def __init__(self, out: TextIO, style: Style) -> None:
        self._out = out
        self._style = style
        self._first = True
        self._begin()

    def _begin(self) -> None:
        self._events: list[str] = []
        self._clip: list[str] = []
        self._trace = Trace()

    def say(self, source: Source, event: SessionEvent, timing: Timing) -> None:
        self._trace.add(event)
        lines = self._clip if isinstance(event, ClipPrediction) else self._events
        lines.append(_json(_delivered(event, timing, self._style)))

    def end(self, source: Source, outcome: Tally | Failure) -> None:
        head: dict[str, Any] = {"schema": SCHEMA, "input": source.name}
        if isinstance(outcome, Failure):
            document = _json(head | {"error": {"code": outcome.code, "detail": outcome.detail}})
        else:
            head |= _model(self._style.model)
            head["frames"] = {
                "expected": outcome.expected, "decoded": outcome.decoded, "errors": outcome.errors, "with_face": outcome.with_face,
            }  # fmt: skip
            head |= {"partial": True} if outcome.partial else {}
            trace = [_json(_traced(value, self._trace.labels)) for value in self._trace.values()]
            lists = [_list("events", self._events), _list("trace", trace), _list("clip_prediction", self._clip)]
            document = "{\n" + ",\n".join([*(f"{_json(key)}:{_json(value)}" for key, value in head.items()), *lists]) + "\n}"
        if self._style.several:
            self._out.write(("[\n" if self._first else ",\n") + document)
        elif not isinstance(outcome, Failure):
            self._out.write(document + "\n")
        self._first = False
        self._begin()

    def close(self) -> None:
        if self._style.several:
            self._out.write("[]\n" if self._first else "\n]\n")
        self._out.flush()


class Csv:
    """A row per frame and track from the trace (`kind` frame), then one per track for the whole input (`kind` clip)."""

    def __init__(self, out: TextIO, style: Style) -> None:
        self._out = csv.writer(out, lineterminator="\n")
        self._flush = out.flush
        manifest = style.model.manifest
        self._labels: tuple[str, ...] = getattr(manifest, "labels", ())
        self._trace = Trace()
        self._clip: list[ClipPrediction] = []
        self._out.writerow([
            "input", "kind", "track", "frame", "last_frame", "t_s", "label", "probability", *(f"p_{label}" for label in self._labels),
            "valence", "arousal", "windows", "filled", "final", "interpolated",
        ])  # fmt: skip

    def say(self, source: Source, event: SessionEvent, timing: Timing) -> None:
        self._trace.add(event)
        if isinstance(event, ClipPrediction):
            self._clip.append(event)

    def end(self, source: Source, outcome: Tally | Failure) -> None:
        if not isinstance(outcome, Failure):
            for value in self._trace.values():
                affect = (_number(value.valence), _number(value.arousal))
                self._row(source, "frame", value.track, (value.frame, value.frame), f"{value.t_ns / 1e9:.6f}",
                          _ranked(value, self._trace.labels), affect, (value.windows, "", value.final, value.interpolated))  # fmt: skip
            for clip in self._clip:
                affect = ("", "") if clip.affect is None else (_number(clip.affect.valence), _number(clip.affect.arousal))
                self._row(
                    source, "clip", clip.track, clip.frames, "", clip.scores, affect, (clip.windows, _number(clip.filled), True, False)
                )
        self._trace, self._clip = Trace(), []

    def close(self) -> None:
        self._flush()

    def _row(
        self, source: Source, kind: str, track: int, frames: tuple[int, int], t_s: str, scores: tuple[Score, ...],
        affect: tuple[str, str], rest: tuple[int, str, bool, bool],
    ) -> None:  # fmt: skip
        by_name = {score.name: _number(score.probability) for score in scores}
        best = (scores[0].name, _number(scores[0].probability)) if scores else ("", "")
        windows, filled, final, interpolated = rest
        self._out.writerow([
            source.name, kind, track, *frames, t_s, *best, *(by_name.get(label, "") for label in self._labels), *affect,
            windows, filled, int(final), int(interpolated),
        ])  # fmt: skip


def _delivered(event: SessionEvent, timing: Timing, style: Style) -> dict[str, Any]:
    if not style.timing:
        return wire(event)
    spent = {"decode": timing.decode_ns, "wait": timing.wait_ns, "infer": timing.infer_ns}
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return wire(event) | {"delivery": {"t_utc": now, "timing": {name: round(ns / 1e6, 3) for name, ns in spent.items()}}}


def _model(model: Model) -> dict[str, Any]:
    body: dict[str, Any] = {"model": {"id": model.name.id, "sha256": model.name.sha256}, "backend": model.backend}
    body |= {"weights": "random"} if model.manifest.weights.kind == "random" else {}
    return body | ({"notes": list(model.notes)} if model.notes else {})


def _ranked(value: TraceValue, labels: tuple[str, ...]) -> tuple[Score, ...]:
    scores = [Score(label, probability) for label, probability in zip(labels, value.scores, strict=True)]
    return tuple(sorted(scores, key=lambda score: -score.probability))


def _traced(value: TraceValue, labels: tuple[str, ...]) -> dict[str, Any]:
    scores = _ranked(value, labels)
    body: dict[str, Any] = {"track": value.track, "frame": value.frame, "t_ns": value.t_ns}
    body["scores"] = [{"name": score.name, "probability": round(score.probability, 6)} for score in scores]
    body["label"] = scores[0].name if scores else None
    body |= {name: round(x, 6) for name, x in (("valence", value.valence), ("arousal", value.arousal)) if x is not None}
    return body | {"windows": value.windows, "final": value.final, "interpolated": value.interpolated}


def _json(body: object) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _list(name: str, lines: list[str]) -> str:
    return f"{_json(name)}:[\n" + ",\n".join(lines) + "\n]" if lines else f"{_json(name)}:[]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
