"""A network's numbers from the files a user has: a checkpoint, a key map, another checkpoint for a branch.

Owns the order of the steps and what the manifest keeps of them. Does not own formats (`checkpoint.py`) or renaming (`key_map.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from exporters import checkpoint, key_map, model_folder
from exporters.architecture import Blueprint
from exporters.checkpoint import Checkpoint

BRANCH = "branch."
"""Beginning of the keys of a network's per-frame branch that was trained elsewhere. Source: MODELS, facial_3dcnn_convlstm."""
BRANCH_OPTION, MAP_OPTION = "branch_sha256", "key_map_sha256"
"""Manifest options that say which other files the numbers came from."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The checkpoint's sha256 (None: none was given), what the manifest's options say, what the user should know."""

    sha256: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load(blueprint: Blueprint, weights: Path | None, keys: Path | None = None, branch: Path | None = None) -> Loaded:
    """Load the files into a blueprint's network; without `weights` the rest of it stays random.

    Raises:
        exporters.checkpoint.CheckpointError: a file cannot be read or does not fit.
        exporters.key_map.KeyMapError: the key map cannot be read, or a line of it does not fit.
    """
    network, options, notes = blueprint.network, dict[str, str](), list[str]()
    given: dict[str, Tensor] = {}
    if branch is not None:
        read = checkpoint.read(branch)
        given = checkpoint.below(network, BRANCH, read)
        options[BRANCH_OPTION] = read.sha256
        notes.append(f"{BRANCH}*: {len(given)} of {len(read.state)} tensors of {branch.name}")
    if weights is None:
        network.load_state_dict(given, strict=False)
        return Loaded(None, options, tuple(notes))
    whole = checkpoint.read(weights)
    if keys is not None:
        text = key_map.read(keys)
        wanted = [name for name in checkpoint.shapes(network) if name not in given]
        whole = Checkpoint(key_map.apply(text, whole.state, wanted), whole.sha256)
        options[MAP_OPTION] = model_folder.sha256(keys.read_bytes())
        notes.append(f"{keys.name}: {len(text.lines)} lines")
    prefix = checkpoint.fit(network, whole, blueprint.dropped, given)
    if prefix:
        notes.append(f"took {prefix!r} off the checkpoint's keys")
    return Loaded(whole.sha256, options, tuple(notes))
