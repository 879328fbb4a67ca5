"""FAULTS row 26: a plan that was tampered with, or is another's, is built again or passed over with a word; it is never deserialised."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.choice import Candidate, open_model
from engines.engine import BackendMissing, EngineError, EngineOptions
from engines.folder import Folder, open_folder
from engines.open import open_engine
from engines.plans import making, sdk
from engines.plans.cache import PlanCache
from engines.plans.making import Plan, plan_for
from tests.engines.graphs import expression_manifest, expressive, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder(write_folder(tmp_path / "moods", expression_manifest(), {"frame.onnx": expressive()}))


def plan(folder: Folder, directory: Path, device: str) -> Plan:
    try:
        kit = sdk.load(sdk.RTX)
    except BackendMissing as error:
        pytest.skip(str(error))
    data = folder.graph_bytes("frame")
    wanted = making.identity(data, sdk=kit.name, version=kit.version, capability="8.9", device=device, platform=sdk.here(), largest=4)
    graph = folder.manifest.graphs["frame"]
    return plan_for(PlanCache(directory), wanted, data, "moods/frame", graph, lambda _: None, sdk.RTX, ("SM89",))


def test_row_26_a_tampered_plan_is_built_again_and_said(folder: Folder, tmp_path: Path) -> None:
    plan(folder, tmp_path / "plans", "a card")
    (file,) = (tmp_path / "plans").glob("*.plan")
    spoilt = bytearray(file.read_bytes())
    spoilt[len(spoilt) // 2] ^= 0xFF
    file.write_bytes(spoilt)
    again = plan(folder, tmp_path / "plans", "a card")
    assert bytes(spoilt) != again.data
    assert "built" in again.note
    assert "it was changed: the plan's sha256 is" in again.note


def test_row_26_a_foreign_plan_is_built_again_and_said(folder: Folder, tmp_path: Path) -> None:
    """Another machine's cache, copied, its files renamed to what is looked for here."""
    plan(folder, tmp_path / "theirs", "their card")
    plan(folder, tmp_path / "ours", "our card")
    for suffix in (".plan", ".json"):
        (theirs,), (ours,) = ((tmp_path / name).glob(f"*{suffix}") for name in ("theirs", "ours"))
        shutil.copyfile(theirs, ours)
    again = plan(folder, tmp_path / "ours", "our card")
    assert "its passport is another's: device is their card, our card is wanted" in again.note


def test_row_26_where_there_can_be_no_plan_onnx_runs_with_a_word(folder: Folder, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    try:
        open_engine(folder, "frame", EngineOptions("tensorrt", plans=str(tmp_path / "plans"))).close()
        pytest.skip("TensorRT runs here")
    except EngineError as error:
        why = str(error)
    with caplog.at_level(logging.WARNING, "mien.engines"):
        try:
            engine = open_engine(folder, "frame", EngineOptions("tensorrt", allow_fallback=True, plans=str(tmp_path / "plans")))
        except BackendMissing as missing:
            pytest.skip(str(missing))
    assert engine.info.backend.startswith("onnx:")
    assert f"{why}; ONNX Runtime runs it instead" in caplog.text
    assert engine.run({"face": np.zeros((2, 3, 4, 4), np.uint8)})["probabilities"].shape == (2, 3)
    opened = open_model(folder, ("frame",), EngineOptions("auto"), order=(Candidate("tensorrt"), Candidate("onnx")))
    assert opened.why is not None
    assert f"passed over tensorrt: {why}" in opened.why
