"""Putting what was fitted on labelled clips into a model folder: a temperature and label sets, and an evaluation's post-processing.

Owns reading what `mien windows --labels` and `mien evaluate` wrote, the split of the windows' groups into one half to fit the
temperature and one to measure and to fit label sets on, and the folder's update. Does not own the fits (`temperature.py`,
`label_sets.py`; of post-processing the service's).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engines.finishing import Calibration, LabelSets, PostProcessing
from engines.folder import Folder, open_folder
from engines.manifest import Expression
from exporters import label_sets, model_folder, temperature
from exporters.temperature import BINS, CalibrationRefused

_ARRAYS = ("probabilities", "window_clip", "label", "subject", "labels", "graphs", "model")


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Labelled windows: `probabilities` (n, K) before any calibration by the runtime; `truth` (n,) index into `labels`; `clip` (n,) and
    `group` (n,): the clip, and the person, or the clip again where people are not known; `graphs`: sha256 of what made them."""

    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    clip: NDArray[np.int64]
    group: NDArray[np.int64]
    people: bool
    labels: tuple[str, ...]
    graphs: tuple[str, ...]
    model: str

    def of(self, chosen: NDArray[np.bool_]) -> Windows:
        """Return some of the rows."""
        rows = (self.probabilities[chosen], self.truth[chosen], self.clip[chosen], self.group[chosen])
        return Windows(*rows, self.people, self.labels, self.graphs, self.model)

    @property
    def weights(self) -> NDArray[np.float64]:
        """A share per window, (n,): every clip weighs the same."""
        _, member, sizes = np.unique(self.clip, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / sizes[member], np.float64)

    @property
    def said(self) -> str:
        """How much there is, in words."""
        people = f" of {_counted(len(np.unique(self.group)), True)}" if self.people else ""
        return f"{len(self.truth)} windows of {_counted(len(np.unique(self.clip)), False)}{people}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was fitted and how it did on the held-out half. `loss`, `error`: negative log-likelihood and calibration error before and
    after; `mean_size`: labels per set; `notes`: what could not be done, and why."""

    calibration: Calibration
    fitted_on: str
    held_out: str
    loss: tuple[float, float]
    error: tuple[float, float]
    mean_size: float | None
    notes: tuple[str, ...]


def read_windows(path: Path) -> Windows:
    """Read what `mien windows --labels` wrote.

    Raises:
        CalibrationRefused: it is not that, or holds numbers that are no probabilities.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = sorted(set(_ARRAYS) - set(arrays.files))
            if missing:
                raise CalibrationRefused(
                    f"{path.name} has no array {', '.join(missing)}; make it with mien windows CLIPS --labels FILE.csv"
                )
            loaded = {name: arrays[name] for name in _ARRAYS}
    except (OSError, BadZipFile, ValueError) as error:
        if isinstance(error, CalibrationRefused):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no archive of arrays"
        raise CalibrationRefused(f"cannot read {path.name}: {why}; make it with mien windows CLIPS --labels FILE.csv") from error
    rows, clip = np.asarray(loaded["probabilities"], np.float64), np.asarray(loaded["window_clip"], np.int64)
    names, subjects = tuple(map(str, loaded["labels"])), [str(name) for name in loaded["subject"]]
    of_clip = np.asarray(loaded["label"], np.int64)
    sound = rows.ndim == 2 and rows.shape == (len(clip), len(names)) and len(subjects) == len(of_clip)
    sound = sound and bool(((clip >= 0) & (clip < len(of_clip))).all()) and bool(((of_clip >= 0) & (of_clip < len(names))).all())
    if not sound or not bool((rows >= 0).all()) or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-3):
        raise CalibrationRefused(f"{path.name}: probabilities, clips and labels do not belong together; make it again with mien windows")
    people = any(subjects)
    person = np.array([sorted(set(subjects)).index(name) for name in subjects], np.int64) if people else np.arange(len(of_clip))
    return Windows(rows, of_clip[clip], clip, person[clip], people, names, tuple(map(str, loaded["graphs"])), str(loaded["model"]))


