"""The graphs that the service runs of a model, in half precision or eight bits.

Owns which rows each graph's ranges come from. Does not own the making (`half.py`, `quantize.py`), what stays fp32, or whether the result is
any good (`precision.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import onnx

from engines.folder import Folder
from engines.manifest import Expression, Tensor
from engines.results import Run, Runs, between
from engines.samples import Rows
from engines.terms import Part
from engines.wiring import run_parts
from exporters import half, onnx_graph, quantize, ranges
from exporters.invariance import open_session, run
from exporters.probes import probe
from exporters.settled import settled

Precision = Literal["fp16", "int8"]
Step = Callable[[str], None]
CALIBRATED = 64
"""Windows that ranges are taken from, evenly spread over those given."""


def reduced_graphs(
    folder: Folder, manifest: Expression, kept: Sequence[Part], precision: Precision, rows: Rows, step: Step = lambda _: None
) -> dict[Part, bytes]:
    """Make the graphs that the service runs, in another precision except for `kept` and what multiplies nothing; calibrated on windows."""
    chosen = _spread(rows, CALIBRATED)
    full = sessions({part: folder.graph_bytes(part) for part in run_parts(manifest.graphs)})
    made: dict[Part, bytes] = {}
    for part in run_parts(manifest.graphs):
        model = settled(onnx_graph.parsed(folder.graph_bytes(part)))
        # A part that only hands pictures on has nothing to gain.
        if part in kept or not any(node.op_type in half.WEIGHTED for node in model.graph.node):
            made[part] = folder.graph_bytes(part)
            continue
        step(f"{precision}: the {part} graph")
        given = _given(part, full, manifest, chosen)
        reduced = _half(model, given, manifest) if precision == "fp16" else quantize.quantized(model, given)
        made[part] = reduced.SerializeToString(deterministic=True)
    return made


def _half(model: onnx.ModelProto, rows: Rows, manifest: Expression) -> onnx.ModelProto:
    return half.halved(model, ranges.measured(model, rows), tuple(manifest.crops))


def _given(part: Part, full: Runs, manifest: Expression, rows: Rows) -> Rows:
    """Return a part's rows for these windows."""
    if part == "full":
        return rows
    if part == "window":
        return between(full, manifest, rows)
    # Of each window one frame, each time another.
    return {name: values[range(len(values)), [k % values.shape[1] for k in range(len(values))]] for name, values in rows.items()}


def drawn(manifest: Expression, count: int) -> Rows:
    """Draw windows for every crop of a model."""
    whole = "full" in manifest.graphs
    graph = manifest.graphs["full" if whole else "frame"]
    frames = manifest.window.frames
    rows = {}
    for tensor in graph.inputs:
        shape = tensor.shape if whole else (frames, *tensor.shape)
        rows[tensor.name] = probe(Tensor(name=tensor.name, dtype=tensor.dtype, shape=shape), count)
    return rows


def _spread(rows: Rows, most: int) -> Rows:
    count = len(next(iter(rows.values())))
    step = max(1, -(-count // most))
    return {name: values[::step] for name, values in rows.items()}


def sessions(graphs: Mapping[Part, bytes]) -> Runs:
    """Open graphs on onnxruntime's CPU provider, one thread."""

    def bound(data: bytes) -> Run:
        session = open_session(data)
        return lambda inputs: run(session, inputs)

    return {part: bound(data) for part, data in graphs.items()}
