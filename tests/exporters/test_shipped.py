"""The shipped folders are what their sources make, and all they claim holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from engines.folder import open_folder
from engines.manifest import Expression
from exporters import checkpoint, packages, shipped
from exporters.packages import BLAZEFACE, FACE_API, PackageError
from exporters.verify import verify

IDS = sorted(shipped.MODELS)


@pytest.mark.parametrize("identity", IDS)
def test_every_claim_holds(identity: str) -> None:
    found = verify(shipped.shipped_folders() / identity)
    assert [check for check in found if check.passed is False] == []
    passed = {check.name for check in found if check.passed}
    assert {"files", "graphs", "batch", "cost", "keyframes", "parity, recorded"} <= passed
    assert ("parity, measured" in passed) == (identity == "fer-small")
    assert open_folder(shipped.shipped_folders() / identity).manifest.batch.invariant


def test_fer_small_is_made_again_from_the_committed_checkpoint(tmp_path: Path) -> None:
    assert hashlib.sha256(shipped.committed_checkpoint().read_bytes()).hexdigest() == shipped.FER_SMALL_SHA256
    assert shipped.make("fer-small", tmp_path, shipped.Sources()) == ()
    _same_folder(tmp_path / "fer-small", "fer-small")


@pytest.mark.proof
@pytest.mark.parametrize("identity", [i for i in IDS if i != "fer-small"])
def test_the_others_are_made_again_from_their_packages(identity: str, tmp_path: Path) -> None:
    assert shipped.make(identity, tmp_path, shipped.Sources()) == ()
    _same_folder(tmp_path / identity, identity)


def _same_folder(made: Path, identity: str) -> None:
    """Every file the same bytes but the manifest, whose measured errors another CPU rounds otherwise."""
    kept, again = open_folder(shipped.shipped_folders() / identity), open_folder(made)
    assert again.files == kept.files
    loose = {"parity": ()}
    assert again.manifest.model_copy(update=loose) == kept.manifest.model_copy(update=loose)


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    loaded = checkpoint.read(shipped.committed_checkpoint())
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint.as_safetensors(loaded, ("fc.",)))
    with pytest.raises(shipped.SourceRefused, match=r"other\.safetensors has sha256"):
        shipped.make("fer-small", tmp_path / "out", shipped.Sources(checkpoint=other))
    assert not (tmp_path / "out").exists()


def test_another_file_in_a_package_s_place_is_refused(tmp_path: Path) -> None:
    for path in BLAZEFACE.files:
        (tmp_path / Path(path).name).write_bytes(b"something else")
    with pytest.raises(PackageError, match="not the pinned"):
        packages.load(BLAZEFACE, tmp_path)
    with pytest.raises(PackageError, match="has neither"):
        packages.load(FACE_API, tmp_path)


@pytest.mark.parametrize("identity", IDS)
def test_docs_and_card_name_the_model(identity: str, checkout: Path) -> None:
    manifest = open_folder(shipped.shipped_folders() / identity).manifest
    text = (checkout / "docs" / "models.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| `{identity}`"))
    assert f"{manifest.cost.gmac_per_frame:.3f}" in row
    assert manifest.licence.spdx in row
    if isinstance(manifest, Expression):
        assert f"{len(manifest.labels)} " in row
        assert manifest.affect is not None
        assert "1977" in manifest.affect.source
