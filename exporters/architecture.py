"""What an architecture file holds, and how it is found.

Owns the words between `architectures/<name>.py` and the exporter, the lazy lookup and the drawing of random weights. Does not own
any network. Every file in `architectures/` defines `class Options(Strict)` and `describe(options: Options) -> Blueprint`.
"""

from __future__ import annotations

import math
import pkgutil
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, ValidationError
from torch import nn

import exporters.architectures
from engines.manifest import CropSpec, Keyframes, Tensor, Window
from engines.terms import Part, Strict


class UnknownArchitecture(ValueError):
    """No file in `architectures/` has that name."""


class OptionRefused(ValueError):
    """An architecture has no such option, or not with that value."""


def _told_apart(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} labels were given; a network that tells classes apart needs at least 2")
    return labels


Labels = Annotated[tuple[str, ...], AfterValidator(_told_apart)]
"""Names of the classes in the network's order; their number sizes its last layer."""


class View(nn.Module):
    """One method of a network as a module of its own: a graph is exported from each part, the parameters are shared."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = getattr(self.network, self.method)(*inputs)
        return found


@dataclass(frozen=True, slots=True)
class Exported:
    """One graph to be: `module` maps the input arrays, in order, to the outputs and then the taps, in order.

    `taps` are tensors inside the graph that keep their names and are held against the network like outputs: an error half way
    that the end hides (a softmax, an attention near zero) is found there.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    taps: tuple[str, ...] = ()


Role = Literal["probabilities", "features", "valence", "arousal", "attention"]
Plain = str | int | float | bool | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network as the exporter needs it, before any weights are loaded.

    `network` owns the state_dict that a checkpoint must fit; `parts` are its graphs and share its parameters. `dropped`:
    beginnings of checkpoint keys that only training used. `max_batch`: rows a graph is ever given at once; fewer for networks whose
    row alone fills a processor. `architecture` and `options` are filled in by `find`.
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
    max_batch: int = 16
    architecture: str = ""
    options: Mapping[str, Plain] = field(default_factory=dict)


def names() -> tuple[str, ...]:
    """List the architectures there are, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(exporters.architectures.__path__)))


def options_of(name: str) -> type[Strict]:
    """Return the options class of the architecture called `name`; its `labels` field, where it has one, names the classes.

    Raises:
        UnknownArchitecture: there is none; the message lists what there is.
    """
    found: type[Strict] = _module(name).Options
    return found


def find(name: str, seed: int = 0, options: Mapping[str, object] | None = None) -> Blueprint:
    """Build the architecture called `name` (hyphens and underscores are the same), its weights random from `seed`.

    `options` are values, or their text as a command line gives it (`a,b,c` for a list).

    Raises:
        UnknownArchitecture: there is none; the message lists what there is.
        OptionRefused: it has no such option, or not with that value; the message says which there are.
    """
    module = _module(name)
    chosen = _options(name, module.Options, options or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blueprint: Blueprint = module.describe(chosen)
    # Constants are written in float64 and kept as the graph will hold them, in float32.
    randomise(blueprint.network.float(), seed)
    said = {key: value for key, value in chosen.model_dump().items() if key != "labels"}
    return replace(blueprint, architecture=module.__name__.rpartition(".")[2], options={**blueprint.options, **said})


def again(name: str, seed: int, options: Mapping[str, object], labels: tuple[str, ...]) -> Blueprint:
    """Build the architecture that a manifest's `options` and `labels` describe."""
    fields = options_of(name).model_fields
    kept = {key: value for key, value in options.items() if key in fields}
    return find(name, seed, {**kept, **({"labels": labels} if "labels" in fields else {})})


def randomise(network: nn.Module, seed: int) -> None:
    """Draw every convolution's and linear layer's weights from `seed` so that a picture's differences reach the outputs.

    torch's own defaults damp them layer by layer until a comparison would prove nothing. Afterwards a network's own
    `spread_out()` runs where it has one, for what this rule does not suit.
    Source: He et al. 2015, "Delving Deep into Rectifiers", section 2.2.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            # A pixel is made of as many taps of each channel as the kernel has in one stride, not of all.
            taps = module.in_channels * math.prod(module.kernel_size) / math.prod(module.stride)
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / taps), generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    spread_out = getattr(network, "spread_out", None)
    if spread_out is not None:
        spread_out()


def _module(name: str) -> ModuleType:
    wanted = name.replace("-", "_")
    if wanted not in names():
        raise UnknownArchitecture(f"no architecture {name!r}; there are: {', '.join(names())}")
    return import_module(f"exporters.architectures.{wanted}")


def _options(name: str, kind: type[Strict], given: Mapping[str, object]) -> Strict:
    values = {key: _listed(kind, key, value) for key, value in given.items()}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][:1])
        there = ", ".join(f"{field_name} ({field.default!r})" for field_name, field in kind.model_fields.items()) or "none"
        if first["type"] == "extra_forbidden":
            raise OptionRefused(f"{name} has no option {key!r}; there are, with their defaults: {there}") from None
        what = f"option {key} = {given.get(key)!r}" if key else "the options"
        raise OptionRefused(f"{name}: {what}: {first['msg'].removeprefix('Value error, ')}") from None


def _listed(kind: type[Strict], key: str, value: object) -> object:
    """Split `a,b,c` where the option is a list: a command line has only text."""
    declared = kind.model_fields.get(key)
    if isinstance(value, str) and declared is not None and typing.get_origin(declared.annotation) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value