def calibrate(windows: Windows, coverage: float = 0.9, per_label: bool = False, seed: int = 0) -> Outcome:
    """Fit the temperature on half of the groups, drawn by `seed`; measure it, and fit label sets, on the other half.

    Raises:
        CalibrationRefused: there are fewer than two groups, or nothing can be fitted on theirs.
    """
    groups = np.unique(windows.group)
    if len(groups) < 2:
        raise CalibrationRefused(
            f"{_counted(len(groups), windows.people)} with windows; at least 2 are needed: one half fits, the other measures"
        )
    drawn = np.random.default_rng(seed).permutation(groups)[: len(groups) // 2]
    first, rest = windows.of(np.isin(windows.group, drawn)), windows.of(~np.isin(windows.group, drawn))
    found = temperature.fit(first.probabilities, first.truth, first.weights)
    notes = []
    before = temperature.likelihood_loss(rest.probabilities, rest.truth, rest.weights)
    after = temperature.likelihood_loss(temperature.tempered(rest.probabilities, found), rest.truth, rest.weights)
    if after >= before:
        notes.append(
            f"a temperature of {found:.3f} does not help on the held-out half (likelihood loss {before:.4f} → {after:.4f}): "
            "it stays 1, the probabilities as they are"
        )
        found = 1.0
    rows = temperature.tempered(rest.probabilities, found)
    loss = (before, temperature.likelihood_loss(rows, rest.truth, rest.weights))
    error = tuple(temperature.calibration_error(p, rest.truth, rest.weights) for p in (rest.probabilities, rows))
    sets, mean_size = _sets(rows, rest, coverage, per_label, notes)
    source = f"temperature fitted on {first.said}; ece{' and sets' if sets else ''} on {rest.said}; {BINS} bins, seed {seed}"
    calibration = Calibration(temperature=found, source=source, ece=min(1.0, error[1]), runtime=True, sets=sets)
    return Outcome(calibration, first.said, rest.said, loss, (error[0], error[1]), mean_size, tuple(notes))


def _sets(
    rows: NDArray[np.float64], rest: Windows, coverage: float, per_label: bool, notes: list[str]
) -> tuple[LabelSets | None, float | None]:
    count, needed = len(np.unique(rest.group)), label_sets.least_groups(coverage)
    if count < needed:
        notes.append(
            f"no label sets: {_counted(count, rest.people)} in the held-out half, {needed} are needed for a coverage of {coverage:g}"
        )
        return None, None
    floor = label_sets.floors(rows, rest.truth, rest.group, coverage, per_label)
    open_ended = [name for name, least in zip(rest.labels, floor, strict=True) if least == 0.0]
    if open_ended:
        notes.append(
            f"always in the sets, for fewer than {_counted(needed, rest.people)} show them in the held-out half: {', '.join(open_ended)}"
        )
    sizes = label_sets.members(rows, floor).sum(axis=1)
    floors = dict(zip(rest.labels, floor.tolist(), strict=True))
    sets = LabelSets(coverage=coverage, floor=floors, per_label=per_label, groups=count)
    return sets, float(rest.weights @ sizes / rest.weights.sum())


def put(directory: Path, windows: Windows, outcome: Outcome) -> Calibration:
    """Put a calibration into the model folder `directory`, in place of one that is there, and return it as it stands in the manifest.

    Raises:
        CalibrationRefused: the windows were made by other graphs, or the model has other labels.
        engines.folder.FolderError: the folder is broken.
    """
    folder = open_folder(directory)
    manifest = _checked(folder, windows)
    calibration, old = outcome.calibration, manifest.calibration
    if old is not None and not old.runtime:
        # What the graph does to its own logits stays true of it.
        calibration = calibration.model_copy(update={"source": f"{calibration.source}; on top of {old.temperature:g} in the graph"})
    fields = model_folder.fields_of(manifest)
    fields["calibration"] = calibration.model_dump(mode="json", exclude_none=True)
    model_folder.write(directory, fields, folder.files)
    return calibration


def put_post_processing(directory: Path, result: Path) -> Mapping[str, PostProcessing]:
    """Put the chains that stand in `mien evaluate`'s JSON into the model folder `directory`, and return them.

    Raises:
        CalibrationRefused: the file has none, or is an evaluation of another model.
        pydantic.ValidationError: a number in it is out of range.
        engines.folder.FolderError: the folder is broken.
    """
    folder = open_folder(directory)
    try:
        read = json.loads(result.read_text(encoding="utf-8"))
        chains, made_by = dict(read["post_processing"]), read["model"]
        of = f"{made_by['id']!r} {made_by['sha256']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "holds no fitted post-processing"
        raise CalibrationRefused(
            f"{result} {why}; make it with mien evaluate MODEL DATASET -o RESULT.json, where DATASET has a development part and traces"
        ) from error
    if made_by != {"id": folder.manifest.id, "sha256": folder.sha256[:12]}:
        raise CalibrationRefused(f"{result} is of {of}, the folder holds {folder.manifest.id!r} {folder.sha256[:12]}; evaluate this one")
    found = {dimension: PostProcessing.model_validate(numbers) for dimension, numbers in chains.items()}
    fields = model_folder.fields_of(folder.manifest)
    fields["post_processing"] = {dimension: chain.model_dump(mode="json") for dimension, chain in found.items()}
    model_folder.write(directory, fields, folder.files)
    return found


def _checked(folder: Folder, windows: Windows) -> Expression:
    manifest = folder.manifest
    if not isinstance(manifest, Expression) or manifest.labels != windows.labels:
        raise CalibrationRefused(
            f"model {manifest.id!r} has labels {', '.join(getattr(manifest, 'labels', ())) or 'none'}; "
            f"the windows are of {', '.join(windows.labels)} ({windows.model!r})"
        )
    graphs = sorted(manifest.files[graph.file] for graph in manifest.graphs.values())
    if graphs != sorted(windows.graphs):
        raise CalibrationRefused(
            f"the windows were made by other graphs than those of {manifest.id!r} (of {windows.model!r}); "
            f"make them again: mien windows CLIPS --labels FILE.csv -m {manifest.id} -o W.npz"
        )
    return manifest


def _counted(count: int, people: bool) -> str:
    one, many = ("person", "people") if people else ("clip", "clips")
    return f"{count} {one if count == 1 else many}"
