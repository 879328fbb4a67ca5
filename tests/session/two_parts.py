"""One network as one graph and as two, in numbers that floats hold exactly; faces painted by their identity; engines that count."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from capture.frame import Bundle
from engines.engine import Arrays, Engine, EngineOptions
from engines.manifest import CropSpec, Tensor
from exporters.onnx_graph import GraphBuilder
from service.inputs import Detection, GraphKey
from service.models import Models
from service.perception import flow as optical
from service.perception.synthetic import DETECTOR_ID, SyntheticPerception, find_row
from service.rounds import Batcher
from tests.engines.graphs import common, expression_manifest, expressive, write_folder

SIDE, T, D, HOP = 8, 4, 4, 2
IDENTITY = 6
LABELS = ("calm", "glad", "sad", "cross")
FACE = Tensor(name="face", dtype="uint8", shape=(3, SIDE, SIDE))
FACES = Tensor(name="face", dtype="uint8", shape=(T, 3, SIDE, SIDE))
CODE = Tensor(name="code", dtype="float32", shape=(D,))
CODES = Tensor(name="code", dtype="float32", shape=(T, D))
PROBABILITIES = Tensor(name="probabilities", dtype="float32", shape=(len(LABELS),))
WEIGHTS = np.random.default_rng(7).integers(-2, 3, (3 * SIDE * SIDE, D))
ORDER = np.arange(1, T + 1).reshape(1, T, 1)  # frames count by their place, so that a wrong order shows


def _code(graph: GraphBuilder, value: str, *, stacked: bool, name: str | None = None) -> str:
    """Whole numbers below 2²⁰: their sums are exact in any order."""
    shape = [0, T, 3 * SIDE * SIDE] if stacked else [0, 3 * SIDE * SIDE]
    flat = graph.node("Reshape", graph.node("Cast", value, to=onnx.TensorProto.FLOAT), graph.constant(shape, np.int64))
    return graph.node("MatMul", flat, graph.constant(WEIGHTS), name=name)


def _value(graph: GraphBuilder, codes: str) -> str:
    total = graph.node("ReduceSum", graph.node("Mul", codes, graph.constant(ORDER)), graph.constant([1], np.int64), keepdims=0)
    return graph.node("Softmax", graph.node("Mul", total, graph.constant(2.0**-12)), name="probabilities", axis=-1)


def whole() -> onnx.ModelProto:
    """The network in one graph."""
    graph = GraphBuilder()
    _value(graph, _code(graph, "face", stacked=True))
    return graph.model("whole", [FACES], [PROBABILITIES])


def per_frame() -> onnx.ModelProto:
    """What it does to each frame."""
    graph = GraphBuilder()
    _code(graph, "face", stacked=False, name="code")
    return graph.model("frame", [FACE], [CODE])


def per_window() -> onnx.ModelProto:
    """What it does to a window of these."""
    graph = GraphBuilder()
    _value(graph, "code")
    return graph.model("window", [CODES], [PROBABILITIES])


def itq(made_by: bytes) -> bytes:
    """A quantisation to 4 bits, as if fitted on the codes that the graph of these bytes makes."""
    random = np.random.default_rng(3)
    rotation = np.linalg.qr(random.normal(size=(D, D)))[0]
    buffer = io.BytesIO()
    named = hashlib.sha256(made_by).hexdigest()
    np.savez(buffer, mean=random.normal(0, 500, D), components=np.eye(D), rotation=rotation, feature_model=np.array(named))
    return buffer.getvalue()


def write(directory: Path, selector: str, split: bool, **window: Any) -> Path:
    """Write a folder of models: `main`, which is the network in one graph or two, `eye`, which gives codes, and `other`."""
    frame = per_frame().SerializeToString()
    eye = common(
        "eye", kind="features", graphs={"full": tensors("full", FACE, CODE)}, crops={"face": {"size": [SIDE, SIDE]}}, output="code"
    )
    write_folder(directory / "eye", eye, {"full.onnx": frame})
    pinned = hashlib.sha256((directory / "eye" / "manifest.json").read_bytes()).hexdigest()
    keyframes: dict[str, Any] = {"selector": "itq", "fit": "per-clip"} if selector == "per-clip" else {"selector": selector}
    files = {}
    if selector in ("itq", "kmeans", "per-clip"):
        keyframes |= {"features": "code"} | ({} if split else {"model": "eye"})
    if selector == "itq":
        keyframes["file"], files["itq__npz"] = "itq.npz", itq(frame)
    whole_graph, frame_graph, window_graph = (
        tensors("full", FACES, PROBABILITIES), tensors("frame", FACE, CODE), tensors("window", CODES, PROBABILITIES),
    )  # fmt: skip
    main = common(
        "main", kind="expression", labels=LABELS, crops={"face": {"size": [SIDE, SIDE]}}, outputs={"probabilities": "probabilities"},
        graphs={"full": whole_graph} | ({"frame": frame_graph, "window": window_graph} if split else {}), keyframes=keyframes,
        window={"frames": T, "buffer": T if selector == "none" else 2 * T, "hop": HOP} | window, batch={"max": 4, "invariant": True},
        requires=[] if split else [{"id": "eye", "sha256": pinned, "output": "code"}],
    )  # fmt: skip
    parts: dict[str, onnx.ModelProto | bytes] = {"full.onnx": whole()}
    parts |= {"frame.onnx": frame, "window.onnx": per_window()} if split else {}
    write_folder(directory / "main", main, parts, **files)
    other = expression_manifest("other", SIDE, window={"frames": 3, "buffer": 3, "hop": 1})
    write_folder(directory / "other", other, {"frame.onnx": expressive(SIDE)})
    return directory


def tensors(part: str, takes: Tensor, gives: Tensor) -> dict[str, Any]:
    """A graph's entry in a manifest."""
    return {"file": f"{part}.onnx", "inputs": [takes.model_dump(mode="json")], "outputs": [gives.model_dump(mode="json")]}


