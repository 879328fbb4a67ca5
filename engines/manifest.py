"""What a model folder says of itself: `manifest.json`, validated.

Owns the schema, one frozen pydantic model per kind, unknown keys refused. Does not touch files (`folder.py`) or
runtimes (`engine.py`). The service configures itself from a manifest alone: whatever a network needs to be run
correctly stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator
from typing_extensions import Self

from engines.finishing import Calibration, DerivedAffect, PostProcessing, Smoothing
from engines.proof import Cost, Parity, Reduced
from engines.terms import Count, Dtype, FileName, ModelId, Part, Positive, Sha256, Strict, Unit

SCHEMA = "mien.model/1"


class Tensor(Strict):
    """A graph's input or output. `shape` without the batch axis, which is always first and dynamic up to `Batch.max`."""

    name: str
    dtype: Dtype
    shape: tuple[Count, ...]


class Graph(Strict):
    """One ONNX file and its tensors."""

    file: FileName
    inputs: tuple[Tensor, ...] = Field(min_length=1)
    outputs: tuple[Tensor, ...] = Field(min_length=1)


class Batch(Strict):
    """How graphs may be batched. `invariant`: in those that the service runs a row's output bytes do not depend on the rows
    beside it (measured at export on the CPU backend); where they do, rows run one at a time there."""

    max: Count = 16
    invariant: bool = False


class Weights(Strict):
    """Where the numbers come from. `random` weights are refused at load unless allowed, and every event says so."""

    kind: Literal["pretrained", "checkpoint", "random"]
    source: str
    sha256: Sha256 | None = None
    seed: int | None = None


class Licence(Strict):
    """`spdx` identifier and the licence text's file in the folder."""

    spdx: str
    file: FileName
    holder: str


class Requirement(Strict):
    """Another model this one leans on, and the output it takes from it."""

    id: ModelId
    sha256: Sha256
    output: str


class CropSpec(Strict):
    """Which part of a picture a graph input is, and how it is cut.

    `size` (H, W) in pixels of the crop; `scale` × the face box's longer side; `align` `eyes`: rolled so that the eyes are level.
    `content` `flow`: not the pixels but their optical flow from the track's previous sample, float32 (2, H, W), x then y, pixels.
    """

    kind: Literal["face", "upper-body", "full"] = "face"
    modality: Literal["color", "depth", "thermal"] = "color"
    size: tuple[Count, Count]
    scale: Positive = 1.2
    align: Literal["none", "eyes"] = "eyes"
    content: Literal["pixels", "flow"] = "pixels"


class Gates(Strict):
    """A sample enters the buffer only above all of these.

    `min_face_px`: shorter side of the face box, pixels; `min_luma`: mean of the crop's luma, 0–255;
    `min_sharpness`: variance of the Laplacian of the crop's luma at the network's size.
    """

    min_face_px: float = Field(ge=0, default=24.0)
    min_luma: float = Field(ge=0, le=255, default=16.0)
    min_sharpness: float = Field(ge=0, default=0.0)


class Window(Strict):
    """Which samples make a window; SEMANTICS' words. `buffer` is B, `frames` is T."""

    frames: Count
    buffer: Count
    hop: Count
    period_ms: Positive | None = None
    max_gap_ms: Positive | None = None
    scope: Literal["rolling", "clip"] = "rolling"
    clip: Literal["window-mean", "trace-mean"] = "window-mean"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.buffer < self.frames:
            raise ValueError(f"window.buffer {self.buffer} is smaller than window.frames {self.frames}; it must be at least as large")
        if self.max_gap_ms is not None and self.period_ms is not None and self.max_gap_ms < 1.5 * self.period_ms:
            raise ValueError(
                f"window.max_gap_ms {self.max_gap_ms:g} is less than 1.5 × period_ms {self.period_ms:g}: every second sample would clear "
                f"the buffer; raise it to at least {1.5 * self.period_ms:g} or leave it out"
            )
        return self

    def gap_ms(self, period_ms: float | None) -> float:
        """Return the longest gap in force, in ms, for the sampling period in force."""
        return self.max_gap_ms if self.max_gap_ms is not None else max(500.0, 2.5 * (period_ms or 0.0))


