"""`mien-export` as a user runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.folder import open_folder
from engines.manifest import Expression
from exporters import __main__ as command
from exporters import architecture, checkpoint, shipped, sources
from tests.exporters.command_line import Export, export

__all__ = ["export"]


def test_list_and_describe(export: Export) -> None:
    code, out, _ = export("list")
    assert code == 0
    assert "architecture  fer_small" in out
    assert "shipped       blazeface-back" in out
    assert "a small residual network for one face, 8 expressions" in out
    code, out, _ = export("describe", "fer-small")
    assert code == 0
    assert "frame input   face uint8 (N, 3, 64, 64)" in out
    assert "frame output  features (N, 128)" in out
    assert "frame cost    0.0711 GMAC" in out  # what the exported graph's nodes add up to as well
    assert "labels    a,b,c  neutral,happy," in out
    assert "`labels`: names of the eight classes" in out
    assert "l3.1.se.a.weight" in out
    code, out, _ = export("describe", "facial-3dcnn-convlstm", "--option", "fer_branch=true")
    assert code == 0
    assert "window input   branch float32 (N, 8, 64, 16, 16)" in out
    assert "full tap     hidden (N, 16, 16, 16)" in out
    assert "true|false" in out
    code, _, err = export("describe", "fer_large")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("mien-export: no architecture 'fer_large'; there are: ")


def test_list_needs_no_torch() -> None:
    code = "import sys; from exporters.__main__ import app; app(['list'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_lost_where_a_folder_is_written_anew(export: Export, tmp_path: Path) -> None:
    asked = ("onnx", "frame-cnn", "--random-weights", 0, "--option", "widths=8,16", "--out")
    made, other = tmp_path / "made", tmp_path / "other"
    assert export(*asked, made)[0] == 0
    assert export(*asked, made)[0] == 0, "a model takes its own place"
    (made / "notes.txt").write_text("of mine")
    other.mkdir()
    (other / "thesis.tex").write_text("of mine")
    for place, said in ((made, "holds what its manifest does not name: notes.txt; move it"), (other, "is not a model folder")):
        code, _, err = export(*asked, place)
        assert code == 1
        assert said in err
        assert "exporting the frame graph" not in err, "said at once"
    assert (made / "notes.txt").exists()
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_what_describe_counts_is_what_the_graph_costs(export: Export, tmp_path: Path) -> None:
    code, _, err = export("onnx", "frame-cnn", "--random-weights", 0, "--option", "widths=8,16", "--out", tmp_path / "m")
    assert code == 0, err
    cost = open_folder(tmp_path / "m").manifest.cost.gmac_per_frame
    assert f"frame cost    {cost:.4f} GMAC" in export("describe", "frame-cnn", "--option", "widths=8,16")[1]


def foreign_checkpoint(directory: Path) -> tuple[Path, Path]:
    """fer_small's checkpoint as somebody else would name it, in a Lightning file, and the map back."""
    state = checkpoint.read(shipped.committed_checkpoint()).state
    renamed = {f"model.{name.replace('l1.0.', 'layer1.').replace('fc.', 'head.')}": value for name, value in state.items()}
    renamed["model.aux_loss.weight"] = torch.zeros(4)
    torch.save({"epoch": 3, "state_dict": renamed, "hyper_parameters": {"lr": 0.1}}, directory / "last.ckpt")
    lines = ['"l1.0.*" = "model.layer1.*"', '"fc.*" = "model.head.*"', '"*" = "model.*"', 'drop = ["model.aux_loss.*"]']
    (directory / "map.toml").write_text("\n".join(lines))
    return directory / "last.ckpt", directory / "map.toml"


