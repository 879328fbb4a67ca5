"""Trained networks in half precision and eight bits: their labels are those of float32, and right.

By the command line, as a user would: checkpoint and samples in, folder or refusal out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.folder import open_folder
from engines.manifest import Expression, Part, Weights
from engines.results import results
from engines.samples import Rows
from engines.wiring import run_parts
from exporters import checkpoint, precision, reduced
from exporters.export import write as write_folder
from exporters.reduced import Precision
from tests.exporters.command_line import Export, export
from tests.trained.clips import CLASSES
from tests.trained.train import RECIPES, TEST_CLIPS, TEST_SEED, blueprint_of, classes, clips_for, inputs_for, weights

__all__ = ["export"]
pytestmark = pytest.mark.proof
CALIBRATION_SEED = 3


def written(path: Path, rows: Rows) -> Path:
    """Clips as `mien windows --inputs` writes them: one track each, sample by sample."""
    count, length = next(iter(rows.values())).shape[:2]
    named = {name if len(rows) > 1 else "": values.reshape(-1, *values.shape[2:]) for name, values in rows.items()}
    arrays = {f"inputs.{name}".removesuffix("."): values for name, values in named.items()}
    np.savez(path, clip=np.repeat(np.arange(count), length), track=np.zeros(count * length, int), **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module", params=sorted(RECIPES))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Rows, np.ndarray]:
    """A trained network's fp32 folder, samples to measure on, clips it has not seen and their classes."""
    blueprint = blueprint_of(RECIPES[request.param])
    read = checkpoint.read(weights(request.param))
    checkpoint.fit(blueprint.network, read)
    directory = tmp_path_factory.mktemp(request.param)
    write_folder(directory / "net", blueprint, "net", Weights(kind="checkpoint", source="trained", sha256=read.sha256), None)
    samples = written(directory / "W.npz", inputs_for(blueprint, clips_for(blueprint, TEST_CLIPS, CALIBRATION_SEED)))
    clips = clips_for(blueprint, TEST_CLIPS, TEST_SEED)
    return directory / "net", samples, inputs_for(blueprint, clips), clips.label


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_labels_agree_with_fp32(trained: tuple[Path, Path, Rows, np.ndarray], kind: Precision, tmp_path: Path) -> None:
    net, samples, unseen, labels = trained
    # For a GPU, so that this processor's speed decides nothing.
    made = precision.write(tmp_path / kind, net, precision.Wish(kind, target="tensorrt", samples=samples))
    assert made.reduced is not None
    print(f"{net.parent.name}: {kind}: {precision.figures(made)}")
    assert made.reduced.agreement >= precision.AGREEMENT[kind]
    # And on clips that it was not calibrated on.
    said = [answers(folder, unseen, half=folder.name == "fp16") for folder in (net, tmp_path / kind)]
    assert (said[0] == said[1]).mean() >= precision.AGREEMENT[kind]
    assert (said[1] == labels).mean() >= 0.9 - (1 - precision.AGREEMENT[kind])
    assert len(CLASSES) == len(set(labels.tolist()))


def answers(path: Path, rows: Rows, half: bool) -> np.ndarray:
    folder = open_folder(path)
    manifest = folder.manifest
    assert isinstance(manifest, Expression)
    graphs: dict[Part, bytes] = {part: folder.graph_bytes(part) for part in run_parts(manifest.graphs)}
    runs = {part: precision.rounding(data) for part, data in graphs.items()} if half else reduced.sessions(graphs)
    return classes(results(runs, manifest, rows))


def test_from_checkpoint_and_samples_in_one_command(export: Export, tmp_path: Path) -> None:
    """`mien-export onnx … --precision int8`, its folder verified."""
    recipe, read = RECIPES["facial"], weights("facial")
    blueprint = blueprint_of(recipe)
    samples = written(tmp_path / "W.npz", inputs_for(blueprint, clips_for(blueprint, 60, CALIBRATION_SEED)))
    options = [
        ("--option", f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}") for key, value in recipe.options.items()
    ]
    said = ("onnx", recipe.architecture, "--checkpoint", read, *(word for pair in options for word in pair), "--samples", samples)
    code, out, error = export(*said, "--out", tmp_path / "moods", "--precision", "int8", "--target", "tensorrt")
    assert code == 0, error
    assert "int8: agreement 100.0% of 60 windows of samples" in out
    made = open_folder(tmp_path / "moods").manifest
    assert (made.id, made.precision, made.weights.source) == ("moods", "int8", read.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["W.npz", "moods"], "the fp32 folder was made beside it and is gone"
    code, out, _ = export("verify", tmp_path / "moods")
    assert code == 0, out
    assert "parity, measured: needs the folder that it was made from: --fp32 DIR" in out
