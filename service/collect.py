"""Samples of clips as arrays: what `mien windows` writes and `mien-export itq|quantize|fit-temperature` read.

Owns the file's arrays (`docs/analyze.md` describes them). Does not own what a sample is (`session.py`): every sample that entered
a buffer is here, once, in the order it did, and so is what every window said before it was calibrated. Truth comes from a
dataset's CSV (`evaluation/dataset.py`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Expression, Manifest
from service.analyze import Analyser
from service.evaluation.dataset import Labelled
from service.intake import Source
from service.models import feature_graph
from service.perception.flow import flow
from service.refusal import Refusal
from service.settings import Taken, Uncalibrated
from service.tables import Advance

_EPOCH = (1980, 1, 1, 0, 0, 0)


class NoFeatures(Refusal):
    """A model that gives nothing per frame to collect."""


@dataclass(slots=True)
class Samples:
    """Rows gathered so far, one entry per sample in each list."""

    track: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    t_ns: list[int] = field(default_factory=list)
    clip: list[int] = field(default_factory=list)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    inputs: dict[str, list[NDArray[np.generic]]] = field(default_factory=dict)


@dataclass(slots=True)
class Windows:
    """What windows said so far, one entry per window in each list."""

    clip: list[int] = field(default_factory=list)
    track: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    filled: list[float] = field(default_factory=list)
    probabilities: list[NDArray[np.float64]] = field(default_factory=list)


def features_of(manifest: Manifest) -> str | None:
    """Return the name of the model's per-frame feature output, or of that of the model its keyframes lean on; None: it has none."""
    if isinstance(manifest, Expression) and ("frame" in manifest.graphs or manifest.keyframes.model is not None):
        return manifest.keyframes.features or manifest.outputs.get("features")
    return None


def collect(
    analyser: Analyser, clips: Sequence[Source], with_inputs: bool, watch: Callable[[str], AbstractContextManager[Advance]],
    truth: Sequence[Labelled] | None = None,
) -> dict[str, NDArray[np.generic]]:  # fmt: skip
    """Run every clip and return the arrays by name; `with_inputs` adds the crops, `watch` shows a clip's progress, `truth` has a row for
    each clip and adds its label. With `truth` a model needs no features: what its windows say is enough to calibrate.

    Raises:
        NoFeatures: the model has no features, and its crops were not asked for.
        SourceError: a clip cannot be read: a fit over the others would not be the one that was asked for.
    """
    manifest, by = analyser.model.manifest, analyser.model.features
    output = features_of(manifest)
    assert isinstance(manifest, Expression)
    if output is None and not with_inputs and (truth is None or not manifest.labels):
        raise NoFeatures(
            f"model {manifest.id!r} gives no features per frame: its manifest needs a frame graph and outputs.features, or "
            "keyframes.model; with --inputs its crops are written"
        )
    samples, windows = Samples(), Windows()
    for index, clip in enumerate(clips):
        analysis = analyser.open(clip, _taker(samples, index, output, with_inputs), on_window=_listener(windows, index))
        with watch(clip.name) as advance:
            for _ in analysis:
                advance(analysis.tally.decoded, analysis.info.frames)
    arrays: dict[str, NDArray[np.generic]] = {
        "clips": np.array([clip.name for clip in clips], np.str_),
        "model": np.array(manifest.id, np.str_),
    }
    arrays |= _of_samples(samples, manifest)
    if output is not None:
        arrays["features"] = np.stack(samples.features) if samples.features else np.zeros((0, 0), np.float32)
        arrays["feature_model"] = np.array(feature_graph(manifest, by)[1], np.str_)
    if by is not None:
        # The model's folder pins that other model by its manifest; by this a fit is known to be of the same.
        arrays["feature_manifest"] = np.array(next(need.sha256 for need in manifest.requires if need.id == by.id), np.str_)
    if manifest.labels:
        arrays |= _of_windows(windows, manifest)
    if truth is not None and manifest.labels:
        arrays["label"] = np.array([manifest.labels.index(row.label or "") for row in truth], np.int64)
        arrays["subject"] = np.array([row.subject for row in truth], np.str_)
    return arrays


def _of_samples(samples: Samples, manifest: Expression) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {
        "track": np.array(samples.track, np.int64),
        "frame": np.array(samples.frame, np.int64),
        "t_ns": np.array(samples.t_ns, np.int64),
        "clip": np.array(samples.clip, np.int32),
    }
    for name, rows in samples.inputs.items():
        stacked = np.stack(rows)
        if manifest.crops[name].content == "flow":
            stacked = _flows(stacked, samples)
        arrays["inputs" if len(samples.inputs) == 1 else f"inputs.{name}"] = stacked
    return arrays


def _of_windows(windows: Windows, manifest: Expression) -> dict[str, NDArray[np.generic]]:
    rows = np.stack(windows.probabilities) if windows.probabilities else np.zeros((0, len(manifest.labels)))
    return {
        "probabilities": rows,
        "window_clip": np.array(windows.clip, np.int32),
        "window_track": np.array(windows.track, np.int64),
        "window_frame": np.array(windows.frame, np.int64),
        "window_filled": np.array(windows.filled, np.float64),
        "labels": np.array(manifest.labels, np.str_),
        # A calibration is of these very graphs; the rest of the manifest may change.
        "graphs": np.array(sorted(manifest.files[graph.file] for graph in manifest.graphs.values()), np.str_),
    }


def write(out: BinaryIO, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write arrays as `.npz`: the same arrays give the same bytes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def _flows(crops: NDArray[np.generic], samples: Samples) -> NDArray[np.float32]:
    """Return each sample's flow from the one before it in its track; the first has its successor's, as in `windows/buffer.py`."""
    flows = np.zeros((len(crops), 2, *crops.shape[2:]), np.float32)
    rows: dict[tuple[int, int], list[int]] = {}
    for row, track in enumerate(zip(samples.clip, samples.track, strict=True)):
        rows.setdefault(track, []).append(row)
    for own in rows.values():
        for before, after in pairwise(own):
            flows[after] = flow(crops[before].astype(np.uint8), crops[after].astype(np.uint8))
        flows[own[0]] = flows[own[1 % len(own)]]
    return flows


def _taker(samples: Samples, clip: int, output: str | None, with_inputs: bool) -> Callable[[Taken], None]:
    def take(taken: Taken) -> None:
        samples.track.append(taken.track)
        samples.frame.append(taken.frame)
        samples.t_ns.append(taken.t_ns)
        samples.clip.append(clip)
        if output is not None:
            feature = taken.outputs[output] if taken.feature is None else taken.feature
            samples.features.append(np.array(feature, np.float32).reshape(-1))
        if with_inputs:
            for name, crop in taken.inputs.items():
                samples.inputs.setdefault(name, []).append(np.array(crop))

    return take


def _listener(windows: Windows, clip: int) -> Callable[[Uncalibrated], None]:
    def listen(said: Uncalibrated) -> None:
        windows.clip.append(clip)
        windows.track.append(said.track)
        windows.frame.append(said.frame)
        windows.filled.append(said.filled)
        windows.probabilities.append(np.array(said.probabilities))

    return listen
