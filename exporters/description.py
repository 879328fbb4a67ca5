"""What there is to say of an architecture before it has weights: options, parts, costs, keys.

Owns the measurements on a network without numbers (torch's meta device: shapes alone, so the largest takes a second). Does not own
printing.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from engines.manifest import Tensor
from engines.terms import Part
from exporters import architecture
from exporters.architecture import Blueprint, Exported
from exporters.targets.onnx import example


@dataclass(frozen=True, slots=True)
class PartFacts:
    """One graph to be: inputs, shapes of outputs and taps without the batch axis, multiply-accumulates of one row in 10⁹."""

    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, tuple[int, ...]]
    taps: Mapping[str, tuple[int, ...]]
    gmac: float


def parts(blueprint: Blueprint) -> dict[Part, PartFacts]:
    """Measure every part of a network."""
    return {part: _facts(exported) for part, exported in blueprint.parts.items()}


def _facts(exported: Exported) -> PartFacts:
    module = copy.deepcopy(exported.module).to("meta").eval()
    inputs = [example(tensor, 1).to("meta") for tensor in exported.inputs]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        given = module(*inputs)
    values = given if isinstance(given, tuple) else (given,)
    shapes = {name: tuple(value.shape[1:]) for name, value in zip((*exported.outputs, *exported.taps), values, strict=True)}
    # One multiply-accumulate is two of torch's floating point operations.
    gmac = counter.get_total_flops() / 2e9
    return PartFacts(
        exported.inputs, {name: shapes[name] for name in exported.outputs}, {name: shapes[name] for name in exported.taps}, gmac
    )


def options(name: str) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Return what the options mean, as the architecture's file says it, and each one's name, kind and default as text."""
    kind = architecture.options_of(name)
    rows = []
    for key, field in kind.model_fields.items():
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        rows.append((key, _kind(field.annotation), default.lower() if isinstance(field.default, bool) else default))
    return inspect.getdoc(kind) or "", tuple(rows)


def _kind(annotation: object) -> str:
    """Write an option's type as a command line needs it."""
    text = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    values = getattr(annotation, "__args__", ())
    if "Literal" in text:
        return "|".join(map(str, values))
    if text.startswith("tuple"):
        return "a,b,c"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true|false"}.get(text, text)
