"""`mien doctor`: answers about this machine that other tools confirm, and an exit code that a script can use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from engines.open import names
from service.cli import app

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def found(*arguments: object) -> dict[tuple[str, str], dict[str, str]]:
    result = doctor("--format", "json", *arguments)
    return {(one["topic"], one["name"]): one for one in json.loads(result.stdout)}


def test_what_it_says_is_so() -> None:
    here = found()
    assert {topic for topic, _ in here} == {"machine", "gpu", "libraries", "packages", "cameras", "runtimes", "models"}
    assert f"{len(os.sched_getaffinity(0))} cores" in here["machine", "processor"]["detail"]
    assert here["machine", "mien"]["detail"] == metadata.version("mien")
    assert {name for topic, name in here if topic == "runtimes"} == set(names())
    assert onnxruntime.__version__ in here["runtimes", "onnx"]["detail"]
    assert f"providers {', '.join(onnxruntime.get_available_providers())}" in here["runtimes", "onnx"]["detail"]
    assert here["models", "fer-small (chosen)"]["state"] == "ok"
    assert here["models", "blazeface-front (chosen)"]["state"] == "ok"
    assert here["models", "faceapi-expression"]["detail"].startswith("onnx:CPUExecutionProvider")
    if shutil.which("nvidia-smi") is None:
        assert here["gpu", "nvidia"]["state"] == "absent"


def test_an_absent_package_comes_with_its_command() -> None:
    absent = [one for (topic, _), one in found().items() if topic == "packages" and one["state"] == "absent"]
    assert absent
    for one in absent:
        assert f"pip install 'mien[{one['name']}]'" in one["detail"]


def test_a_table_for_people() -> None:
    result = doctor()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "fer-small (chosen)" in result.stdout


def test_what_is_asked_for_and_cannot_run_is_a_fault() -> None:
    result = doctor("--backend", "nothing")
    assert result.exit_code == 1
    assert "no engine backend 'nothing'; there are: auto, onnx" in result.stdout
    there = found("--model", "nobody")
    assert there["models", "nobody (chosen)"]["state"] == "fault"
    assert "no model 'nobody'" in there["models", "nobody (chosen)"]["detail"]
    assert there["models", "faceapi-expression"]["state"] == "ok"


def test_a_broken_folder_is_named_and_is_no_fault_unless_chosen(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "engines/models/fer-small", tmp_path / "mine")
    (tmp_path / "mine" / "frame.onnx").write_bytes(b"?")
    unchosen = tmp_path / "other"
    unchosen.mkdir()
    (unchosen / "manifest.json").write_text("{}")
    there = found("--models", tmp_path)
    assert there["models", "fer-small (chosen)"]["state"] == "fault"
    assert "frame.onnx" in there["models", "fer-small (chosen)"]["detail"]
    assert there["models", "other"]["state"] == "absent"


def test_a_server_is_asked_for_what_is_to_run_there() -> None:
    pytest.importorskip("tritonclient")
    # Faces are found in this process, so nobody has to serve a face finder.
    assert found()["runtimes", "triton"]["detail"].partition(":")[0] == "fer-small/frame"


def test_auto_says_why() -> None:
    assert "backend auto took " in found("--backend", "auto")["models", "fer-small (chosen)"]["detail"]


def test_a_model_is_opened_in_the_precision_that_the_service_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # onnx refuses bf16, and neither the face finder nor a frame graph that chooses keyframes is ever given it.
    monkeypatch.setenv("MIEN_ENGINE__PRECISION", "bf16")
    here = found()
    assert here["runtimes", "onnx"]["state"] == "ok"
    assert here["models", "blazeface-front (chosen)"]["detail"].startswith("onnx:CPUExecutionProvider")
    chosen = here["models", "fer-small (chosen)"]
    assert chosen["state"] == "ok"
    assert "frame in fp32, not bf16: its features choose keyframes" in chosen["detail"]


@pytest.mark.parametrize("apart", [True, False])
def test_an_extra_is_complete_with_the_package_that_is_installed_apart(tmp_path: Path, apart: bool) -> None:
    """`mien[mediapipe]` brings what MediaPipe imports; MediaPipe itself comes by a command of its own."""
    distributions = {"mien": "Requires-Dist: absl-py; extra == 'mediapipe'\n", "absl_py": ""} | ({"mediapipe": ""} if apart else {})
    for name, more in distributions.items():
        metadata = tmp_path / f"{name}-1.0.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n{more}")
    code = "from service.diagnostics.machine import packages; [print(one.state, one.detail, sep='|') for one in packages()]"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    alone = [sys.executable, "-S", "-c", code]  # without this environment's own distributions
    done = subprocess.run(alone, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    remedy = "pip install 'mien[mediapipe]' && pip install --no-deps mediapipe"
    assert done.stdout.strip() == ("ok|absl-py 1.0, mediapipe 1.0" if apart else f"absent|absl-py 1.0; mediapipe not installed: {remedy}")
