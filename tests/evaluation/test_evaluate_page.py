"""docs/evaluate.md, its commands followed in their order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.proof
def test_the_pages_commands_do_what_it_says(checkout: Path, media: Path, tmp_path: Path) -> None:
    page = (checkout / "docs" / "evaluate.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(sh|csv)\n(.*?)```", page, re.DOTALL)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "media").symlink_to(media)
    (tmp_path / "engines").symlink_to(checkout / "engines")
    tools = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    tools |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(checkout)}
    printed = ""
    for kind, text in blocks:
        if kind == "csv":
            (tmp_path / "faces" / "clips.csv").write_text(text, encoding="utf-8")
            continue
        ran = subprocess.run(["bash", "-eu", "-c", text], cwd=tmp_path, env=tools, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
        printed += ran.stdout
    report = tmp_path / "faces-report"
    assert (report / "report.md").is_file()
    scored = json.loads((report / "result.json").read_text(encoding="utf-8"))
    assert scored["scores"]["clips"] == 4
    assert sorted(scored["folds"]) == ["ann", "ben", "cleo"]
    assert "valence" in json.loads((tmp_path / "traces.json").read_text(encoding="utf-8"))["post_processing"]
    assert "4 clips listed, 4 scored" in printed
    assert "note: no label sets: " in printed
    calibration = json.loads((tmp_path / "my-faces" / "manifest.json").read_text(encoding="utf-8"))["calibration"]
    assert calibration["runtime"] is True
    assert f"temperature {calibration['temperature']:.4f}, fitted on" in printed
