"""An evaluation as one JSON document (`docs/evaluate.md` describes it).

Owns the layout and the rounding: six decimals, and null for a figure that is not defined.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from service.evaluation.hearing import Heard
from service.evaluation.judging import LabelScores, Scores, TraceScores, spread
from service.evaluation.run import Evaluation
from service.evaluation.scores import NONE, f1, recall

SCHEMA = "mien.evaluation/1"
Json = dict[str, Any]


def document(done: Evaluation) -> Json:
    """Return an evaluation as JSON values."""
    model, manifest = done.model, done.model.manifest
    weights = {"weights": "random"} if manifest.weights.kind == "random" else {}
    head: Json = {"schema": SCHEMA, "dataset": done.dataset.name, "model": {"id": model.name.id, "sha256": model.name.sha256}}
    head |= {"backend": model.backend} | weights | {"notes": list(done.notes)}
    head["clips"] = {
        "listed": len(done.dataset.clips) + len(done.dataset.left_out), "scored": len(done.heard), "development": len(done.development),
        "unreadable": [{"clip": one.clip, "code": one.code, "detail": one.detail} for one in done.unreadable],
        "left_out": list(done.dataset.left_out),
    }  # fmt: skip
    chains = {dimension: fitted.model_dump(mode="json") for dimension, fitted in done.chains.items()}
    head |= {"post_processing": chains} if chains else {}
    head["scores"] = scored(done.pooled)
    if done.folds:
        head["folds"] = {name: scored(found) for name, found in done.folds.items()}
        over = spread(list(done.folds.values()))
        head["over_folds"] = {name: {"mean": _n(s.mean), "std": _n(s.std), "folds": s.folds} for name, s in over.items()}
    head["predictions"] = [_prediction(one) for one in done.heard]
    return head


def text(done: Evaluation) -> str:
    """Return the document as text, keys in their order, one newline at the end."""
    return json.dumps(document(done), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def scored(found: Scores) -> Json:
    """Return the scores of a set of clips as JSON values."""
    body: Json = {"clips": found.clips}
    body |= {name: _labels(one) for name, one in (("clip_labels", found.clip), ("frame_labels", found.frame)) if one is not None}
    kinds: tuple[tuple[str, Mapping[str, TraceScores]], ...] = (
        ("traces", found.traces), ("traces_post_processed", found.finished), ("clip_means", found.means),
    )  # fmt: skip
    for name, per_dimension in kinds:
        body |= {name: {dimension: _trace(one) for dimension, one in per_dimension.items()}} if per_dimension else {}
    return body


def _labels(found: LabelScores) -> Json:
    body: Json = {name: _n(value) for name, value in found.figures().items()}
    rows = zip(found.labels, f1(found.counts), recall(found.counts), found.counts.sum(axis=1), strict=True)
    body["labels"] = {label: {"f1": _n(score), "recall": _n(part), "count": int(count)} for label, score, part, count in rows}
    body["confusion"] = {"rows": list(found.labels), "columns": [*found.labels, NONE], "counts": found.counts.tolist()}
    return body


def _trace(found: TraceScores) -> Json:
    lost = {"n": found.n, "clips": found.clips, "missing": found.missing, "interpolated": found.interpolated, "outside": found.outside}
    return {name: _n(value) for name, value in found.figures().items()} | lost


def _prediction(one: Heard) -> Json:
    clip = one.clip
    body: Json = {"clip": clip.source.name} | ({"subject": clip.subject} if clip.subject else {})
    body |= {} if clip.label is None else {"truth": clip.label}
    body |= {} if one.label is None else {"label": one.label}
    body |= {} if one.probability is None else {"probability": _n(one.probability)}
    body |= {name: _n(value) for name, value in one.values.items()}
    return body | {"frames": one.frames, "with_face": one.with_face, "tracks": one.tracks}


def _n(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)
