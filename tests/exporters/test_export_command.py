"""`mien-export` as a user runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.folder import open_folder
from engines.manifest import Expression
from exporters import __main__ as command
from exporters import shipped


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mien-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        said = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else int(code is not None)), said.out, said.err

    return run


def test_list_and_describe(export: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = export("list")
    assert code == 0
    assert "fer_small" in out
    assert "blazeface-back" in out
    code, out, _ = export("describe", "fer-small")
    assert code == 0
    assert "face uint8 (N, 3, 64, 64)" in out
    assert "l3.1.se.a.weight" in out
    code, _, err = export("describe", "fer_large")
    assert (code, err) == (1, "mien-export: no architecture 'fer_large'; there are: fer_small\n")


def test_onnx_from_a_checkpoint_makes_the_shipped_graph(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
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


def test_random_weights_are_marked_and_verified(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    out = tmp_path / "random"
    code, _, err = export("onnx", "fer-small", "--random-weights", 3, "--out", out)
    assert code == 0, err
    manifest = open_folder(out).manifest
    assert (manifest.weights.kind, manifest.weights.seed) == ("random", 3)
    assert "Random weights" in (out / "card.md").read_text()
    assert export("verify", out)[0] == 0


def test_verify_finds_what_was_changed(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
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


def test_itq_is_fitted_into_the_folder(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
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


def test_features_of_another_graph_are_refused(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    folder = tmp_path / "fer-small"
    shutil.copytree(shipped.shipped_folders() / "fer-small", folder)
    features = np.random.default_rng(0).standard_normal((100, 128)).astype(np.float32)
    np.savez(tmp_path / "w.npz", features=features, model=np.array("other"), feature_model=np.array("0" * 64))
    code, _, err = export("itq", tmp_path / "w.npz", "--model", folder)
    assert (code, err.count("\n")) == (1, 1)
    assert "were made by a graph" in err
    code, _, err = export("itq", tmp_path / "none.npz", "--model", folder)
    assert (code, err.count("\n")) == (1, 1)


def test_a_folder_that_is_no_model_is_not_replaced(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, err = export("onnx", "fer-small", "--checkpoint", shipped.committed_checkpoint(), "--out", tmp_path, "--id", "mine")
    assert code == 1
    assert "is not a model folder" in err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
