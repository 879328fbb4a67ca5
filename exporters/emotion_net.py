"""MRAN's emotion recognition: from a clip and an attention to the last layer.

Owns X′, its product with the attention, and the 3-D (or 2-D) convolutions after it. Does not own the attention (`attention.py`), nor what
the last layer's numbers mean (`recurrent_attention.py`).

    X′     3×3×3, ReLU                        32 × T × S × S      (S = 192: stride 2 over space, 96)
    X″     attention ∘ X′
    1…4    3×3×3, ReLU, 2×2×2 max pool        32, 64, 128, 256    (T < 16: the last pool is 1×2×2)
    fc1    256·T′·S/16·S/16 → 1024, ReLU
    fc2    1024 → outputs

Source: Lee et al. 2020, Eq. 4 and Table I; its conv4 "256/256" is a misprint for 128/256, and its text's "three" layers for four.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from exporters.layers import column, dense, folded, halved_over_time, over_time, unfolded

FEATURES = 32
WIDTHS = (32, 64, 128, 256)
FC = 1024
POOLS = 16
"""Four pools of 2: sides of X′ must be multiples of it, and so must windows, except of 8 frames."""


def pooled_frames(frames: int) -> int:
    """Return T′, how many steps of a window are left after the four pools.

    Raises:
        ValueError: the pools would leave frames out.
    """
    if frames % POOLS and frames != POOLS // 2:
        raise ValueError(f"frames {frames} does not fit the four pools over time: give 8, or a multiple of {POOLS}")
    return max(frames // POOLS, 1)


class EmotionNet(nn.Module):
    """Pictures of the target stream and their attention to the last layer's numbers, in 3-D, or in 2-D where `flat`.

    Clips are (N, T, C, S, S) in 3-D; in 2-D frames (M, C, S, S), all but `connected` per frame: the weights are shared over time.
    `stride`: of X′ over space; its side is S / stride. `weighed`: whether an attention comes at all. It comes multiplied with the pixels
    of X′, which is taken back before conv1, or once folded in conv1's weight: the stored weight is that of the plain product.
    Source: Lee et al. 2020, Table I; section V-C.2 for 2-D ("weights of 2D convolutional layers are shared temporally").
    """

    def __init__(self, channels: int, size: int, stride: int, frames: int, outputs: int, weighed: bool, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.pools = (2, 2, 2, 2 if frames >= POOLS else 1)
        self.unit = (stride / size) ** 2 if weighed else 1.0
        self.x_prime: nn.Conv2d | nn.Conv3d = nn.Conv2d(channels, FEATURES, 3, stride, 1)
        if not flat:
            self.x_prime = nn.Conv3d(channels, FEATURES, 3, (1, stride, stride), 1)
        convolution: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if flat else nn.Conv3d
        inputs = FEATURES
        for level, width in enumerate(WIDTHS, 1):
            self.add_module(f"conv{level}", convolution(inputs, width, 3, padding=1))
            inputs = width
        steps = 1 if flat else pooled_frames(frames)
        self.fc1 = nn.Linear(inputs * steps * (size // stride // POOLS) ** 2, FC)
        self.fc2 = nn.Linear(FC, outputs)

    def level(self, number: int) -> nn.Conv2d | nn.Conv3d:
        """Return the convolution of level 1 to 4."""
        layer = self.get_submodule(f"conv{number}")
        assert isinstance(layer, nn.Conv2d | nn.Conv3d)
        return layer

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures (…, C, S, S) → X′ (…, 32, side, side)."""
        if self.flat:
            return self._activated(self.x_prime, pictures, 1, 1)
        length = pictures.shape[1]
        return unfolded(self._activated(self.x_prime, folded(pictures), length, 1), length)

    def convolved(self, scaled: Tensor) -> tuple[Tensor, ...]:
        """X″ × pixels (…, 32, side, side) → what each of the four levels gives, the last (N, T′, 256, side/16, side/16) or without T′."""
        said: list[Tensor] = []
        length = 1 if self.flat else scaled.shape[1]
        maps = scaled if self.flat else folded(scaled)
        if self.unit != 1.0:
            maps = maps * self.unit
        for number, pool in enumerate(self.pools, 1):
            maps = self._activated(self.level(number), maps, length, 2)
            if pool == 2 and not self.flat:
                maps, length = halved_over_time(maps), length // 2
            said.append(maps if self.flat else unfolded(maps, length))
        return tuple(said)

    def connected(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The last level, (N, T′, 256, …), in 2-D its mean over time (free), (N, 256, …) → fc1 (N, 1024, 1, 1) and fc2 (N, outputs)."""
        # As a 3-D network flattens: channels before time.
        hidden = functional.relu(dense(self.fc1, column(maps if self.flat else maps.transpose(1, 2))))
        return hidden, dense(self.fc2, hidden).flatten(1)

    def fold(self) -> None:
        """Put the attention's unit into conv1's weight for good, as a graph holds it."""
        self.level(1).weight.data *= self.unit
        self.unit = 1.0

    def spread_out(self) -> None:
        """Make random weights act on X″ as on a plain X′, and keep the outputs where tanh is steep."""
        self.level(1).weight.data /= self.unit
        self.fc2.weight.data *= 0.5

    def _activated(self, layer: nn.Conv2d | nn.Conv3d, frames: Tensor, length: int, pool: int) -> Tensor:
        """Convolution, over time in clips of `length` frames where it is a 3D one, ReLU, max pool over `pool` × `pool` pixels."""
        maps = functional.relu(layer(frames) if isinstance(layer, nn.Conv2d) else over_time(layer, frames, length))
        return maps if pool == 1 else functional.max_pool2d(maps, pool)