class Keyframes(Strict):
    """How T of B samples are chosen. `itq` and `kmeans` need the feature output's name, `itq` also `file` (mean, components,
    rotation), unless `fit` says that it is fitted on each clip by itself. That, `random` and `kmeans` are for clips (`window.scope`
    `clip`) and take `seed`, 0 if left out. `model`: the model of kind `features`, one of `requires`, whose output the features are;
    without it they are the frame graph's."""

    selector: Literal["none", "uniform", "stride", "itq", "kmeans", "random"] = "none"
    file: FileName | None = None
    fit: Literal["per-clip"] | None = None
    features: str | None = None
    model: ModelId | None = None
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.selector in ("itq", "kmeans") and self.features is None:
            raise ValueError(
                f"keyframes.selector '{self.selector}' needs keyframes.features: the name of the graph output to take features from"
            )
        if self.fit is not None and (self.selector != "itq" or self.file is not None):
            raise ValueError("keyframes.fit 'per-clip' is for selector 'itq' without a file: each clip is fitted by itself")
        return self

    @property
    def of_whole_clips(self) -> bool:
        """Whether samples are chosen by the features of all of them."""
        return self.selector == "kmeans" or self.fit is not None


class Common(Strict):
    """What every kind says."""

    model_schema: Literal["mien.model/1"] = Field(alias="schema")
    id: ModelId
    title: str
    files: Mapping[FileName, Sha256]
    card: FileName
    graphs: Mapping[Part, Graph] = Field(min_length=1)
    batch: Batch = Batch()
    opset: Count
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    options: Mapping[str, str | int | float | bool | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]] = Field(default_factory=dict)
    requires: tuple[Requirement, ...] = ()
    weights: Weights
    licence: Licence
    cost: Cost
    parity: tuple[Parity, ...] = ()
    reduced: Reduced | None = None

    @model_validator(mode="after")
    def _listed(self) -> Self:
        if (self.precision == "fp32") != (self.reduced is None):
            raise ValueError(f"precision is {self.precision}: 'reduced' must be there for what is not fp32, and for nothing else")
        named = {self.card, self.licence.file, *(graph.file for graph in self.graphs.values())}
        missing = sorted(named - set(self.files))
        if missing:
            raise ValueError(f"files lists no sha256 of {', '.join(missing)}; every file of the folder must be listed")
        return self


