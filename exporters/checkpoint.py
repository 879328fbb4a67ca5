"""Reading a checkpoint into a network.

Owns the file formats (safetensors; torch files read with `weights_only`, so that no pickle runs code), what training wraps a
state_dict in, and the comparison of keys and shapes. Does not own networks, or a user's own renaming (`key_map.py`).
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import pickle
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

# torch's reader does not guard its stack: rubbish ends in whatever Python raises there.
_NOT_A_TORCH_FILE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, struct.error)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys that training scripts put a state_dict under, Lightning's first."""
_LISTED = 20
"""Faults of one kind that a message names."""
Shape = tuple[int, ...]


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit the network."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state_dict and the sha256 of the file it came from."""

    state: Mapping[str, Tensor]
    sha256: str


def read(path: Path) -> Checkpoint:
    """Read a `.safetensors` or torch file, plain or wrapped under `state_dict`, `model_state_dict`, `model` or `net`.

    Raises:
        CheckpointError: it is neither, or holds anything but tensors where the state_dict should be.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path.name}: {error.strerror}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if path.suffix == ".safetensors":
        try:
            return Checkpoint(load(data), sha256)
        except SafetensorError as error:
            raise CheckpointError(f"{path.name} is not a safetensors file: {error}") from error
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except _NOT_A_TORCH_FILE as error:
        raise CheckpointError(_unreadable(path, str(error))) from error
    inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), dict)), loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(inner, dict) or not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        raise CheckpointError(f"{path.name} holds no state_dict: name → tensor, plain or under {', '.join(map(repr, _WRAPPERS))}")
    return Checkpoint({str(name): value for name, value in inner.items()}, sha256)


def _unreadable(path: Path, said: str) -> str:
    """Say in one line why torch's safe reader refused a file, and the line of code that helps."""
    found = re.search(r"GLOBAL ([\w.]+)", said)
    if found is None:
        return f"{path.name} is not a torch file of tensors alone; save its state_dict, or use safetensors"
    return (
        f"{path.name} is not a torch file of tensors alone: it holds {found[1]}, which could run code; where you trust it, "
        f"run x = torch.load({path.name!r}, weights_only=False); "
        "torch.save(x['state_dict'] if isinstance(x, dict) else x.state_dict(), 'weights.pt')"
    )


def shapes(network: nn.Module) -> dict[str, Shape]:
    """Return the keys and shapes that a checkpoint of a network must have; batch counters, which only training reads, left out."""
    return {name: tuple(value.shape) for name, value in network.state_dict().items() if not _counter(name)}


def fit(network: nn.Module, checkpoint: Checkpoint, dropped: Sequence[str] = (), given: Mapping[str, Tensor] | None = None) -> str:
    """Load a checkpoint into a network, leaving out keys that begin with one of `dropped`.

    `given`: tensors that come from elsewhere, by the network's keys; the checkpoint needs none for these, and its own are left out.
    A beginning such as `module.` is taken off all keys when, and only when, they fit then. Returns what was taken off, "" as a rule.

    Raises:
        CheckpointError: keys are missing, left over or wrongly shaped; each is named, with the nearest keys there are.
    """
    added = dict(given or {})
    wanted = {name: shape for name, shape in shapes(network).items() if name not in added}
    prefix = beginning(checkpoint.state, wanted)
    state = {
        name: value
        for name, value in _without(checkpoint.state, prefix).items()
        if not _begins(name, dropped) and name not in added and not _counter(name)
    }
    faults = _faults(state, wanted)
    if faults:
        after = f", after {prefix!r} was taken off its keys" if prefix else ""
        raise CheckpointError(f"the checkpoint does not fit the network{after}:\n  " + "\n  ".join(faults))
    network.load_state_dict({**state, **added}, strict=False)
    return prefix


