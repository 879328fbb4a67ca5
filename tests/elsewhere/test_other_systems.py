"""Nothing that only Linux has is needed for `analyze`, pushed streams, uploaded clips and the page.

Emulated (`emulation.py`): no Mac was there to run it on.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest

from service.client import Mien, Result
from tests.served.server import served
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("no_variables")

ROOT = Path(__file__).resolve().parents[2]
EMULATION = Path(__file__).parent / "emulation.py"


@pytest.fixture(scope="module", params=["macos", "without-fcntl-and-resource"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an interpreter that sees another system, also when it is started without a user's environment, as clip decoders are."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = next((home / "lib").glob("python*/site-packages"))
    text = EMULATION.read_text(encoding="utf-8")
    if request.param != "macos":
        assert "\nNO_MODULES = False\n" in text
        text = text.replace("\nNO_MODULES = False\n", "\nNO_MODULES = True\n")
    (site / "another_system.py").write_text(text, encoding="utf-8")
    (site / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\nimport another_system\n", encoding="utf-8")
    return home / "bin" / "python"


def ran(python: Path, *arguments: object) -> str:
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_other_system_is_one(python: Path) -> None:
    code = (
        "import ctypes, os, sys; print(sys.platform, hasattr(os, 'fdatasync'), hasattr(ctypes.CDLL(None), 'prctl'), "
        "hasattr(ctypes.CDLL(None), 'getpid'), os.path.exists('/proc/self'))"
    )
    assert ran(python, "-I", "-c", code) == "darwin False False True False\n"


ANALYZE = ("-m", "service", "analyze", "--format", "ndjson")


@pytest.fixture(scope="module")
def analysed_here(media: Path) -> str:
    return ran(Path(sys.executable), *ANALYZE, media / "single_face.mp4")


def test_analyze_says_the_same(python: Path, media: Path, analysed_here: str) -> None:
    there = ran(python, *ANALYZE, media / "single_face.mp4")
    assert '"happy"' in there
    assert there == analysed_here


def test_pushed_streams_the_page_and_clips_are_served(python: Path, media: Path, tmp_path: Path) -> None:
    with served(environment={"XDG_STATE_HOME": str(tmp_path)}, python=str(python)) as port:
        at = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{at}/", timeout=PATIENCE_S) as page:
            assert b"<!doctype html>" in page.read().lower()
        picture = (media / "single_face.jpg").read_bytes()
        with Mien(at).live(policy="all") as live:
            answers = [one for one in live.run([picture] * 3) if isinstance(one, Result)]
        assert [len(one.faces) for one in answers] == [1, 1, 1]
        result = Mien(at).analyze(media / "single_face.mp4")
        assert [track.label for track in result.clip_prediction] == ["happy"]


def test_a_child_ends_with_its_parent(python: Path) -> None:
    child = (
        "import os, time; from capture.operating_system import end_with\n"
        "end_with(os.getppid()); print('watched', flush=True); time.sleep(60); print('outlived')"
    )
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    with subprocess.Popen([str(python), "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watched\n"
        process.kill()
        # The child holds the other end of this pipe: it ends when the child does.
        assert process.stdout.read() == ""


def test_what_is_not_there_is_said(python: Path) -> None:
    code = (
        "import os, tempfile; from capture import operating_system as system\n"
        "with tempfile.TemporaryFile() as file:\n"
        "    file.write(b'x'); system.sync_data(file.fileno()); held = system.hold(file.fileno())\n"
        "print(held, system.limit('AS', 2**30), system.limit('CORE', 0), system.drop_network(), system.cores() == os.cpu_count())"
    )
    modules = ran(python, "-c", "import importlib.util, sys; print(sys.modules.get('fcntl', 0) is not None)") == "True\n"
    assert ran(python, "-c", code) == (f"{modules} False {modules} False True\n")


def test_one_module_uses_what_not_every_system_has() -> None:
    modules = {"fcntl", "resource", "termios", "pty", "grp", "pwd"}
    # The emulation has the list; importing it would change this process.
    listed = "".join(re.findall(r"LINUX_ONLY = \{.*?^\}|LIBC_ONLY = .*?$", EMULATION.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    names = set(re.findall(r"\w+", listed)) - {"os", "select", "socket", "resource"}
    assert {"fdatasync", "epoll", "prctl"} <= names
    found = set()
    for package in ("capture", "engines", "exporters", "service"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                imported = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                used = {node.attr} & names if isinstance(node, ast.Attribute) else set()
                if used or modules.intersection(imported):
                    found.add(str(path.relative_to(ROOT)))
    assert found == {"capture/operating_system.py"}
