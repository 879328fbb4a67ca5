"""Weights that mean something: small versions of the networks, trained in seconds on drawn clips.

Owns the recipes, the training and the cache (`.cache/trained`, named after what the weights depend on). `python -m tests.trained.train
[NAME]…` makes them and prints accuracies. Training is test equipment here: the product takes checkpoints from elsewhere.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

import exporters
from exporters import architecture
from exporters.architecture import Blueprint
from service.perception.flow import flow
from tests.trained.clips import CLASSES, VALENCE, Clips, drawn

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "trained"
TRAIN_SEED, TEST_SEED = 1, 2
TEST_CLIPS = 200


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network, its options, and how long it is trained: `steps` batches of `batch`, drawn from `clips` clips."""

    architecture: str
    options: Mapping[str, object] = field(default_factory=dict)
    steps: int = 200
    batch: int = 16
    clips: int = 800
    rate: float = 2e-3


RECIPES: Mapping[str, Recipe] = {
    "facial": Recipe("facial_3dcnn_convlstm", {"labels": CLASSES, "widths": (4, 8, 8), "hidden": 8}),
    "facial-branch": Recipe(
        "facial_3dcnn_convlstm",
        {"labels": CLASSES, "widths": (4, 8, 8), "hidden": 8, "fer_branch": True, "branch_widths": (4, 8, 16)},
    ),
    "gesture": Recipe("gesture_3dcnn_convlstm", {"labels": CLASSES, "width": 4, "hidden": 8}, steps=150, clips=400, batch=8),
    "overlap": Recipe("grayscale_overlap_cnn", {"labels": CLASSES, "width": 8, "hidden": 32}),
}


def weights(name: str) -> Path:
    """Return the safetensors file of a recipe's weights, training them if they are not in the cache."""
    path = CACHE / f"{name}-{_fingerprint(RECIPES[name])}.safetensors"
    if not path.exists():
        network = train(RECIPES[name]).network
        state = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        save_file(state, fresh)
        fresh.replace(path)
    return path


def blueprint_of(recipe: Recipe) -> Blueprint:
    """Build a recipe's network with random weights."""
    return architecture.find(recipe.architecture, 0, recipe.options)


def clips_for(blueprint: Blueprint, count: int, seed: int) -> Clips:
    """Draw clips of the length and size that a network takes."""
    frames, _, size, _ = blueprint.parts["full"].inputs[0].shape
    return drawn(count, frames, size, seed)


def inputs_for(blueprint: Blueprint, clips: Clips) -> dict[str, NDArray[np.generic]]:
    """Return a network's inputs by name for clips."""
    made: dict[str, NDArray[np.generic]] = {"depth": clips.depth, "thermal": clips.thermal}
    names = [tensor.name for tensor in blueprint.parts["full"].inputs]
    if "flow" in names:
        made["flow"] = np.stack([_flows(clip) for clip in clips.color])
    return {name: made.get(name, clips.color) for name in names}


def _flows(clip: NDArray[np.uint8]) -> NDArray[np.float32]:
    pairs = [flow(before, after) for before, after in itertools.pairwise(clip)]
    return np.stack([pairs[0], *pairs])


def train(recipe: Recipe) -> Blueprint:
    """Train a recipe's network."""
    blueprint = blueprint_of(recipe)
    network, part = blueprint.network.train(), blueprint.parts["full"]
    clips = clips_for(blueprint, recipe.clips, TRAIN_SEED)
    inputs = [torch.from_numpy(values) for values in inputs_for(blueprint, clips).values()]
    label, valence = torch.from_numpy(clips.label), torch.from_numpy(clips.valence)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.steps)
    order = torch.Generator().manual_seed(0)
    for _ in range(recipe.steps):
        rows = torch.randint(0, recipe.clips, (recipe.batch,), generator=order)
        said: Mapping[str, Tensor] = dict(zip(part.outputs, part.module(*(values[rows] for values in inputs)), strict=False))
        if "probabilities" in said:
            loss = functional.nll_loss(said["probabilities"].clamp(min=1e-9).log(), label[rows])
        else:
            loss = functional.mse_loss(said["valence"], valence[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()
    return blueprint


def classes(outputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.intp]:
    """Read a network's outputs as classes, (N,): the most probable, or the one whose valence is nearest."""
    if "probabilities" in outputs:
        return np.asarray(outputs["probabilities"], np.float64).argmax(1)
    return np.abs(np.asarray(outputs["valence"], np.float64) - np.array(VALENCE)).argmin(1)


def _fingerprint(recipe: Recipe) -> str:
    here, code = Path(__file__).parent, Path(str(exporters.__file__)).parent
    # Whatever the weights' shapes or values follow from; a change anywhere in a network trains anew.
    sources = sorted([here / "clips.py", *code.glob("*.py"), *code.glob("architectures/*.py")])
    digest = hashlib.sha256(repr((recipe, torch.__version__, CLASSES)).encode())
    for source in sources:
        if source.name in ("clips.py", "layers.py", "cells.py", f"{recipe.architecture}.py") or source.parent.name == "architectures":
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def main() -> None:
    """Train the recipes named (all if none is) and print how good they are on clips they have not seen."""
    for name in sys.argv[1:] or RECIPES:
        started = time.perf_counter()
        blueprint = train(RECIPES[name])
        clips = clips_for(blueprint, TEST_CLIPS, TEST_SEED)
        part = blueprint.parts["full"]
        with torch.no_grad():
            out = part.module(*(torch.from_numpy(values) for values in inputs_for(blueprint, clips).values()))
        said = {key: value.numpy() for key, value in zip(part.outputs, out, strict=False)}
        accuracy = float((classes(said) == clips.label).mean())
        print(f"{name}: accuracy {accuracy:.3f}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
