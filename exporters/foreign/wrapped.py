"""Somebody's network between our picture input and our output names: one graph, and the reference to hold it against.

Owns what is taken from the network (`Take`), the joining, and the reference: the file as it was given, on onnxruntime, one row at a
time, fed by numpy. Does not own the reading of pictures (`reading.py`) or the surgery on the network (`normal_form.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.manifest import Tensor
from exporters import parity
from exporters.architecture import Role
from exporters.foreign import normal_form
from exporters.foreign.normal_form import Port
from exporters.foreign.reading import Reading
from exporters.invariance import open_session, run
from exporters.onnx_graph import GraphBuilder, GraphRefused
from exporters.parity import Arrays

ROLES: tuple[Role, ...] = get_args(Role)
_INSIDE = "net/"
"""Put before every name of the given graph, so that none is one of ours."""
_TAKE = re.compile(r"(?P<role>[a-z]+)\s*=\s*(?:(?P<way>softmax|clip)\((?P<inner>.+)\)|(?P<plain>.+))")
_PART = re.compile(r"(?P<name>.+?)(?:\[(?P<start>\d+)(?::(?P<stop>\d+))?\])?")


@dataclass(frozen=True, slots=True)
class Take:
    """One output of ours: columns start to stop of a network's output (stop None: all), maybe through softmax or clip to [−1, 1]."""

    role: Role
    output: str
    start: int = 0
    stop: int | None = None
    way: str = ""

    def __str__(self) -> str:
        """Write it as `parsed` reads it."""
        part = "" if self.stop is None else f"[{self.start}:{self.stop}]"
        inner = f"{self.output}{part}"
        return f"{self.role}={self.way}({inner})" if self.way else f"{self.role}={inner}"


def parsed(text: str) -> Take:
    """Read `ROLE=OUTPUT`, `ROLE=OUTPUT[0:8]`, `ROLE=softmax(OUTPUT[0:8])`, `ROLE=clip(OUTPUT[8])`.

    Raises:
        GraphRefused: it is not of that form.
    """
    found = _TAKE.fullmatch(text.strip())
    part = _PART.fullmatch(found["inner"] or found["plain"]) if found else None
    if found is None or part is None or found["role"] not in ROLES:
        raise GraphRefused(f"--output {text!r}: must be ROLE=OUTPUT, OUTPUT[0:8] or softmax(OUTPUT); roles: {', '.join(ROLES)}")
    start = int(part["start"] or 0)
    stop = int(part["stop"]) if part["stop"] else None if part["start"] is None else start + 1
    return Take(next(role for role in ROLES if role == found["role"]), part["name"], start, stop, found["way"] or "")


@dataclass(frozen=True, slots=True)
class Network:
    """A file as given and in our form; `port` its input, batch open."""

    given: bytes
    model: onnx.ModelProto
    port: Port


def opened(data: bytes) -> Network:
    """Read somebody's ONNX file.

    Raises:
        GraphRefused: it cannot be served.
    """
    model = normal_form.normal(data)
    port = normal_form.the_input(model)
    return Network(data, normal_form.freed(model), port)


def wrap(network: Network, reading: Reading, picture: Tensor, takes: Sequence[Take]) -> onnx.ModelProto:
    """Put a network between the camera's `picture` and outputs named by their roles, of fixed shapes (N, width).

    Raises:
        GraphRefused: the network has no such outputs, does not take several rows, or the graph breaks a rule of ours.
    """
    trimmed = normal_form.kept(network.model, sorted({take.output for take in takes}))
    inner = onnx.compose.add_prefix(trimmed, _INSIDE).graph
    builder = GraphBuilder()
    reading.nodes(builder, picture.name, f"{_INSIDE}{network.port.name}", network.port.dtype)
    builder.take_over(inner)
    widths = _widths(network, reading, picture, takes)
    for take in takes:
        _add(builder, take)
    outputs = [Tensor(name=take.role, dtype="float32", shape=(widths[take],)) for take in takes]
    return builder.model("mien", [picture], outputs)


def _add(builder: GraphBuilder, take: Take) -> None:
    value = builder.node("Flatten", f"{_INSIDE}{take.output}", axis=1)
    value = builder.node("Cast", value, to=onnx.TensorProto.FLOAT)
    if take.stop is not None:
        limits = [builder.constant([limit], np.int64) for limit in (take.start, take.stop, 1)]
        value = builder.node("Slice", value, *limits)
    if take.way == "softmax":
        value = builder.node("Softmax", value, axis=1)
    if take.way == "clip":
        value = builder.node("Clip", value, builder.constant(-1.0), builder.constant(1.0))
    builder.node("Identity", value, name=take.role)


def _widths(network: Network, reading: Reading, picture: Tensor, takes: Iterable[Take]) -> dict[Take, int]:
    """Measure how many numbers each output has per row, on black pictures."""
    takes = list(takes)
    black = {picture.name: np.zeros((1, *picture.shape), np.uint8)}
    whole = reference(network, reading, picture.name, [Take(take.role, take.output) for take in takes])
    found = {}
    for take in takes:
        count = whole(black)[take.role].shape[1]
        if not take.start < (count if take.stop is None else take.stop) <= count:
            raise GraphRefused(f"--output {take}: output {take.output!r} has {count} numbers per row")
        found[take] = (count if take.stop is None else take.stop) - take.start
    return found


def reference(network: Network, reading: Reading, picture: str, takes: Sequence[Take]) -> parity.Reference:
    """Make the reference: the given file on onnxruntime, one row at a time; a function of {picture} to arrays (rows, width) by role.

    Raises:
        GraphRefused: the file has no such outputs, or onnxruntime cannot open it.
    """
    names = {take.output for take in takes}
    normal_form.require(network.model, names)
    inside = sorted(names - {value.name for value in network.model.graph.output})
    try:
        session = open_session(parity.revealed(network.given, inside) if inside else network.given)
    except Exception as error:  # onnxruntime's errors have no common class
        raise GraphRefused(f"onnxruntime cannot open the file: {_line(error)}") from error

    def run_rows(inputs: Arrays) -> Arrays:
        rows = [_row(session, network.port, reading.array(inputs[picture][index : index + 1])) for index in range(len(inputs[picture]))]
        return {take.role: np.concatenate([_taken(take, row[take.output]) for row in rows]) for take in takes}

    return run_rows


def _row(session: object, port: Port, values: NDArray[np.generic]) -> Arrays:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(port.dtype)
    try:
        return run(session, {port.name: values.astype(dtype)})
    except Exception as error:
        raise GraphRefused(f"the given network cannot run on an input of shape {values.shape}: {_line(error)}") from error


def _taken(take: Take, values: NDArray[np.generic]) -> NDArray[np.float64]:
    if values.shape[:1] != (1,):
        raise GraphRefused(f"output {take.output!r} has shape {values.shape} for one row; its first axis must be the batch")
    flat = np.asarray(values, np.float64).reshape(1, -1)[:, take.start : take.stop]
    if take.way == "softmax":
        powers = np.exp(flat - flat.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float64)
    return np.clip(flat, -1, 1) if take.way == "clip" else flat


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
