"""Reading checkpoints: what fits loads, what does not is named, and no pickle runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters import checkpoint
from exporters.checkpoint import Checkpoint, CheckpointError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))


@pytest.mark.parametrize("wrapping", [None, "state_dict", "model", "module."])
def test_plain_and_wrapped_files_load(tmp_path: Path, wrapping: str | None) -> None:
    source = network().state_dict()
    saved: dict[str, object] = dict(source)
    if wrapping == "module.":
        saved = {f"module.{name}": value for name, value in source.items()}
    elif wrapping is not None:
        saved = {wrapping: dict(source), "epoch": torch.tensor(3)}
    torch.save(saved, tmp_path / "w.pt")
    target = network()
    checkpoint.fit(target, checkpoint.read(tmp_path / "w.pt"))
    assert all(torch.equal(value, source[name]) for name, value in target.state_dict().items())


def test_safetensors_is_the_same_bytes_and_drops_what_only_training_used(tmp_path: Path) -> None:
    state = {**network().state_dict(), "aux.weight": torch.zeros(3)}
    data = checkpoint.as_safetensors(Checkpoint(state, ""), ("aux.",))
    assert data == checkpoint.as_safetensors(Checkpoint(dict(reversed(state.items())), ""), ("aux.",))
    (tmp_path / "w.safetensors").write_bytes(data)
    loaded = checkpoint.read(tmp_path / "w.safetensors")
    assert set(loaded.state) == {name for name in network().state_dict() if "num_batches" not in name}
    checkpoint.fit(network(), loaded)


def test_mismatches_are_all_named_with_the_nearest_key() -> None:
    state = dict(network().state_dict())
    state["0.weigth"] = state.pop("0.weight")
    state["1.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.fit(network(), Checkpoint(state, ""))
    said = str(refused.value)
    assert "missing 0.weight (2, 1, 3, 3) (nearest: 0.weigth)" in said
    assert "left over 0.weigth" in said
    assert "wrong shape 1.bias: (5,), not (2,)" in said


class Payload:
    """What a hostile pickle would do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": Payload()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="tensors alone"):
        checkpoint.read(tmp_path / "w.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_rubbish_and_missing_files_are_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        checkpoint.read(tmp_path / name)
    (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"w\."):
        checkpoint.read(tmp_path / name)
