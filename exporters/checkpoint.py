"""Reading a checkpoint into a network.

Owns the file formats (safetensors; torch files read with `weights_only`, so that no pickle runs code) and the comparison
of keys and shapes. Does not own networks.
"""

from __future__ import annotations

import difflib
import hashlib
import pickle
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

# torch's reader does not guard its stack: rubbish ends in whatever Python raises there.
_NOT_A_TORCH_FILE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, struct.error)


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit the network."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state_dict and the sha256 of the file it came from."""

    state: Mapping[str, Tensor]
    sha256: str


def read(path: Path) -> Checkpoint:
    """Read a `.safetensors` or torch file, plain or wrapped under `state_dict` or `model`.

    Raises:
        CheckpointError: it is neither, or holds anything but tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path.name}: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix == ".safetensors":
        try:
            return Checkpoint(load(data), digest)
        except SafetensorError as error:
            raise CheckpointError(f"{path.name} is not a safetensors file: {error}") from error
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except _NOT_A_TORCH_FILE as error:
        raise CheckpointError(f"{path.name} is not a torch file of tensors alone; save its state_dict, or use safetensors") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path.name} holds no state_dict: name → tensor, plain or under 'state_dict' or 'model'")
    return Checkpoint({str(name).removeprefix("module."): value for name, value in loaded.items()}, digest)


def fit(network: nn.Module, checkpoint: Checkpoint, dropped: Sequence[str] = ()) -> None:
    """Load a checkpoint into a network, leaving out keys that begin with one of `dropped`.

    Raises:
        CheckpointError: keys are missing, left over or wrongly shaped; each is named, with the nearest key there is.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: value for name, value in checkpoint.state.items() if not name.startswith(tuple(dropped)) or not dropped}
    extra = [name for name in given if name not in wanted and not name.endswith("num_batches_tracked")]
    missing = [name for name in wanted if name not in given]
    faults = [f"missing {name} {wanted[name]}{_near(name, extra)}" for name in missing]
    faults += [f"left over {name} {tuple(given[name].shape)}{_near(name, missing)}" for name in extra]
    faults += [
        f"wrong shape {name}: {tuple(given[name].shape)}, not {shape}"
        for name, shape in wanted.items()
        if name in given and tuple(given[name].shape) != shape
    ]
    if faults:
        raise CheckpointError("the checkpoint does not fit the network:\n  " + "\n  ".join(faults))
    network.load_state_dict(given, strict=False)


def _near(name: str, candidates: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, candidates, n=1)
    return f" (nearest: {found[0]})" if found else ""


def as_safetensors(checkpoint: Checkpoint, dropped: Sequence[str] = ()) -> bytes:
    """Write a checkpoint's tensors as safetensors, in alphabetical order, without the keys that begin with one of `dropped`.

    Batch counters are left out as well: nothing reads them outside training.
    """
    kept = {
        name: checkpoint.state[name].contiguous()
        for name in sorted(checkpoint.state)
        if not name.endswith("num_batches_tracked") and not (dropped and name.startswith(tuple(dropped)))
    }
    return save(kept)
