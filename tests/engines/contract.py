"""What the contract of engines is tried on: the models, and each runtime that can be had here, ready to open them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.engine import Arrays, BackendMissing, Engine, EngineOptions, SilentFallback
from engines.folder import Folder, open_folder
from engines.manifest import Graph
from engines.open import names, open_engine
from engines.terms import Part
from engines.wiring import run_parts
from exporters.targets.triton import write_repository
from tests.engines.graphs import common, expression_manifest, expressive, feature_manifest, model, scaled, write_folder
from tests.tritonserver import ServerError, TritonServer

SHIPPED = Path(__file__).resolve().parents[2] / "engines" / "models"
Case = tuple[str, Part]


def mixed() -> onnx.ModelProto:
    """a uint8 (batch, 2, 2), x float32 (batch, 3) → sum (batch,), best int64 (batch, 1), both (batch, 7)."""
    nodes = [
        helper.make_node("Cast", ["a"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"], axis=1),
        helper.make_node("Concat", ["flat", "x"], ["both"], axis=1),
        helper.make_node("ReduceSum", ["both", "axes"], ["sum"], keepdims=0),
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
    ]
    value, floats = helper.make_tensor_value_info, TensorProto.FLOAT
    given = [value("a", TensorProto.UINT8, ["batch", 2, 2]), value("x", floats, ["batch", 3])]
    found = [value("sum", floats, ["batch"]), value("best", TensorProto.INT64, ["batch", 1]), value("both", floats, ["batch", 7])]
    return model(helper.make_graph(nodes, "mixed", given, found, [helper.make_tensor("axes", TensorProto.INT64, [1], [1])]))


def mixed_manifest() -> dict[str, Any]:
    """A manifest for `mixed`."""
    given = [{"name": "a", "dtype": "uint8", "shape": [2, 2]}, {"name": "x", "dtype": "float32", "shape": [3]}]
    found = [("sum", "float32", []), ("best", "int64", [1]), ("both", "float32", [7])]
    outputs = [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in found]
    graph = {"file": "full.onnx", "inputs": given, "outputs": outputs}
    return common("mixed", kind="features", graphs={"full": graph}, crops={"a": {"size": [2, 2]}, "x": {"size": [1, 3]}}, output="both")


def write_models(where: Path) -> dict[str, Folder]:
    """Write the small models; return all, the shipped ones among them, by id."""
    made = [
        write_folder(where / "moods", expression_manifest(), {"frame.onnx": expressive()}),
        write_folder(where / "tiny", feature_manifest(), {"full.onnx": scaled()}),
        write_folder(where / "mixed", mixed_manifest(), {"full.onnx": mixed()}),
    ]
    shipped = sorted(path for path in SHIPPED.iterdir() if path.is_dir())
    return {folder.manifest.id: folder for folder in map(open_folder, [*made, *shipped])}


MODELS = ("moods", "tiny", "mixed", *sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()))


def graphs(folder: Folder) -> list[tuple[Part, Graph]]:
    """Return the graphs that the service runs of a model."""
    return [(part, folder.manifest.graphs[part]) for part in run_parts(folder.manifest.graphs)]


def batch(graph: Graph, rows: int, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Random inputs: all of a byte's values, numbers of −3 to 3."""
    rng = np.random.default_rng(seed)
    shapes = {tensor.name: (tensor.dtype, (rows, *tensor.shape)) for tensor in graph.inputs}
    return {
        name: rng.integers(0, 256, shape, np.uint8) if dtype == "uint8" else rng.uniform(-3, 3, shape).astype(dtype)
        for name, (dtype, shape) in shapes.items()
    }


def copied(arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """Return copies."""
    return {name: array.copy() for name, array in arrays.items()}


@dataclass(frozen=True)
class Runtime:
    """A runtime that is here. `options`: how it is opened; `elsewhere`: it runs in another process, on threads of its own;
    `opened`: what is closed with the tests."""

    name: str
    options: EngineOptions
    elsewhere: bool = False
    opened: list[Engine] = field(default_factory=list)

    def open(self, folder: Folder, part: Part, **changes: Any) -> Engine:
        """Open a graph on it."""
        engine = open_engine(folder, part, replace(self.options, **changes))
        self.opened.append(engine)
        return engine


def here(folder: Folder, options: EngineOptions) -> None:
    """Skip what asks if a graph cannot be opened here so, with the reason."""
    try:
        open_engine(folder, run_parts(folder.manifest.graphs)[0], options).close()
    except (BackendMissing, SilentFallback) as error:
        pytest.skip(str(error))


@contextmanager
def triton(folders: dict[str, Folder]) -> Iterator[Runtime]:
    """A real tritonserver with all models, and the runtime that talks to it."""
    with tempfile.TemporaryDirectory(prefix="mien-triton-") as scratch:
        repository = Path(scratch) / "repository"
        for folder in folders.values():
            write_repository(folder, repository, "python")
        try:
            server = TritonServer(repository, Path(scratch) / "log")
        except ServerError as error:
            pytest.skip(str(error))
        try:
            server.start()
            yield Runtime("triton", EngineOptions("triton", url=server.url), elsewhere=True)
        finally:
            server.kill()


def _local(options: EngineOptions) -> Callable[[dict[str, Folder]], Any]:
    @contextmanager
    def opened(folders: dict[str, Folder]) -> Iterator[Runtime]:
        here(folders["moods"], options)
        yield Runtime(options.backend, options)

    return opened


RUNTIMES: dict[str, Callable[[dict[str, Folder]], Any]] = {
    **{name: _local(EngineOptions(name, threads=1)) for name in names() if name != "triton"},
    "openvino bf16": _local(EngineOptions("openvino", threads=1, precision="bf16")),
    "triton": triton,
}
PARAMETERS = [pytest.param(name, marks=pytest.mark.proof if name == "triton" else ()) for name in sorted(RUNTIMES)]
"""Every backend there is a file for. Triton's server takes a minute to make: `make proof`."""