def below(network: nn.Module, prefix: str, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tensors of the network's keys under `prefix`, from a checkpoint that has them without it.

    Keys that the network has not are left out: a part is taken from a larger network that was trained as a whole.

    Raises:
        CheckpointError: the network has no such keys; keys are missing or wrongly shaped.
    """
    wanted = {name.removeprefix(prefix): shape for name, shape in shapes(network).items() if name.startswith(prefix)}
    if not wanted:
        raise CheckpointError(f"the network has no keys that begin with {prefix!r}; `describe` shows which options add some")
    state = _without(checkpoint.state, beginning(checkpoint.state, wanted))
    faults = _faults({name: value for name, value in state.items() if name in wanted}, wanted, state)
    if faults:
        raise CheckpointError(f"the checkpoint does not fit the network's {prefix}*:\n  " + "\n  ".join(faults))
    return {f"{prefix}{name}": state[name] for name in wanted}


def beginning(names: Iterable[str], wanted: Mapping[str, Shape]) -> str:
    """Return the shortest dotted beginning that, taken off, makes a checkpoint's keys have all the wanted ones; "" for none.

    Where none does, "" too, unless one gives more wanted keys than the names as they are: messages are about that one.
    """
    there = list(names)
    dotted = {name[: index + 1] for name in there for index, letter in enumerate(name) if letter == "."}
    hits = {prefix: sum(name.startswith(prefix) and name[len(prefix) :] in wanted for name in there) for prefix in ("", *dotted)}
    return min(hits, key=lambda prefix: (-hits[prefix], len(prefix), prefix))


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    others = {name: value for name, value in state.items() if not name.startswith(prefix)}
    return {**others, **{name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}}


def _begins(name: str, beginnings: Sequence[str]) -> bool:
    return any(name.startswith(one) for one in beginnings)


def _counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _faults(state: Mapping[str, Tensor], wanted: Mapping[str, Shape], others: Mapping[str, Tensor] | None = None) -> list[str]:
    """List what does not fit, some of each kind. `others`: keys that a missing one's nearest are sought in, if not those left over."""
    given = {name: tuple(value.shape) for name, value in state.items()}
    extra = {name: shape for name, shape in given.items() if name not in wanted}
    missing = {name: shape for name, shape in wanted.items() if name not in given}
    among = extra if others is None else {name: tuple(value.shape) for name, value in others.items()}
    wrong = {name: shape for name, shape in wanted.items() if name in given and given[name] != shape}
    return [
        *_some((f"missing {name} {shape}{_near(name, shape, among)}" for name, shape in missing.items()), len(missing), "missing"),
        *_some((f"left over {name} {shape}{_near(name, shape, missing)}" for name, shape in extra.items()), len(extra), "left over"),
        *_some((f"wrong shape {name}: {given[name]}, not {shape}" for name, shape in wrong.items()), len(wrong), "of wrong shape"),
    ]


def _some(lines: Iterable[str], count: int, what: str) -> list[str]:
    # The nearest names cost a comparison with every key, so lines are made for those alone that are shown.
    shown = list(itertools.islice(lines, _LISTED))
    return shown + ([f"and {count - _LISTED} more {what}"] if count > _LISTED else [])


def _near(name: str, shape: Shape, candidates: Mapping[str, Shape]) -> str:
    """Name the one or two most like keys: of the same shape if there are any, for a renamed tensor keeps its shape."""
    alike = [other for other, size in candidates.items() if size == shape]
    found = difflib.get_close_matches(name, alike, n=2, cutoff=0.3) or difflib.get_close_matches(name, list(candidates), n=2)
    return f" (nearest: {', '.join(found)})" if found else ""


def as_safetensors(checkpoint: Checkpoint, dropped: Sequence[str] = ()) -> bytes:
    """Write a checkpoint's tensors as safetensors, in alphabetical order, without the keys that begin with one of `dropped`.

    Batch counters are left out as well: nothing reads them outside training.
    """
    kept = {
        name: checkpoint.state[name].contiguous() for name in sorted(checkpoint.state) if not _counter(name) and not _begins(name, dropped)
    }
    return save(kept)
