"""FAULTS rows 1, 2 and 12 on the command line: one line that names the fault, and an exit code that is not 0."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S


def _mien(*arguments: str | Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "service.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


def _one_line(stderr: str) -> str:
    (line,) = stderr.splitlines()
    assert line.startswith("mien: error: ")
    return line


def test_row_01_a_clip_of_no_bytes(tmp_path: Path) -> None:
    clip = tmp_path / "empty.mp4"
    clip.touch()
    code, out, err = _mien("analyze", clip)
    assert (code, out) == (1, "")
    assert "empty-clip" in _one_line(err)
    assert "empty.mp4" in err


def test_row_02_an_mp4_without_its_index(tmp_path: Path, media: Path) -> None:
    whole = (media / "single_face.mp4").read_bytes()
    clip = tmp_path / "cut.mp4"
    # From a front-loaded file everything after the index goes; from others the index itself: cut before it either way.
    clip.write_bytes(whole[: whole.index(b"moov") - 4])
    code, out, err = _mien("analyze", clip)
    assert (code, out) == (1, "")
    assert "clip-unreadable" in _one_line(err)


@pytest.mark.parametrize("name", ["../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "fer-small/../fer-small", "FER-SMALL"])
def test_row_12_a_model_name_never_becomes_a_path(name: str, media: Path) -> None:
    code, out, err = _mien("analyze", media / "single_face.jpg", "--model", name)
    assert (code, out) == (2, "")
    line = _one_line(err)
    assert "fer-small" in line, "it lists what there is"
    assert "passwd" not in line or name in line
