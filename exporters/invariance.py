"""Whether a row's output bytes depend on the rows beside it.

Owns the measurement behind a manifest's `batch.invariant`, on onnxruntime's CPU provider. Does not decide what the
service does about it (it runs a graph that is not invariant one row at a time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.manifest import Graph
from exporters.probes import probe

BATCHES = (2, 3, 8, 16)
THREADS = (1, 2)


def open_session(graph: bytes, threads: int = 1) -> ort.InferenceSession:
    """Open an ONNX graph on the CPU with `threads` intra-op threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Run one batch; arrays by output name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def is_invariant(graph: bytes, entry: Graph, largest: int = max(BATCHES), threads: Sequence[int] = THREADS) -> bool:
    """Say whether every row's output bytes are those of the row alone, at each batch size up to `largest`, position and thread count.

    Rows alone are run at the first thread count, so a difference between thread counts counts too.
    """
    batches = [size for size in BATCHES if size <= largest]
    if not batches:
        return False
    inputs = {tensor.name: probe(tensor, max(batches)) for tensor in entry.inputs}
    alone: list[dict[str, NDArray[np.generic]]] = []
    for count in threads:
        session = open_session(graph, count)
        singles = [run(session, {name: rows[k : k + 1] for name, rows in inputs.items()}) for k in range(max(batches))]
        alone = alone or singles
        if not all(_same(a, b) for a, b in zip(alone, singles, strict=True)):
            return False
        for batch in batches:
            # The last rows of the probe, so that a row's place in the batch changes from one batch size to the next.
            start = max(batches) - batch
            together = run(session, {name: rows[start:] for name, rows in inputs.items()})
            for row in range(batch):
                if not _same(alone[start + row], {name: values[row : row + 1] for name, values in together.items()}):
                    return False
    return True


def _same(left: Mapping[str, NDArray[np.generic]], right: Mapping[str, NDArray[np.generic]]) -> bool:
    return all(left[name].tobytes() == right[name].tobytes() for name in left)
