"""What an architecture file holds, and how it is found.

Owns the words between `architectures/<name>.py` and the exporter, and the lazy lookup. Does not own any network.
Every file in `architectures/` defines `describe() -> Blueprint`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal

import torch
from torch import nn

import exporters.architectures
from engines.manifest import CropSpec, Keyframes, Part, Tensor, Window


class UnknownArchitecture(ValueError):
    """No file in `architectures/` has that name."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One graph to be: `module` maps the input arrays, in order, to the outputs, in order."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]


Role = Literal["probabilities", "features", "valence", "arousal", "attention"]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network as the exporter needs it, before any weights are loaded.

    `network` owns the state_dict that a checkpoint must fit; `parts` are its graphs and share its parameters. `dropped`:
    beginnings of checkpoint keys that only training used. `labels` is the default order; a checkpoint of other labels brings its own.
    """

    title: str
    network: nn.Module
    parts: Mapping[Part, Exported]
    labels: tuple[str, ...]
    crops: Mapping[str, CropSpec]
    outputs: Mapping[Role, str]
    window: Window
    keyframes: Keyframes
    aggregate: Literal["mean-probabilities", "mean-logits", "confidence-weighted"] | None = None
    dropped: tuple[str, ...] = ()
    options: Mapping[str, str | int | float | bool | tuple[str, ...]] = field(default_factory=dict)


def names() -> tuple[str, ...]:
    """List the architectures there are, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(exporters.architectures.__path__)))


def find(name: str, seed: int = 0) -> Blueprint:
    """Build the architecture called `name` (hyphens and underscores are the same), its weights random from `seed`.

    They are drawn so that a picture's differences reach the outputs (He et al. 2015); torch's own defaults damp them layer by layer
    until a comparison with them would prove nothing.

    Raises:
        UnknownArchitecture: there is none; the message lists what there is.
    """
    wanted = name.replace("-", "_")
    if wanted not in names():
        raise UnknownArchitecture(f"no architecture {name!r}; there are: {', '.join(names())}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blueprint = import_module(f"exporters.architectures.{wanted}").describe()
    if not isinstance(blueprint, Blueprint):
        raise TypeError(f"exporters.architectures.{wanted}.describe() must return a Blueprint, not {type(blueprint).__name__}")
    generator = torch.Generator().manual_seed(seed)
    for module in blueprint.network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return blueprint
