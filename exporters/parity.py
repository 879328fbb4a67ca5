"""Does the exported graph compute what the network computes?

Owns the comparison and the rule that gives it teeth. Does not own the reference: any function of the same inputs, as a rule
the torch network in float64.

A small error proves nothing where the output hardly moves, so each tensor's `spread` is measured as well: the reference's
standard deviation over the input rows, root mean square over the tensor's elements. Below 100 × tolerance the comparison fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from engines.proof import Parity
from exporters.architecture import Exported
from exporters.invariance import open_session, run

BATCHES = (1, 3)
MARGIN = 100.0
Arrays = Mapping[str, NDArray[np.generic]]
Reference = Callable[[Arrays], Arrays]


class ParityFailed(ValueError):
    """A graph differs from its reference, or the comparison could not have shown it."""


def measure(graph: bytes, reference: Reference, described: str, inputs: Arrays, tolerance: Mapping[str, float]) -> tuple[Parity, ...]:
    """Compare a graph on onnxruntime with a reference at batch 1 and 3, for every tensor that `tolerance` names.

    `inputs`: rows by input name; their number must be a multiple of 3. Outputs are compared on the graph as it is, tensors inside
    it on a copy that gives them out. Returns what was measured, passed or not.

    Raises:
        ParityFailed: a value is not finite.
    """
    wanted = {name: np.asarray(values, np.float64) for name, values in reference(inputs).items()}
    session = open_session(graph)
    outside = {output.name for output in session.get_outputs()}
    inside = [name for name in tolerance if name not in outside]
    opened = open_session(revealed(graph, inside)) if inside else None
    errors = dict.fromkeys(tolerance, 0.0)
    rows = len(next(iter(inputs.values())))
    if rows % max(BATCHES):
        raise ValueError(f"parity needs a multiple of {max(BATCHES)} rows, not {rows}")
    for batch in BATCHES:
        for start in range(0, rows, batch):
            given = {name: values[start : start + batch] for name, values in inputs.items()}
            got = run(session, given)
            if opened is not None:
                inner = run(opened, given)
                got |= {name: inner[name] for name in inside}
            for name in tolerance:
                difference = np.abs(np.asarray(got[name], np.float64) - wanted[name][start : start + batch])
                if not np.isfinite(difference).all():  # NaN compares as neither too large nor small enough
                    raise ParityFailed(f"{name}: the graph or its reference gives values that are not finite")
                errors[name] = max(errors[name], float(difference.max()))
    return tuple(
        Parity(tensor=name, reference=described, batch=BATCHES, max_abs_error=errors[name], spread=spread(wanted[name]), tolerance=limit)
        for name, limit in tolerance.items()
    )


def revealed(graph: bytes, names: Sequence[str]) -> bytes:
    """Copy a graph with tensors inside it among its outputs.

    Raises:
        ParityFailed: it has no tensor of that name.
    """
    model = onnx.load_model_from_string(graph)
    there = {output for node in model.graph.node for output in node.output}
    missing = sorted(set(names) - there)
    if missing:
        raise ParityFailed(f"the graph has no tensor {', '.join(missing)} to compare; export it again")
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    data: bytes = model.SerializeToString()
    return data


def spread(values: NDArray[np.float64]) -> float:
    """Say how far a tensor moves from row to row: standard deviation over rows, root mean square over elements."""
    return float(np.sqrt(np.mean(np.var(values, axis=0))))


def require(measured: Sequence[Parity]) -> None:
    """Refuse a comparison that failed or had no teeth.

    Raises:
        ParityFailed: an error is above its tolerance, or a spread below 100 × its tolerance; all are listed.
    """
    faults = [f"{p.tensor}: error {p.max_abs_error:.3g} is above {p.tolerance:.3g}" for p in measured if not p.max_abs_error <= p.tolerance]
    faults += [
        f"{p.tensor}: the reference moves by {p.spread:.3g} only, under {MARGIN:g} × tolerance {p.tolerance:.3g}, so nothing was "
        "proven; are the weights trained?"
        for p in measured
        if not p.spread >= MARGIN * p.tolerance
    ]
    if faults:
        raise ParityFailed("parity fails: " + "; ".join(faults))


def torch_reference(part: Exported) -> Reference:
    """Make the reference of a network's part: the torch module itself in float64, nothing folded."""
    module = copy.deepcopy(part.module).double().eval()

    def reference(inputs: Arrays) -> Arrays:
        arrays = [torch.from_numpy(np.asarray(inputs[tensor.name])) for tensor in part.inputs]
        said = []
        with torch.no_grad():
            # A few rows at a time: the large networks' inner tensors in float64 fill gigabytes.
            for start in range(0, len(arrays[0]), max(BATCHES)):
                rows = [array[start : start + max(BATCHES)] for array in arrays]
                outputs = module(*(row.double() if row.is_floating_point() else row for row in rows))
                said.append(outputs if isinstance(outputs, tuple) else (outputs,))
        values = [torch.cat(parts).numpy() for parts in zip(*said, strict=True)]
        return dict(zip((*part.outputs, *part.taps), values, strict=True))

    return reference
