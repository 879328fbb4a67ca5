"""Whether what a manifest says of its graphs fits together: roles, crops, features and the shapes between graphs.

Owns the rules that span several keys of a manifest and need no file. Does not own the schema (`manifest.py`) or what the
files hold (`folder.py`). A name that leads nowhere would else be found on the first face, in the middle of a session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from engines.manifest import CropSpec, Expression, Features, Graph, Landmarks, Manifest, Tensor
from engines.terms import Dtype, Part

_PARTS = ({"full"}, {"frame"}, {"frame", "window"}, {"full", "frame", "window"})
Tensors = Mapping[str, Tensor]


_CUT: Mapping[tuple[str, str], tuple[Dtype, int]] = {
    ("color", "pixels"): ("uint8", 3), ("color", "flow"): ("float32", 2),
    ("depth", "pixels"): ("float32", 1), ("thermal", "pixels"): ("float32", 1),
}  # fmt: skip
"""What a crop of a modality and content is: its dtype and channels."""


def run_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Say which of a model's graphs the service runs: the frame graph with what follows it where there is one, else the whole."""
    there = set(parts)
    if "frame" in there:
        return ("frame", "window") if "window" in there else ("frame",)
    return ("full",)


def exact_parts(manifest: Manifest) -> tuple[Part, ...]:
    """Say which graphs run in fp32 whatever is asked for: a frame graph whose features choose keyframes would choose other frames."""
    if not isinstance(manifest, Expression) or manifest.keyframes.model is not None:
        return ()
    keyframes = manifest.keyframes
    chooses = keyframes.of_whole_clips or keyframes.file is not None
    return ("frame",) if chooses else ()


def fault(manifest: Manifest) -> str | None:
    """Return the first rule a manifest breaks, with the key and what is there instead; None: it fits together."""
    return next(_faults(manifest), None)


def crop_fault(crops: Mapping[str, CropSpec], graph: Graph, frames: int | None = None) -> str | None:
    """Return the first input of a graph that is not as its crop is cut, or None; `frames`: crops come stacked, as many in a window."""
    return next(_cut(crops, graph, frames), None)


def _faults(manifest: Manifest) -> Iterator[str]:
    if isinstance(manifest, Expression):
        yield from _expression(manifest)
        return
    if set(manifest.graphs) != {"full"}:
        yield f"graphs: a model of kind {manifest.kind} has one graph, 'full'; this one has {_list(manifest.graphs)}"
        return
    whole = manifest.graphs["full"]
    if isinstance(manifest, Features | Landmarks):
        yield from _same("crops", manifest.crops, whole)
    if isinstance(manifest, Features) and manifest.output not in _outputs(whole):
        yield _nowhere("output", manifest.output, _outputs(whole))
    if isinstance(manifest, Landmarks) and manifest.score_output is not None and manifest.score_output not in _outputs(whole):
        yield _nowhere("score_output", manifest.score_output, _outputs(whole))


def _expression(manifest: Expression) -> Iterator[str]:
    graphs, frames = manifest.graphs, manifest.window.frames
    if set(graphs) not in _PARTS:
        yield f"graphs: {_list(graphs)} do not make a model; allowed are full, frame, frame + window, or all three"
        return
    frame = graphs.get("frame")
    value = graphs.get("window") or frame or graphs["full"]
    whole = graphs.get("full")
    for graph in (whole, frame):
        if graph is not None:
            yield from _same("crops", manifest.crops, graph)
    there = _outputs(value)
    for role, name in manifest.outputs.items():
        # Features are a frame's; all else is a window's value.
        among = _outputs(frame) if role == "features" and frame is not None else there
        if name not in among:
            yield _nowhere(f"outputs.{role}", name, among)
        elif role == "probabilities" and among[name].shape != (len(manifest.labels),):
            shape = among[name].shape
            yield f"outputs.probabilities: {name!r} has shape {shape} for {len(manifest.labels)} labels; it must be one number each"
    yield from _features(manifest, frame)
    if manifest.keyframes.file is not None and manifest.keyframes.file not in manifest.files:
        yield f"keyframes.file: {manifest.keyframes.file!r} has no sha256 in files; every file of the folder must be listed"
    if "window" in graphs and frame is not None:
        yield from _stacked(graphs["window"], _outputs(frame), frames)
    if whole is not None:
        yield from _cut(manifest.crops, whole, frames)
    if frame is not None:
        yield from _cut(manifest.crops, frame, None)


def _features(manifest: Expression, frame: Graph | None) -> Iterator[str]:
    name, model = manifest.keyframes.features, manifest.keyframes.model
    if model is not None:
        given = [need.output for need in manifest.requires if need.id == model]
        if name not in given:
            yield f"keyframes.features: is {name!r}, requires takes {_list(given)} of {model!r}; it must be the same output"
    elif name is not None and frame is None:
        yield f"keyframes.features: {name!r} would be a frame's, and there is no frame graph; keyframes.model names a model that gives it"
    elif name is not None and frame is not None and name not in _outputs(frame):
        yield _nowhere("keyframes.features", name, _outputs(frame))


def _cut(crops: Mapping[str, CropSpec], graph: Graph, frames: int | None) -> Iterator[str]:
    for tensor in graph.inputs:
        crop = crops.get(tensor.name)
        if crop is None:
            continue
        if crop.content == "flow" and frames is None:
            yield (
                f"crops.{tensor.name}: is optical flow, an input of {graph.file}, which runs on single samples as they come; the flow of a "
                "stream's first sample is known with its second only: flow is for models with a full graph alone"
            )
            continue
        if (crop.modality, crop.content) not in _CUT:
            yield f"crops.{tensor.name}: there is no {crop.content} of {crop.modality}; it is made of color"
            continue
        dtype, channels = _CUT[crop.modality, crop.content]
        wanted = (*(() if frames is None else (frames,)), channels, *crop.size)
        if (tensor.dtype, tensor.shape) != (dtype, wanted):
            yield f"crops.{tensor.name}: gives {dtype} {wanted}; {graph.file} takes {tensor.dtype} {tensor.shape}"


def _stacked(window: Graph, frame: Tensors, frames: int) -> Iterator[str]:
    for tensor in window.inputs:
        if tensor.name not in frame:
            yield _nowhere(f"graphs.window: input {tensor.name!r}", tensor.name, frame)
        elif tensor.shape != (frames, *frame[tensor.name].shape):
            wanted = (frames, *frame[tensor.name].shape)
            yield f"graphs.window: input {tensor.name!r} has shape {tensor.shape}; window.frames of the frame graph's output are {wanted}"


def _same(key: str, named: Mapping[str, object], graph: Graph) -> Iterator[str]:
    inputs = {tensor.name for tensor in graph.inputs}
    if set(named) != inputs:
        yield f"{key}: names {_list(named)}; {graph.file} has the inputs {_list(inputs)}"


def _outputs(graph: Graph) -> Tensors:
    return {tensor.name: tensor for tensor in graph.outputs}


def _nowhere(key: str, name: str, there: Tensors) -> str:
    return f"{key}: there is no graph output {name!r}; there are: {_list(there)}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
