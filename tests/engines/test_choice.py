"""Which runtime a model gets: the one asked for or an error, and with `auto` the first that really opens it, with the reasons."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from engines.choice import AUTO, ORDER, Candidate, open_model
from engines.engine import BackendMissing, EngineError, EngineOptions
from engines.folder import Folder, open_folder
from engines.open import EXTRAS
from tests.engines.graphs import expression_manifest, expressive, write_folder

CPU = Candidate("onnx", ("CPUExecutionProvider",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path: Path = tmp_path_factory.mktemp("models") / "moods"
    return open_folder(write_folder(path, expression_manifest(), {"frame.onnx": expressive()}))


def test_auto_opens_every_model_somehow(folder: Folder) -> None:
    opened = open_model(folder, ["frame"], EngineOptions(AUTO))
    assert opened.why is not None
    assert opened.why.startswith(f"backend auto took {opened.engines['frame'].info.backend}")
    assert opened.engines["frame"].run({"face": np.zeros((1, 3, 4, 4), np.uint8)}).keys() == {"features", "probabilities"}


def test_what_was_passed_over_is_said_with_its_reason(folder: Folder) -> None:
    order = (Candidate("nothing"), Candidate("onnx", ("NoSuchExecutionProvider",)), CPU)
    opened = open_model(folder, ["frame"], EngineOptions(AUTO), order)
    assert opened.engines["frame"].info.backend == "onnx:CPUExecutionProvider"
    assert opened.why is not None
    taken, _, passed = opened.why.partition("; passed over ")
    assert taken == "backend auto took onnx:CPUExecutionProvider"
    reasons = passed.split(" | ")
    assert [reason.partition(": ")[0] for reason in reasons] == ["nothing", "onnx:NoSuchExecutionProvider"]
    assert "no engine backend 'nothing'" in reasons[0]
    assert "NoSuchExecutionProvider" in reasons[1]


def test_where_none_works_all_reasons_are_given(folder: Folder) -> None:
    with pytest.raises(EngineError, match=r"moods: no runtime takes it: nothing: .* \| other: .*"):
        open_model(folder, ["frame"], EngineOptions(AUTO), (Candidate("nothing"), Candidate("other")))


def test_one_that_was_asked_for_is_never_replaced(folder: Folder) -> None:
    with pytest.raises(BackendMissing, match="no engine backend 'nothing'"):
        open_model(folder, ["frame"], EngineOptions("nothing"))
    assert open_model(folder, ["frame"], EngineOptions("onnx")).why is None


def test_providers_are_not_chosen_twice(folder: Folder) -> None:
    with pytest.raises(EngineError, match="leave them out, or ask for backend onnx"):
        open_model(folder, ["frame"], EngineOptions(AUTO, providers=("CPUExecutionProvider",)))


def test_the_order_names_backends_that_have_an_extra_and_one_that_runs_everywhere() -> None:
    assert {candidate.backend for candidate in ORDER} <= set(EXTRAS)
    assert CPU in ORDER


def test_what_asks_for_bfloat16_is_never_given_onnx(folder: Folder) -> None:
    taken = None
    with contextlib.suppress(EngineError):  # where no runtime has it
        taken = open_model(folder, ["frame"], EngineOptions(AUTO, precision="bf16")).engines["frame"].info.backend
    assert taken in (None, "openvino:CPU(bf16)")
