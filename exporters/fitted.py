"""Putting parts fitted on arrays into a model folder.

Owns the reading of `mien windows`' file, the check that its features are this model's, and the folder's update. Does not own the
fits themselves (`itq.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engines import itq
from engines.folder import Folder, open_folder
from engines.itq import FitRefused
from engines.manifest import Expression
from exporters import model_folder

FILE = "itq.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What `mien windows` wrote: `features` float32 (n, D), the model's id and the sha256 of the graph that made them;
    `feature_manifest`: sha256 of the manifest of the other model that graph is of, empty where it is the model's own."""

    features: NDArray[np.float32]
    model: str
    feature_model: str
    feature_manifest: str = ""


def read_samples(path: Path) -> Samples:
    """Read the arrays that fits need.

    Raises:
        FitRefused: the file is not what `mien windows` writes.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = sorted({"features", "model", "feature_model"} - set(arrays.files))
            if missing:
                raise FitRefused(f"{path.name} has no array {', '.join(missing)}; make it with mien windows")
            other = str(arrays["feature_manifest"]) if "feature_manifest" in arrays.files else ""
            return Samples(np.asarray(arrays["features"], np.float32), str(arrays["model"]), str(arrays["feature_model"]), other)
    except (OSError, BadZipFile, ValueError) as error:
        if isinstance(error, FitRefused):
            raise
        raise FitRefused(f"cannot read {path.name}: {error}; make it with mien windows") from error


def put_itq(directory: Path, samples: Samples, *, bits: int = 16, iterations: int = 50, seed: int = 0) -> itq.Fit:
    """Fit `samples` and put `itq.npz` into the model folder `directory`, with its hash in the manifest.

    Raises:
        FitRefused: the model takes no ITQ keyframes, or the features were made by another graph, or cannot be fitted.
        engines.folder.FolderError: the folder is broken.
    """
    folder = open_folder(directory)
    pinned, made_by = feature_maker(folder), samples.feature_manifest or samples.feature_model
    if made_by != pinned:
        raise FitRefused(
            f"the features were made by a graph or model of sha256 {made_by[:12]}… ({samples.model!r}), "
            f"{folder.manifest.id!r} takes those of {pinned[:12]}…; "
            f"make them again: mien windows CLIPS -m {folder.manifest.id} -o W.npz"
        )
    fitted = itq.fit(samples.features, bits, iterations, seed)
    _put(directory, folder, {"file": FILE, "fit": None, "seed": None}, {FILE: itq.as_file(fitted, samples.feature_model)})
    return fitted


def put_per_clip(directory: Path, seed: int = 0) -> None:
    """Have a model's ITQ fitted on each clip by itself, in its manifest; a fitted `itq.npz` goes.

    Raises:
        FitRefused: the model takes no ITQ keyframes, or its windows are not of whole clips.
        engines.folder.FolderError: the folder is broken.
    """
    folder = open_folder(directory)
    feature_maker(folder)
    manifest = folder.manifest
    if isinstance(manifest, Expression) and manifest.window.scope != "clip":
        raise FitRefused(
            f"model {manifest.id!r} has windows that roll on over a stream, which has no clip to be fitted on; fit it on clips like yours: "
            f"mien windows CLIPS -m {manifest.id} -o W.npz, then mien-export itq W.npz"
        )
    _put(directory, folder, {"file": None, "fit": "per-clip", "seed": seed}, {})


def _put(directory: Path, folder: Folder, changed: Mapping[str, object], fitted: Mapping[str, bytes]) -> None:
    """Write a folder with other keyframe settings, and `fitted` in place of what was fitted before."""
    fields = model_folder.fields_of(folder.manifest)
    keyframes = fields["keyframes"]
    assert isinstance(keyframes, dict)
    keyframes |= changed
    model_folder.write(directory, fields, {**{name: data for name, data in folder.files.items() if name != FILE}, **fitted})


def feature_maker(folder: Folder) -> str:
    """Return the sha256 of what makes the features a model's keyframes are chosen by: its frame graph's file, or the manifest of the
    model that `keyframes.model` names, which pins its graph.

    Raises:
        FitRefused: the model takes no ITQ keyframes.
    """
    manifest = folder.manifest
    if not isinstance(manifest, Expression) or manifest.keyframes.selector != "itq":
        raise FitRefused(f"model {manifest.id!r} does not choose keyframes by itq; its manifest's keyframes.selector would have to say so")
    if manifest.keyframes.model is not None:
        return next(need.sha256 for need in manifest.requires if need.id == manifest.keyframes.model)
    return manifest.files[manifest.graphs["frame"].file]