def test_a_foreign_checkpoint_with_a_key_map_makes_the_shipped_graph(export: Export, tmp_path: Path) -> None:
    weights, keys = foreign_checkpoint(tmp_path)
    out = tmp_path / "mine"
    code, said, err = export("onnx", "fer-small", "--checkpoint", weights, "--key-map", keys, "--out", out)
    assert code == 0, err
    assert "map.toml: 3 lines" in said
    assert open_folder(out).read("frame.onnx") == open_folder(shipped.shipped_folders() / "fer-small").read("frame.onnx")
    assert "last.ckpt, keys by map.toml" in open_folder(out).manifest.weights.source
    assert "--checkpoint FILE --key-map FILE" in export("verify", out)[1]
    code, said, _ = export("verify", out, "--checkpoint", weights, "--key-map", keys)
    assert code == 0
    assert "ok            parity, measured" in said
    code, _, err = export("onnx", "fer-small", "--checkpoint", weights, "--out", out)
    assert code == 1
    assert "after 'model.' was taken off its keys:" in err
    assert "missing fc.weight (8, 128) (nearest: head.weight)" in err
    keys.write_text(keys.read_text().replace("layer1", "layer9"))
    code, _, err = export("onnx", "fer-small", "--checkpoint", weights, "--key-map", keys, "--out", out)
    assert (code, err.count("\n")) == (1, 1)
    assert "map.toml, line 1, 'l1.0.*': the checkpoint has no key 'model.layer9." in err


BRANCHED = ("--option", "fer_branch=true", "--option", "branch=fer-small")


def test_a_branch_comes_from_another_checkpoint(tmp_path: Path) -> None:
    blueprint = architecture.find("facial-3dcnn-convlstm", 0, {"fer_branch": True, "branch": "fer-small"})
    before = {name: value.clone() for name, value in blueprint.network.state_dict().items()}
    loaded = sources.load(blueprint, None, branch=shipped.committed_checkpoint())
    assert loaded.options == {"branch_sha256": shipped.FER_SMALL_SHA256}
    state, given = blueprint.network.state_dict(), checkpoint.read(shipped.committed_checkpoint()).state
    assert torch.equal(state["branch.stem.0.weight"], given["stem.0.weight"])
    rest = [name for name in state if not name.startswith("branch.")]
    assert rest
    assert all(torch.equal(state[name], before[name]) for name in rest)
    torch.save({name: value for name, value in before.items() if not name.startswith("branch.")}, tmp_path / "rest.pt")
    sources.load(blueprint, tmp_path / "rest.pt", branch=shipped.committed_checkpoint())
    with pytest.raises(checkpoint.CheckpointError, match=r"the network has no keys that begin with 'branch\.'"):
        sources.load(architecture.find("fer_small"), None, branch=shipped.committed_checkpoint())


@pytest.mark.proof
def test_a_branched_network_is_exported_and_verified(export: Export, tmp_path: Path) -> None:
    out, branch = tmp_path / "branched", ("--branch-checkpoint", shipped.committed_checkpoint())
    code, said, err = export("onnx", "facial-3dcnn-convlstm", *BRANCHED, "--random-weights", 0, *branch, "--out", out)
    assert code == 0, err
    assert "tensors of fer_small.safetensors" in said
    manifest = open_folder(out).manifest
    assert manifest.weights.kind == "random"
    assert "branch.* from fer_small.safetensors" in manifest.weights.source
    code, said, _ = export("verify", out)
    assert code == 0, said
    assert "ok            parity, measured" in said


