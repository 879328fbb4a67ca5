"""docs/exporting.md, section 1, followed word for word: a foreign checkpoint, a key map, labels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exporting.md"


def blocks() -> list[tuple[str, str]]:
    return re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.proof
def test_from_a_foreign_checkpoint_to_a_label(tmp_path: Path, media: Path) -> None:
    texts = {kind: text for kind, text in blocks() if kind}
    (tmp_path / "foreign.py").write_text(texts["python"], encoding="utf-8")
    (tmp_path / "map.toml").write_text(texts["toml"], encoding="utf-8")
    shutil.copy(media / "single_face.mp4", tmp_path / "clip.mp4")
    (commands,) = [text for kind, text in blocks() if not kind and "foreign.py" in text]
    lines = commands.replace("\\\n", " ").splitlines()
    assert lines.pop().startswith("mien serve ")  # tests/served has servers and cameras enough
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in lines:
        ran = subprocess.run(line.split(), cwd=tmp_path, env=tools, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    row = ran.stdout.splitlines()[-1] if ran.stdout.splitlines()[-1].strip() else ran.stdout.splitlines()[-2]
    assert row.split()[1] in {"neutral", "surprise", "happy", "disgust", "sad", "fear", "anger"}
