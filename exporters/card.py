"""The card of an exported model: what its manifest says, for a reader.

Owns the text. Does not own the facts: all of them stand in the manifest. A shipped model's card is written by hand instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from engines.manifest import CropSpec, Expression, Features, Manifest, Weights

_RANDOM = "**Random weights: what this model says means nothing.** It shows that the network runs and what it costs."


def card(manifest: Manifest) -> str:
    """Write a model's card, Markdown."""
    return "\n".join(
        [
            f"# {manifest.id}",
            "",
            f"{manifest.title}. Exported by mien-export.",
            "",
            *([_RANDOM, ""] if manifest.weights.kind == "random" else []),
            *(f"- {line}" for line in _facts(manifest)),
            "",
            *_parity(manifest),
        ]
    )


def _facts(manifest: Manifest) -> Iterable[str]:
    yield _weights(manifest.weights)
    yield "Accuracy: not measured by the exporter."
    if isinstance(manifest, Expression | Features):
        for name, crop in manifest.crops.items():
            yield f"Input `{name}`: {_crop(crop)}"
    if isinstance(manifest, Expression):
        if manifest.labels:
            yield f"Labels, in the network's order: {', '.join(manifest.labels)}"
        yield f"Outputs: {', '.join(f'{role} (`{name}`)' for role, name in manifest.outputs.items())}"
        window = manifest.window
        chosen = f", {window.frames} of {window.buffer} chosen: {manifest.keyframes.selector}" if window.buffer > window.frames else ""
        yield f"Window: {window.frames} frames, a result every {window.hop}{chosen}"
    for need in manifest.requires:
        yield f"Needs model `{need.id}` (its manifest's sha256 {need.sha256}) for its output `{need.output}`"
    cost = manifest.cost
    yield f"Cost: {cost.gmac_per_frame:.4f} GMAC per frame, {cost.gmac_per_window:.4f} per window"
    options = ", ".join(f"{key} = {value}" for key, value in manifest.options.items())
    if options:
        yield f"Options: {options}"


def _weights(weights: Weights) -> str:
    digest = f", sha256 {weights.sha256}" if weights.sha256 else ""
    return f"Weights: {weights.kind}, {weights.source}{digest}"


def _crop(crop: CropSpec) -> str:
    size = " × ".join(map(str, crop.size))
    what = "optical flow" if crop.content == "flow" else crop.modality
    return f"{what}, {crop.kind}, {size}, scale {crop.scale:g}, aligned by {crop.align}"


def _parity(manifest: Manifest) -> Iterable[str]:
    if not manifest.parity:
        return
    yield "| tensor | held against | largest error | allowed | spread |"
    yield "|---|---|---|---|---|"
    for one in manifest.parity:
        yield f"| {one.tensor} | {one.reference} | {one.max_abs_error:.1e} | {one.tolerance:.1e} | {one.spread:.2g} |"
    yield ""
