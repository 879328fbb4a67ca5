"""What is in force in a session: model, hop, period, faces, and what follows from them.

Owns their validation and what a Change makes of them. Frozen: a refused Change leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from engines.manifest import Expression, Features, Manifest
from service.inputs import Change, Keep
from service.models import Model

GIVEN = frozenset({"color"})
"""Modalities that sources give, but for rigs, which say theirs."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A sample for a buffer: its crops by graph input name and its per-frame outputs (the crops again where no graph runs per frame),
    no batch axis; `feature`: what keyframes are chosen by. A flow input has the pixels here that its flow is made of."""

    track: int
    frame: int
    t_ns: int
    inputs: Arrays
    outputs: Arrays
    feature: NDArray[np.generic] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Uncalibrated:
    """What a window was about to say: `probabilities` (K,) float64 in the manifest's order, smoothed, but not yet calibrated by the
    runtime; `frame`: the window's last; `filled`: the share of the window that is real."""

    track: int
    frame: int
    filled: float
    probabilities: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Settings of one session for life. `faces`: how many are reported; `hop`, `period_ms`, `confirm_frames`: instead
    of the manifests'; `ends`: the input has an end, so clip predictions are made; `models`: what a Change may name (read
    when it comes); `on_sample`: called with every sample that enters a buffer; `on_window`: with every window that says something;
    `given`: the modalities its bundles have."""

    faces: int = 1
    hop: int | None = None
    period_ms: float | None | Keep = Keep.KEEP
    confirm_frames: int | None = None
    ends: bool = False
    models: Mapping[str, Model] = field(default_factory=dict)
    on_sample: Callable[[Taken], None] | None = None
    on_window: Callable[[Uncalibrated], None] | None = None
    given: frozenset[str] = GIVEN


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force. `gap_ns`: the longest gap in a track or a buffer; `given`: the modalities that bundles have."""

    model: Model
    manifest: Expression
    hop: int
    period_ms: float | None
    faces: int
    gap_ns: int
    given: frozenset[str] = GIVEN

    @classmethod
    def of(
        cls, model: Model, hop: int | None, period_ms: float | None | Keep, faces: int, given: frozenset[str] = GIVEN
    ) -> Settings:  # fmt: skip
        """Complete given settings from the model's manifest.

        Raises:
            ValueError: a value is out of range, or no session can use the model.
        """
        manifest = model.manifest
        if (why := unusable(manifest, given)) is not None:
            raise ValueError(why)
        assert isinstance(manifest, Expression)
        window = manifest.window
        hop = window.hop if hop is None else hop
        period = window.period_ms if isinstance(period_ms, Keep) else period_ms
        for name, number in (("hop", hop), ("faces", faces)):
            if number < 1:
                raise ValueError(f"{name} {number} must be at least 1")
        gap_ms = window.gap_ms(period)
        if period is not None and not 0 < period <= gap_ms / 1.5:
            raise ValueError(f"period_ms {period:g} must be greater than 0 and at most {gap_ms / 1.5:g} (max_gap_ms {gap_ms:g} / 1.5)")
        return cls(model, manifest, hop, period, faces, round(gap_ms * 1e6), given)

    def changed(self, change: Change, models: Mapping[str, Model]) -> Settings:
        """Return the settings after a Change. A new model brings its own hop and period unless the Change gives them.

        Raises:
            ValueError: the model is not among `models`, or a value is out of range.
        """
        model = self.model
        if change.model is not None and change.model != model.name.id:
            if change.model not in models:
                raise ValueError(f"model {change.model!r} is not loaded; loaded: {', '.join(sorted(models)) or 'none'}")
            model = models[change.model]
        same = model is self.model
        hop = self.hop if same and change.hop is None else change.hop
        period = self.period_ms if same and isinstance(change.period_ms, Keep) else change.period_ms
        return Settings.of(model, hop, period, self.faces if change.faces is None else change.faces, self.given)

    @property
    def weights(self) -> Literal["random"] | None:
        """What every event must say of the model's weights."""
        return "random" if self.manifest.weights.kind == "random" else None

    @property
    def window_part(self) -> Literal["window", "full"] | None:
        """The graph a window is run through; None: the manifest's aggregate of its frames."""
        if self.manifest.aggregate is not None:
            return None
        return "window" if "window" in self.manifest.graphs else "full"

    @property
    def kept(self) -> list[str]:
        """Names of the per-sample values that windows are made of."""
        part = self.window_part
        if part is not None:
            return [tensor.name for tensor in self.manifest.graphs[part].inputs]
        outputs = self.manifest.outputs
        return [outputs[role] for role in ("probabilities", "valence", "arousal") if role in outputs]

    @property
    def moving(self) -> list[str]:
        """Names of the graph inputs that are optical flow."""
        return [name for name, crop in self.manifest.crops.items() if crop.content == "flow"]

    @property
    def holds(self) -> bool:
        """Whether a face that is lost for a moment is sampled on at its last box: no crop shows the face alone, and in a gesture the
        hands may cover it."""
        return all(crop.kind != "face" for crop in self.manifest.crops.values())

    def features(self, collecting: bool) -> Features | None:
        """Return the model whose features of each sample are wanted: to choose keyframes by, or to fit on (`collecting`)."""
        keyframes = self.manifest.keyframes
        used = collecting or keyframes.of_whole_clips or self.model.itq is not None
        return self.model.features if used else None


def unusable(manifest: Manifest, given: frozenset[str] = GIVEN) -> str | None:
    """Return why no session can use a model: its kind, or a modality that no source gives; None: one can."""
    if not isinstance(manifest, Expression):
        return f"model {manifest.id!r} is a {manifest.kind}; a session needs one of kind expression"
    needs = sorted({crop.modality for crop in manifest.crops.values()})
    if set(needs) <= given:
        return None
    gives = " and ".join(sorted(given))
    return f"model {manifest.id!r} needs {', '.join(needs)} pictures and sources give {gives} only; choose a model of {gives} alone"