class Expression(Common):
    """A network that names expressions, or gives valence and arousal, from a window of samples.

    `crops`: per graph input, what it is cut from. `outputs`: role → graph output name. With a `frame` graph alone, a
    window's value is the `aggregate` of its frames' outputs; with `window` (inputs: the frame outputs of the same names,
    stacked on axis 1) or `full` (inputs: the crops, stacked on axis 1) it is that graph's output.
    """

    kind: Literal["expression"]
    labels: tuple[str, ...] = ()
    crops: Mapping[str, CropSpec] = Field(min_length=1)
    outputs: Mapping[Literal["probabilities", "features", "valence", "arousal", "attention"], str]
    window: Window
    keyframes: Keyframes = Keyframes()
    aggregate: Literal["mean-probabilities", "mean-logits", "confidence-weighted"] | None = None
    gates: Gates = Gates()
    affect: DerivedAffect | None = None
    smoothing: Smoothing | None = None
    calibration: Calibration | None = None
    post_processing: Mapping[Literal["valence", "arousal"], PostProcessing] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        per_frame_only = set(self.graphs) == {"frame"}
        if per_frame_only and self.aggregate is None:
            raise ValueError("a model with a frame graph alone needs 'aggregate': how its frames make a window")
        if not per_frame_only and self.aggregate is not None:
            raise ValueError("'aggregate' is for models with a frame graph alone; this one has " + ", ".join(sorted(self.graphs)))
        if self.keyframes.selector == "itq" and self.window.clip == "trace-mean":
            raise ValueError(
                "itq keyframes and overlap averaging (window.clip 'trace-mean') exclude each other: a frame in no window has no value"
            )
        if self.keyframes.selector in ("itq", "kmeans") and "frame" not in self.graphs and self.keyframes.model is None:
            raise ValueError(f"{self.keyframes.selector} keyframes need per-frame features: a frame graph, or keyframes.model")
        if self.keyframes.model is not None and self.keyframes.model not in {need.id for need in self.requires}:
            raise ValueError(f"keyframes.model {self.keyframes.model!r} is not among requires, which pins what it must be")
        if (self.keyframes.selector == "random" or self.keyframes.of_whole_clips) and self.window.scope != "clip":
            named = f"{self.keyframes.selector} keyframes" + (f" fitted {self.keyframes.fit}" if self.keyframes.fit else "")
            raise ValueError(f"{named} are chosen over whole clips: they need window.scope 'clip'")
        if "probabilities" in self.outputs and len(self.labels) < 2:
            raise ValueError("outputs has probabilities but labels names fewer than two classes")
        if self.affect is not None and set(self.affect.points) != set(self.labels):
            raise ValueError("affect.points must have one point for each of labels")
        if self.calibration is not None and self.calibration.sets is not None and set(self.calibration.sets.floor) != set(self.labels):
            raise ValueError("calibration.sets.floor must have one number for each of labels")
        return self


class Anchors(Strict):
    """SSD anchors of one stride: `per_cell` on each cell of the grid input/stride."""

    stride: Count
    per_cell: Count


class Image(Strict):
    """A whole-picture uint8 RGB input, letterboxed with black to `size` (H, W); normalisation is inside the graph."""

    size: tuple[Count, Count]
    layout: Literal["nchw", "nhwc"] = "nchw"


class Detector(Common):
    """A face finder. `decoder` names the file in `service/perception/faces/`. `nms_iou`: overlap that merges two boxes;
    `min_score` and `confirm_frames`: what it takes for a face to be believed."""

    kind: Literal["detector"]
    decoder: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    image: Image
    anchors: tuple[Anchors, ...] = ()
    keypoints: tuple[str, ...] = ()
    min_score: Unit
    nms_iou: Unit = 0.3
    confirm_frames: Count = 3


class Landmarks(Common):
    """Points on a face crop. `points`: their number; `score_output`: the graph output that says a face is there."""

    kind: Literal["landmarks"]
    crops: Mapping[str, CropSpec] = Field(min_length=1)
    points: Count
    score_output: str | None = None
    min_score: Unit = 0.5


class Pose(Common):
    """Points of a body. `joints`: their names in output order."""

    kind: Literal["pose"]
    image: Image
    joints: tuple[str, ...] = Field(min_length=1)
    min_score: Unit = 0.5


class Features(Common):
    """A per-frame embedding, for keyframes."""

    kind: Literal["features"]
    crops: Mapping[str, CropSpec] = Field(min_length=1)
    output: str


Manifest = Expression | Detector | Landmarks | Pose | Features
_ADAPTER: TypeAdapter[Manifest] = TypeAdapter(Annotated[Manifest, Field(discriminator="kind")])


def parse(text: str | bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        pydantic.ValidationError: it is not JSON, has unknown or missing keys, or breaks a rule.
    """
    return _ADAPTER.validate_json(text)


def render(manifest: Manifest) -> str:
    """Render a manifest as the JSON text that stands in a model folder: two-space indent, one newline at the end."""
    return manifest.model_dump_json(indent=2, by_alias=True, exclude_none=True) + "\n"