def test_onnx_from_a_checkpoint_makes_the_shipped_graph(export: Export, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    code, said, _ = export("onnx", "fer-small", "--checkpoint", shipped.committed_checkpoint(), "--out", out)
    assert code == 0, said
    made = open_folder(out)
    assert made.read("frame.onnx") == open_folder(shipped.shipped_folders() / "fer-small").read("frame.onnx")
    assert made.manifest.id == "mine"
    assert made.manifest.licence.spdx == "NOASSERTION"
    code, said, _ = export("verify", out)
    assert code == 0, said
    code, said, err = export("onnx", "fer-small", "--checkpoint", shipped.committed_checkpoint(), "--out", out, "--labels", "a,b")
    assert (code, err.count("\n")) == (1, 1)
    assert "2 labels" in err


def test_random_weights_are_marked_and_verified(export: Export, tmp_path: Path) -> None:
    out = tmp_path / "random"
    code, _, err = export("onnx", "fer-small", "--random-weights", 3, "--out", out)
    assert code == 0, err
    manifest = open_folder(out).manifest
    assert (manifest.weights.kind, manifest.weights.seed) == ("random", 3)
    assert "Random weights" in (out / "card.md").read_text()
    assert export("verify", out)[0] == 0


def test_verify_finds_what_was_changed(export: Export, tmp_path: Path) -> None:
    broken = tmp_path / "fer-small"
    shutil.copytree(shipped.shipped_folders() / "fer-small", broken)
    (broken / "card.md").write_text("better than it is")
    code, out, _ = export("verify", broken)
    assert code == 1
    assert "FAILS" in out
    shutil.copy(shipped.shipped_folders() / "fer-small" / "card.md", broken / "card.md")
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["cost"]["gmac_per_frame"] = 0.01
    (broken / "manifest.json").write_text(json.dumps(manifest))
    code, out, _ = export("verify", broken)
    assert code == 1
    assert "FAILS         cost" in out


def test_itq_may_be_fitted_on_each_clip(export: Export, tmp_path: Path) -> None:
    small = ("--option", "width=2", "--option", "hidden=2")
    assert export("onnx", "grayscale-overlap-cnn", "--random-weights", 0, *small, "--out", tmp_path / "g")[0] == 0
    code, out, _ = export("itq", "--fit", "per-clip", "--model", tmp_path / "g", "--seed", 3)
    assert code == 0
    assert "codes are fitted on each clip when it has ended" in out
    manifest = open_folder(tmp_path / "g").manifest
    assert isinstance(manifest, Expression)
    assert (manifest.keyframes.fit, manifest.keyframes.file, manifest.keyframes.seed) == ("per-clip", None, 3)
    assert "itq is fitted on each clip by itself" in export("verify", tmp_path / "g")[1]
    code, _, err = export("itq", "--fit", "per-clip", "--model", shipped.shipped_folders() / "fer-small")
    assert code == 1
    assert "windows that roll on over a stream" in err
    for wrong in ((), (tmp_path / "w.npz", "--fit", "per-clip")):
        code, _, err = export("itq", *wrong, "--model", tmp_path / "g")
        assert code == 2
        assert "which needs none" in " ".join(err.replace("│", " ").split())


def test_itq_is_fitted_into_the_folder(export: Export, tmp_path: Path) -> None:
    folder = tmp_path / "fer-small"
    shutil.copytree(shipped.shipped_folders() / "fer-small", folder)
    graph = open_folder(folder).manifest.files["frame.onnx"]
    features = np.random.default_rng(0).standard_normal((100, 128)).astype(np.float32)
    np.savez(tmp_path / "w.npz", features=features, model=np.array("fer-small"), feature_model=np.array(graph))
    files = []
    for _ in range(2):
        code, out, err = export("itq", tmp_path / "w.npz", "--model", folder, "--seed", 5, "--bits", 8)
        assert code == 0, err
        assert "100 features, 8 bits" in out
        manifest = open_folder(folder).manifest
        assert isinstance(manifest, Expression)
        assert manifest.keyframes.file == "itq.npz"
        files.append(open_folder(folder).read("itq.npz"))
    assert files[0] == files[1]


def test_features_of_another_graph_are_refused(export: Export, tmp_path: Path) -> None:
    folder = tmp_path / "fer-small"
    shutil.copytree(shipped.shipped_folders() / "fer-small", folder)
    features = np.random.default_rng(0).standard_normal((100, 128)).astype(np.float32)
    np.savez(tmp_path / "w.npz", features=features, model=np.array("other"), feature_model=np.array("0" * 64))
    code, _, err = export("itq", tmp_path / "w.npz", "--model", folder)
    assert (code, err.count("\n")) == (1, 1)
    assert "were made by a graph" in err
    code, _, err = export("itq", tmp_path / "none.npz", "--model", folder)
    assert (code, err.count("\n")) == (1, 1)


def test_a_folder_that_is_no_model_is_not_replaced(export: Export, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, err = export("onnx", "fer-small", "--checkpoint", shipped.committed_checkpoint(), "--out", tmp_path, "--id", "mine")
    assert code == 1
    assert "is not a model folder" in err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_ctrl_c_is_no_fault_of_the_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # As torch's exporter has it: what it was doing falls over in its turn, and it reports that.
    def stopped() -> None:
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise AttributeError("no attribute 'exc'")
        except AttributeError as error:
            raise RuntimeError("Failed to export the model") from error

    monkeypatch.setattr(command, "app", stopped)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Aborted.\n"
    monkeypatch.setattr(command, "app", lambda: {}["none"])
    with pytest.raises(KeyError):
        command.main()
