"""Every part of an exported model held against its network.

Owns which rows each part is compared on, the tolerances, and the check that frame and window parts together are the whole. Does not
own the measurement (`parity.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engines.proof import Parity
from engines.terms import Part
from exporters import parity
from exporters.architecture import Blueprint, Exported
from exporters.invariance import open_session, run
from exporters.parity import Arrays, Reference
from exporters.probes import probe

ROWS, FEW_ROWS = 12, 6
"""Windows compared; few where one window fills a processor (`Blueprint.max_batch` under 16)."""
TOLERANCE = {"probabilities": 1e-5, "valence": 1e-5, "arousal": 1e-5, "features": 5e-5, "attention": 1e-4}
"""Largest error allowed against float64, by output role; of attention, in units of an even attention (1 / pixels)."""
INSIDE = 1e-4
"""Largest error allowed in outputs without a role and in taps."""
Rows = dict[str, NDArray[np.generic]]


def compare(blueprint: Blueprint, files: Mapping[Part, bytes]) -> tuple[Parity, ...]:
    """Hold every part's graph against the network in float64, at batch 1 and 3: outputs and taps.

    A tensor is called `part/name` where a model has several parts. With all three, `frame+window/name` holds the two graphs, one
    after the other, against the whole network.

    Raises:
        exporters.parity.ParityFailed: one differs, or the comparison has no teeth.
    """
    references = {part: parity.torch_reference(exported) for part, exported in blueprint.parts.items()}
    rows = _rows(blueprint, references)
    # Once each: in float64 on a processor this is what takes the time.
    wanted = {part: reference(rows[part]) for part, reference in references.items()}
    measured: list[Parity] = []
    for part, exported in blueprint.parts.items():
        found = parity.measure(files[part], partial(_known, wanted[part]), "torch float64", rows[part], tolerances(blueprint, exported))
        measured += [one.model_copy(update={"tensor": f"{part}/{one.tensor}"}) if len(files) > 1 else one for one in found]
    if {"full", "frame", "window"} <= set(blueprint.parts):
        measured += _together(blueprint, files, wanted["full"], rows["full"])
    parity.require(measured)
    return tuple(measured)


def _rows(blueprint: Blueprint, references: Mapping[Part, Reference]) -> dict[Part, Rows]:
    parts, count = blueprint.parts, ROWS if blueprint.max_batch >= 16 else FEW_ROWS
    first: Part = "full" if "full" in parts else "frame"
    rows: dict[Part, Rows] = {first: {tensor.name: probe(tensor, count) for tensor in parts[first].inputs}}
    if "frame" in parts and first == "full":
        length = blueprint.window.frames
        rows["frame"] = {name: np.stack([clip[k % length] for k, clip in enumerate(clips)]) for name, clips in rows["full"].items()}
    if "window" in parts:
        rows["window"] = _framed(rows["full"], references["frame"], parts["window"])
    return rows


def _framed(clips: Arrays, frame: Reference, window: Exported) -> Rows:
    """Make a window part's rows: what the frame part gives for every frame of the clips."""
    count, length = next(iter(clips.values())).shape[:2]
    given = frame({name: values.reshape(-1, *values.shape[2:]) for name, values in clips.items()})
    dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in window.inputs}
    return {name: np.asarray(given[name], dtype).reshape(count, length, *given[name].shape[1:]) for name, dtype in dtypes.items()}


def tolerances(blueprint: Blueprint, exported: Exported) -> dict[str, float]:
    """Return, for each output and tap of a part, how far it may be from torch's."""
    roles = {name: role for role, name in blueprint.outputs.items()}
    found = {name: TOLERANCE.get(roles.get(name, name), INSIDE) for name in (*exported.outputs, *exported.taps)}
    attention = blueprint.outputs.get("attention")
    if attention in found:
        size = next(iter(blueprint.crops.values())).size
        found[attention] = TOLERANCE["attention"] / math.prod(size)
    return found


def _known(wanted: Arrays, _: Arrays) -> Arrays:
    return wanted


def _together(blueprint: Blueprint, files: Mapping[Part, bytes], wanted: Arrays, clips: Arrays) -> list[Parity]:
    frame, window = open_session(files["frame"]), open_session(files["window"])
    names = blueprint.parts["full"].outputs
    inputs = [tensor.name for tensor in blueprint.parts["window"].inputs]
    errors = dict.fromkeys(names, 0.0)
    for row in range(len(next(iter(clips.values())))):
        kept = run(frame, {name: values[row] for name, values in clips.items()})
        got = run(window, {name: kept[name][None] for name in inputs})
        for name in names:
            errors[name] = max(errors[name], float(np.abs(np.asarray(got[name][0], np.float64) - wanted[name][row]).max()))
    tolerance = tolerances(blueprint, blueprint.parts["full"])
    return [
        Parity(
            tensor=f"frame+window/{name}", reference="torch float64 of the whole", batch=(1,),
            max_abs_error=errors[name], spread=parity.spread(np.asarray(wanted[name], np.float64)), tolerance=tolerance[name],
        )
        for name in names
    ]  # fmt: skip
