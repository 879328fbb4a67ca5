"""Every row of the four papers' tables that is a network, as an architecture and its options.

Owns the list; `docs/networks.md` is made from it (`python -m benchmarks.networks --write`), and a test builds each. Does not own any
network. Accuracies stand in the papers; none of their weights were published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CK_PLUS = ("anger", "contempt", "disgust", "fear", "happy", "sad", "surprise")


@dataclass(frozen=True, slots=True)
class Row:
    """`table` and `row` as printed; `architecture` and `options` make it."""

    table: str
    row: str
    architecture: str
    options: Mapping[str, object] = field(default_factory=dict)


CONVLSTMS, RESNETS = ("rgb-convlstm", "flow-convlstm"), ("rgb-resnet", "flow-resnet")
SAURAV, LY, MIYOSHI, LEE = "Saurav et al. 2020", "Ly et al. 2019", "Miyoshi et al. 2020", "Lee et al. 2020"

ROWS: tuple[Row, ...] = (
    Row(f"{SAURAV}, Table I", "3DCNN-ConvLSTM on CK+", "facial_3dcnn_convlstm", {"labels": CK_PLUS}),
    Row(f"{SAURAV}, Table II", "3DCNN-ConvLSTM on SAVEE", "facial_3dcnn_convlstm"),
    Row(f"{SAURAV}, Table III", "with the FER2013 CNN, on AFEW", "facial_3dcnn_convlstm", {"fer_branch": True, "gamma": 1.5}),
    Row(f"{LY}, Table 1", "40-random-frame LRCN", "lrcn", {"frames": 40, "selector": "random"}),
    Row(f"{LY}, Table 1", "16-keyframe LRCN", "lrcn"),
    Row(f"{LY}, Tables 1–3", "16-keyframe 3D CNN coupled ConvLSTM", "gesture_3dcnn_convlstm"),
    Row(f"{LY}, Table 2", "overlapping windows", "gesture_3dcnn_convlstm", {"selector": "stride"}),
    Row(f"{LY}, Table 2", "k-means clustering", "gesture_3dcnn_convlstm", {"selector": "kmeans"}),
    Row(f"{LY}, Table 3", "our grayscale overlapping", "grayscale_overlap_cnn"),
    Row(f"{LY}, Table 3", "ensemble", "ensemble"),
    Row(f"{MIYOSHI}, Table 2", "(a) 2 ResNet streams", "enhanced_convlstm", {"streams": RESNETS}),
    Row(f"{MIYOSHI}, Table 2", "(b) 2 ConvLSTM streams", "enhanced_convlstm", {"streams": CONVLSTMS, "enhanced": False}),
    Row(f"{MIYOSHI}, Table 2", "(c) 2 Enhanced ConvLSTM streams", "enhanced_convlstm", {"streams": CONVLSTMS}),
    Row(f"{MIYOSHI}, Table 2", "(d) = (a) + (b)", "enhanced_convlstm", {"enhanced": False}),
    Row(f"{MIYOSHI}, Table 2", "(e) = (a) + (c), proposed", "enhanced_convlstm"),
    Row(f"{LEE}, Table IV", "colour", "mran", {"modalities": ("color",)}),
    Row(f"{LEE}, Table IV", "depth", "mran", {"modalities": ("depth",)}),
    Row(f"{LEE}, Table IV", "thermal", "mran", {"modalities": ("thermal",)}),
    Row(f"{LEE}, Table IV", "colour + depth", "mran", {"modalities": ("color", "depth")}),
    Row(f"{LEE}, Table IV", "colour + thermal", "mran", {"modalities": ("color", "thermal")}),
    Row(f"{LEE}, Table IV", "colour + depth + thermal (MRAN)", "mran"),
    Row(f"{LEE}, Table V", "2D-CNN", "uran", {"emotion_net": "2d", "attention": "none"}),
    Row(f"{LEE}, Table V", "3D-CNN", "uran", {"attention": "none"}),
    Row(f"{LEE}, Table V", "3D-CNN, S.E.", "uran", {"attention": "encoder"}),
    Row(f"{LEE}, Table V", "3D-CNN, S.E., T.D. (URAN)", "uran"),
    # Depth and thermal guide the attention alone: without it the colour stream is all there is.
    Row(f"{LEE}, Table VI", "2D-CNN", "mran", {"modalities": ("color",), "emotion_net": "2d", "attention": "none"}),
    Row(f"{LEE}, Table VI", "3D-CNN", "mran", {"modalities": ("color",), "attention": "none"}),
    Row(f"{LEE}, Table VI", "3D-CNN, S.E.", "mran", {"attention": "encoder"}),
    Row(f"{LEE}, Table X", "URAN with labels, on AFEW", "uran", {"head": "labels"}),
)
