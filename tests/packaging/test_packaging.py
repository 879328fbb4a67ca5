"""What is shipped is whole: sdist → wheel → a clean environment outside the checkout, on every Python we promise."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.packaging.wheels import PYTHONS, build, project, run

PACKAGES = {"capture", "engines", "exporters", "service"}


def test_the_wheel_holds_the_four_packages_and_all_their_files(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(checkout, tmp_path, "--wheel")) as archive:
        names = set(archive.namelist())
    top = {name.split("/", 1)[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert len(top) == len(PACKAGES) + 1
    wanted = {
        str(path.relative_to(checkout))
        for package in PACKAGES
        for path in (checkout / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "checkpoints" not in path.parts
    }
    assert wanted - names == set(), "files of the packages that the wheel lacks"
    assert not [name for name in names if name.endswith((".pyc", ".pt", ".safetensors", ".plan"))]


def test_extras_that_share_a_folder_or_pull_gigabytes_are_pinned_apart(checkout: Path) -> None:
    extras = project(checkout)["optional-dependencies"]
    assert isinstance(extras, dict)
    names = {extra: {Requirement(line).name for line in lines} for extra, lines in extras.items()}
    assert [e for e, found in names.items() if "onnxruntime" in found] == ["cpu"]
    assert [e for e, found in names.items() if "onnxruntime-gpu" in found] == ["gpu"]
    assert [e for e, found in names.items() if "torch" in found] == ["export"]
    assert [str(r.specifier) for r in map(Requirement, extras["export"]) if r.name == "torch"] == [">=2.6"], "a user's own torch must do"


def test_no_extra_brings_an_opencv_with_windows(checkout: Path) -> None:
    """All of OpenCV's distributions install the folder cv2; the ones with windows want libGL and libxcb, which servers lack."""
    table = project(checkout)
    extras, dependencies = table["optional-dependencies"], table["dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(dependencies, list)
    names = {Requirement(line).name for lines in (dependencies, *extras.values()) for line in lines}
    assert {name for name in names if "opencv" in name} == {"opencv-python-headless"}
    assert "mediapipe" not in names, "MediaPipe requires opencv-contrib-python: it is installed with --no-deps"


def test_the_promised_pythons_are_those_tested(checkout: Path) -> None:
    table = project(checkout)
    assert isinstance(table["classifiers"], list)
    promised = [line.rsplit(" ", 1)[1] for line in table["classifiers"] if line.startswith("Programming Language :: Python :: 3.")]
    assert tuple(promised) == PYTHONS
    allowed = SpecifierSet(str(table["requires-python"]))
    assert [minor for minor in range(8, 15) if f"3.{minor}.0" in allowed] == [int(v.split(".")[1]) for v in PYTHONS]


@pytest.mark.proof
def test_the_wheel_works_in_an_environment_outside_the_checkout(wheel: Path, checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are lent by the running environment; a path file's own path files are not read, so an editable mien stays out.
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    code = f"import importlib; [print(importlib.import_module(name).__file__) for name in {sorted(PACKAGES)}]"
    places = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert all(Path(place).is_relative_to(site) for place in places), places
    for script in ("mien", "mien-export"):
        printed = run(home / "bin" / script, "--help", cwd=tmp_path)
        assert "Usage" in printed
        assert str(checkout) not in printed


def interpreter(version: str) -> str | None:
    """Return a working interpreter of that version: the running one, one on the path, or one of pyenv's."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv)):
        probe = ["-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"]
        if candidate and subprocess.run([candidate, *probe], capture_output=True, text=True, check=False).stdout.strip() == version:
            return candidate
    return None


@pytest.mark.proof
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_installs_and_analyses_a_clip(version: str, wheel: Path, media: Path, tmp_path: Path) -> None:
    found = interpreter(version)
    if found is None:  # then at least every dependency must have a release for it
        wanted = ["install", "--dry-run", "--quiet", "--ignore-installed", "--only-binary=:all:", "--python-version", version]
        run(sys.executable, "-m", "pip", *wanted, "--target", tmp_path / "none", f"{wheel}[cpu]", cwd=tmp_path, timeout_s=600)
        return
    home = tmp_path / "venv"
    run(found, "-m", "venv", home, cwd=tmp_path)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cpu]", cwd=tmp_path, timeout_s=600)
    run(home / "bin" / "python", "-m", "pip", "check", cwd=tmp_path)
    clip, out = media / "single_face.mp4", tmp_path / "events.ndjson"
    run(home / "bin" / "mien", "analyze", clip, "--format", "ndjson", "-o", out, cwd=tmp_path, timeout_s=300)
    assert '"happy"' in out.read_text(encoding="utf-8")
