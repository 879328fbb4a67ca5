"""Reading checkpoints: what fits loads, what does not is named, and no pickle runs."""

from __future__ import annotations

import fractions
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters import checkpoint
from exporters.checkpoint import Checkpoint, CheckpointError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))


WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "model.", "net.module.", "_orig_mod.")


@pytest.mark.parametrize("wrapping", [None, *WRAPPERS])
@pytest.mark.parametrize("prefix", ["", *PREFIXES])
def test_plain_and_wrapped_files_load(tmp_path: Path, wrapping: str | None, prefix: str) -> None:
    source = network().state_dict()
    saved: dict[str, object] = {f"{prefix}{name}": value for name, value in source.items()}
    if wrapping is not None:
        saved = {wrapping: saved, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    torch.save(saved, tmp_path / "w.pt")
    target = network()
    assert checkpoint.fit(target, checkpoint.read(tmp_path / "w.pt")) == prefix
    assert all(torch.equal(value, source[name]) for name, value in target.state_dict().items())


def lightning(extra: object = None) -> dict[str, object]:
    """What Lightning writes, as far as it matters here."""
    state = {f"network.{name}": value for name, value in network().state_dict().items()}
    parameters = {"lr": 1e-3, "extra": extra}
    return {
        "epoch": 9, "global_step": 1200, "pytorch-lightning_version": "2.4.0", "state_dict": state, "loops": {"fit": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5)}}, "optimizer_states": [],
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": parameters,
    }  # fmt: skip


def test_lightning_files_load_and_those_with_classes_say_what_to_do(tmp_path: Path) -> None:
    torch.save(lightning(), tmp_path / "last.ckpt")
    assert checkpoint.fit(network(), checkpoint.read(tmp_path / "last.ckpt")) == "network."
    torch.save(lightning(extra=fractions.Fraction(1, 2)), tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError) as refused:
        checkpoint.read(tmp_path / "last.ckpt")
    said = str(refused.value)
    assert "it holds fractions.Fraction, which could run code" in said
    assert "torch.save(x['state_dict']" in said
    assert "\n" not in said


def test_a_pickled_network_says_what_to_do(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match=r"x\.state_dict\(\), 'weights\.pt'"):
        checkpoint.read(tmp_path / "whole.pt")


def test_beginnings_stay_where_keys_fit_and_where_they_do_not() -> None:
    wanted = {"a.w": (1,), "b.w": (1,)}
    assert checkpoint.beginning(["a.w", "b.w", "a.a.w", "a.b.w"], wanted) == ""
    assert checkpoint.beginning(["x.y"], wanted) == ""
    assert checkpoint.beginning(["ema.a.w", "ema.b.w", "criterion.w"], wanted) == "ema."
    state = {f"model.{name}": value for name, value in network().state_dict().items()} | {"criterion.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"after 'model\.' was taken off its keys:\n  left over criterion\.weight \(3,\)$"):
        checkpoint.fit(network(), Checkpoint(state, ""))


def test_lists_of_mismatches_are_cut(tmp_path: Path) -> None:
    extra = {f"other.{index}": torch.zeros(1) for index in range(50)}
    with pytest.raises(CheckpointError) as refused:
        checkpoint.fit(network(), Checkpoint({**network().state_dict(), **extra}, ""))
    lines = str(refused.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 30 more left over"


def test_renamed_tensors_are_found_by_shape() -> None:
    state = dict(network().state_dict())
    state["conv.weight"] = state.pop("0.weight")
    state["1.wait"] = torch.zeros(9)
    with pytest.raises(CheckpointError, match=r"missing 0\.weight \(2, 1, 3, 3\) \(nearest: conv\.weight\)"):
        checkpoint.fit(network(), Checkpoint(state, ""))


def test_a_branch_takes_what_it_has_from_a_larger_checkpoint() -> None:
    whole = nn.Module()
    whole.branch, whole.fc = network(), nn.Linear(2, 2)
    larger = {f"module.{name}": value + 1 for name, value in network().state_dict().items()} | {"module.fc.weight": torch.zeros(9, 9)}
    given = checkpoint.below(whole, "branch.", Checkpoint(larger, ""))
    assert set(given) == {f"branch.{name}" for name in network().state_dict() if "num_batches" not in name}
    rest = {name: value for name, value in whole.state_dict().items() if name.startswith("fc.")}
    assert checkpoint.fit(whole, Checkpoint(rest, ""), (), given) == ""
    assert torch.equal(whole.state_dict()["branch.0.weight"], larger["module.0.weight"])
    with pytest.raises(CheckpointError, match=r"the network has no keys that begin with 'branch\.'"):
        checkpoint.below(network(), "branch.", Checkpoint(larger, ""))
    with pytest.raises(CheckpointError, match=r"does not fit the network's branch\.\*:\n  missing 1\.bias"):
        checkpoint.below(whole, "branch.", Checkpoint({name: value for name, value in larger.items() if name != "module.1.bias"}, ""))


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
