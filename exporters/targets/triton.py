"""Model folder → Triton model repository: a server model per graph that the service runs.

Owns the layout (NAME/config.pbtxt, NAME/1/model.onnx) and the words of config.pbtxt. Does not own the names (`engines/served.py`),
which the service asks the server for, or any server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

from engines.folder import Folder, FolderError
from engines.manifest import Graph, Tensor
from engines.served import SHA256, served_name
from engines.wiring import run_parts

Runtime = Literal["onnxruntime", "python"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "int64": "TYPE_INT64"}
VERSION = "1"


def write_repository(folder: Folder, repository: Path, runtime: Runtime = "onnxruntime") -> list[Path]:
    """Write a verified model folder into a repository, beside what other models are there; return the folders written.

    `runtime` `python`: for a server without an ONNX backend; a `model.py` beside the graph runs it by the onnxruntime package there.

    Raises:
        FolderError: a folder of one of the names is there already.
    """
    parts = run_parts(folder.manifest.graphs)
    places = {part: repository / served_name(folder.manifest.id, part) for part in parts}
    for place in places.values():
        if place.exists():
            raise FolderError(f"{place}: is there already; remove it, or write to another repository")
    for part, place in places.items():
        graph = folder.manifest.graphs[part]
        version = place / VERSION
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(folder.graph_bytes(part))
        if runtime == "python":
            (version / "model.py").write_text((Path(__file__).parent / "triton_python.py").read_text(encoding="utf-8"), encoding="utf-8")
        text = config(place.name, graph, folder.manifest.batch.max, folder.manifest.files[graph.file], runtime)
        (place / "config.pbtxt").write_text(text, encoding="utf-8")
    return list(places.values())


def config(name: str, graph: Graph, largest: int, sha256: str, runtime: Runtime) -> str:
    """Return the text of a graph's config.pbtxt. `largest`: rows in a batch; `sha256`: of the graph's file.

    Source: tritonserver's model configuration (ModelConfig in model_config.proto, protobuf text format).
    """
    lines = [
        f"name: {_quoted(name)}",
        f"backend: {_quoted(runtime)}",
        f"max_batch_size: {largest}",
        *(_tensor("input", tensor) for tensor in graph.inputs),
        *(_tensor("output", tensor) for tensor in graph.outputs),
        # Rows of several clients share a run, if they arrive together: nobody waits for others.
        "dynamic_batching { }",
        f"parameters {{ key: {_quoted(SHA256)} value {{ string_value: {_quoted(sha256)} }} }}",
    ]
    return "\n".join(lines) + "\n"


def _tensor(role: str, tensor: Tensor) -> str:
    # One value per row has no axis of its own: the server wants one, and takes it off again before the graph.
    shape = f"dims: [ {', '.join(map(str, tensor.shape))} ]" if tensor.shape else "dims: [ 1 ] reshape { shape: [ ] }"
    return f"{role} {{ name: {_quoted(tensor.name)} data_type: {_TYPES[tensor.dtype]} {shape} }}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
