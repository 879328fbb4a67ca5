"""How a camera's picture becomes the numbers that somebody's network was trained on.

Owns the arithmetic, once as nodes of a graph and once in numpy, which the graph is held against. Does not own which network wants
what (`presets.py`, or the user's word).

In: uint8 RGB (N, 3, H, W), or (N, T, 3, H, W) for clips. Out: (x / scale − mean) / std per channel, in the network's order of axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.layers import LUMA
from exporters.onnx_graph import GraphBuilder, GraphRefused

Layout = Literal["NCHW", "NHWC", "NTCHW", "NCTHW", "NTHWC"]
Channels = Literal["rgb", "bgr", "gray"]
_ORDER: dict[Layout, tuple[int, ...]] = {
    "NCHW": (0, 1, 2, 3),
    "NHWC": (0, 2, 3, 1),
    "NTCHW": (0, 1, 2, 3, 4),
    "NCTHW": (0, 2, 1, 3, 4),
    "NTHWC": (0, 1, 3, 4, 2),
}
"""Our axes, NCHW or NTCHW, in the order the network wants them."""
COUNT: dict[Channels, int] = {"rgb": 3, "bgr": 3, "gray": 1}


@dataclass(frozen=True, slots=True)
class Reading:
    """The network's order of axes and channels, and how it was scaled in training; mean and std are of values / scale.

    `raw`: the network takes the camera's uint8 as they are, and scales inside; scale, mean and std then stand for nothing.
    """

    layout: Layout
    channels: Channels = "rgb"
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    luma: tuple[float, ...] = LUMA
    raw: bool = False

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, COUNT[self.channels]):
                raise GraphRefused(f"--{name} has {len(values)} numbers; for {self.channels} give one, or {COUNT[self.channels]}")
        if not self.scale > 0 or any(not value > 0 for value in self.std):
            raise GraphRefused(f"scale {self.scale:g} and std {self.std} must be above 0")
        if self.raw and self.channels == "gray":
            raise GraphRefused("a uint8 input of one channel cannot be served: gray has fractions; export the network with a float input")

    def nodes(self, builder: GraphBuilder, given: str, wanted: str, dtype: int) -> None:
        """Add nodes from the camera's value `given` to the network's value `wanted` of an ONNX element type."""
        value = given if self.raw else builder.node("Cast", given, to=onnx.TensorProto.FLOAT)
        if self.channels == "gray":
            weighed = builder.node("Mul", value, builder.constant(np.reshape(self.luma, (3, 1, 1))))
            value = builder.node("ReduceSum", weighed, builder.constant([-3], np.int64), keepdims=1)
        if self.channels == "bgr":
            value = builder.node("Gather", value, builder.constant([2, 1, 0], np.int64), axis=1 if len(self.layout) == 4 else 2)
        if not self.raw:
            mean, std = (np.asarray(values, np.float64).reshape(-1, 1, 1) for values in (self.mean, self.std))
            value = builder.node("Mul", value, builder.constant(1 / (std * self.scale)))
            value = builder.node("Add", value, builder.constant(-mean / std))
        order = _ORDER[self.layout]
        if order != tuple(range(len(order))):
            value = builder.node("Transpose", value, perm=list(order))
        if not self.raw and dtype != onnx.TensorProto.FLOAT:
            value = builder.node("Cast", value, to=dtype)
        builder.node("Identity", value, name=wanted)

    def array(self, pictures: NDArray[np.generic]) -> NDArray[np.generic]:
        """Do the same in numpy, float64 inside; returns float32, or uint8 where the network reads raw pictures."""
        values: NDArray[Any] = pictures if self.raw else np.asarray(pictures, np.float64)
        if self.channels == "gray":
            values = (values * np.reshape(self.luma, (3, 1, 1))).sum(-3, keepdims=True)
        if self.channels == "bgr":
            values = values[..., ::-1, :, :]
        if not self.raw:
            mean, std = (np.reshape(numbers, (-1, 1, 1)) for numbers in (self.mean, self.std))
            values = ((values / self.scale - mean) / std).astype(np.float32)
        return np.ascontiguousarray(values.transpose(_ORDER[self.layout]))


def layout_of(dims: tuple[int | None, ...], said: Layout | None = None) -> Layout:
    """Tell a picture input's order of axes from its sizes (None: dynamic): the axis of 1 or 3 is the channels'.

    Raises:
        GraphRefused: it is no picture or clip, or the order cannot be told.
    """
    shape = f"({', '.join('?' if size is None else str(size) for size in dims)})"
    if len(dims) not in (4, 5):
        raise GraphRefused(f"the input has shape {shape}; a picture has 4 axes, a clip 5")
    among: tuple[Layout, ...] = ("NCHW", "NHWC") if len(dims) == 4 else ("NTCHW", "NCTHW", "NTHWC")
    if said is not None:
        if said not in among:
            raise GraphRefused(f"the input has shape {shape}, which --layout {said} is not; possible: {', '.join(among)}")
        return said
    found = [layout for layout in among if dims[layout.index("C")] in (1, 3)]
    if len(found) != 1:
        raise GraphRefused(f"the order of the input's axes {shape} cannot be told; give --layout {'|'.join(among)}")
    return found[0]