def load(directory: Path) -> Models:
    """The models of a folder, `main` and `other` loaded."""
    models = Models([directory], EngineOptions(threads=1))
    models.load("main"), models.load("other")
    return models


class Counting:
    """A graph that counts its rows."""

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self.rows: list[Arrays] = []
        self._engine = engine

    def run(self, inputs: Arrays) -> Arrays:
        some = next(iter(inputs.values()))
        self.rows += [{name: array[row] for name, array in inputs.items()} for row in range(len(some))]
        return self._engine.run(inputs)

    def close(self) -> None: ...


class Counted:
    """Graphs of loaded models, and of the synthetic face finder, that count."""

    def __init__(self, engines: Mapping[GraphKey, Engine]) -> None:
        from engines.synthetic import SyntheticEngine

        self.graphs = {key: Counting(engine) for key, engine in engines.items()}
        self.batcher = Batcher({**self.graphs, (DETECTOR_ID, "full"): SyntheticEngine(find_row)}, dict.fromkeys(self.graphs, 3))

    def rows(self, id: str, part: str) -> int:
        return len(self.graphs[id, part].rows) if (id, part) in self.graphs else 0


class Painted(SyntheticPerception):
    """Faces as pictures: every crop is its identity's pattern, its first number shifting it sideways. Counts pairs of flow."""

    def __init__(self, confirm_frames: int = 2) -> None:
        super().__init__(IDENTITY, confirm_frames=confirm_frames)
        self.pairs: Counter[bytes] = Counter()

    def crops(self, bundle: Bundle, face: Detection, specs: Mapping[str, CropSpec]) -> Arrays:
        shift, *others = np.asarray(self._row(bundle, face)[-IDENTITY:]).astype(int).tolist()
        return {name: painted(shift, others, spec.size) for name, spec in specs.items()}

    def flow(self, before: Any, after: Any) -> Any:
        self.pairs[before.tobytes() + after.tobytes()] += 1
        return optical.flow(before, after)


def painted(shift: int, others: list[int], size: tuple[int, int]) -> np.ndarray:
    """A uint8 (3, H, W) picture of smooth waves."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin((x + shift) * 0.7 + number) + np.cos(y * 0.6 + number * 0.3) for number in others[:3]]
    return np.asarray(127 + 60 * np.stack(waves), np.uint8)
