"""OpenVINO: what really runs is read back, a wish that cannot be met is an error, and nothing is reported to anybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.engine import EngineError, EngineOptions, SilentFallback
from engines.folder import Folder, open_folder
from engines.open import open_engine
from tests.engines.contract import SHIPPED, batch, here
from tests.engines.graphs import feature_manifest, scaled, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """y = x · (1, 2, 3)."""
    made = open_folder(write_folder(tmp_path / "tiny", feature_manifest(), {"full.onnx": scaled()}))
    here(made, EngineOptions("openvino"))
    return made


def test_threads_and_precision_are_read_back(folder: Folder) -> None:
    info = open_engine(folder, "full", EngineOptions("openvino", threads=2)).info
    assert (info.backend, info.threads) == ("openvino:CPU(fp32)", 2)
    assert open_engine(folder, "full", EngineOptions("openvino")).info.threads >= 1


def test_bf16_is_used_only_when_asked_for_and_said(folder: Folder) -> None:
    fer = open_folder(SHIPPED / "fer-small")
    here(fer, EngineOptions("openvino", precision="bf16"))
    rows = batch(fer.manifest.graphs["frame"], 2)
    exact, rounded = (open_engine(fer, "frame", EngineOptions("openvino", threads=1, precision=p)) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert (exact.info.backend, rounded.info.backend) == ("openvino:CPU(fp32)", "openvino:CPU(bf16)")
    assert np.abs(exact.run(rows)["features"] - rounded.run(rows)["features"]).max() > 1e-4, "it really rounds"


def test_a_device_that_is_not_there_is_an_error_unless_a_fallback_is_allowed(folder: Folder) -> None:
    with pytest.raises(SilentFallback, match=r"^tiny/full: asked for NOSUCH, which OpenVINO does not find here; it finds .*CPU"):
        open_engine(folder, "full", EngineOptions("openvino", providers=("NOSUCH",)))
    engine = open_engine(folder, "full", EngineOptions("openvino", providers=("NOSUCH", "CPU"), allow_fallback=True))
    assert engine.info.backend == "openvino:CPU(fp32)"
    np.testing.assert_array_equal(engine.run({"x": np.ones((2, 3), np.float32)})["y"], [[1, 2, 3]] * 2)


def test_onnx_runtime_refuses_a_precision_it_would_not_compute_in(folder: Folder) -> None:
    with pytest.raises(EngineError, match="tiny/full: onnx runs a graph in the precision it was exported in; for bf16 take"):
        open_engine(folder, "full", EngineOptions("onnx", precision="bf16"))


def test_its_telemetry_is_never_loaded(folder: Folder) -> None:
    """Its package reports every import to its vendor otherwise, before anybody is asked."""
    script = (
        "import sys, engines.backends.openvino\n"
        "print(sorted(name for name, module in sys.modules.items() if name.startswith('openvino_telemetry') and module is not None))\n"
        "print(sys.modules['openvino.tools.ovc.telemetry_utils'].tm.__name__)"
    )
    root = Path(__file__).resolve().parents[2]
    said = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["[]", "openvino.tools.ovc.telemetry_stub"]
