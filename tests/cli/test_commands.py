"""The other commands: models, config, serve's refusals, and that `--help` stays quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.config import load

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("analyze", "windows", "models", "config", "serve")


def mien(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_models_are_listed_with_what_one_must_know() -> None:
    result = mien("models")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[2:] if line.strip()}
    assert rows.keys() >= {"fer-small", "faceapi-expression", "blazeface-front", "blazeface-back"}
    assert rows["blazeface-front"].split()[1] == "detector"
    assert rows["fer-small"].split()[1] == "expression"
    assert not rows["fer-small"].rstrip().endswith(" -"), "fer-small's card needs a line 'Accuracy: …'"


def test_a_card_is_shown() -> None:
    result = mien("models", "fer-small")
    assert result.exit_code == 0
    assert result.stdout.strip() == (ROOT / "engines/models/fer-small/card.md").read_text(encoding="utf-8").strip()
    assert mien("models", "../fer-small").exit_code == 2


def test_config_prints_what_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mien.toml"
    file.write_text("[server]\nport = 9\n[cameras]\ndoor = 'webcam:0'\n", encoding="utf-8")
    monkeypatch.setenv("MIEN_SESSION__FACES", "3")
    result = mien("config", "--config", file)
    assert (result.exit_code, result.stderr) == (0, "")
    file.write_text(result.stdout, encoding="utf-8")
    monkeypatch.delenv("MIEN_SESSION__FACES")
    printed = load(file)
    assert (printed.server.port, printed.session.faces, printed.cameras) == (9, 3, {"door": "webcam:0"})
    assert mien("config", "--config", file).stdout == result.stdout


def test_the_page_of_keys_is_printed() -> None:
    assert mien("config", "--markdown").stdout == (ROOT / "docs/configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), ("server.host = '0.0.0.0'", "command line", "authentication")),
        (("--port", "70000"), ("server.port = 70000", "65535")),
        (("--camera", "door"), ("NAME=URI",)),
        (("--camera", "door=webcam:0", "--camera", "door=webcam:1"), ("door is given twice",)),
    ],
)
def test_serve_refuses_in_one_line(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    result = mien("serve", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert [word for word in words if word not in result.stderr] == []


def test_an_unknown_variable_stops_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_SREVER__PORT", "1")
    for arguments in (("config",), ("models",), ("serve",), ("analyze", "x.mp4"), ("windows", "x.mp4", "-o", "w.npz")):
        result = mien(*arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert "MIEN_SREVER__PORT" in result.stderr


def test_help_loads_no_runtime() -> None:
    heavy = ("onnxruntime", "cv2", "av", "fastapi", "pydantic", "numpy")
    code = f"import sys, service.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"
    for command in COMMANDS:
        assert mien(command, "--help").exit_code == 0
