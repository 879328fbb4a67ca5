"""The code in README.md and docs/client.md runs as printed, but for the port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media import ensure
from tests.served.server import served
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SAYS = {"README.md": ("happy", "happy"), "docs/client.md": ("received=72", "front", "happy", "happy")}
"""What the python blocks of a file must print. Of policy `latest` the count: which frames are used depends on the machine."""


CAMERAS = {("docs/client.md", 1)}
"""The blocks that read the server's own cameras."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server without cameras: with them a busy machine is behind, and refuses new sessions as it should."""
    with served(environment={"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}) as port:
        yield port


@pytest.fixture(scope="module")
def port_with_cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    state = {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    clip = ensure() / "single_face.mp4"
    # At a pace that a busy machine keeps up with: one that is behind with its cameras refuses sessions.
    demo = f"demo=virtual:color?clip={clip}&faces={ROOT / 'deploy' / 'rigs' / 'single_face.mp4.faces.json'}&fps=5"
    with served("--camera", "front=synthetic:?fps=5", "--camera", demo, environment=state) as port:
        yield port


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_block_is_run() -> None:
    assert {name: len(blocks(name)) for name in SAYS} == {name: len(says) for name, says in SAYS.items()}


def test_the_readmes_are_of_ten_lines() -> None:
    assert [len(block.splitlines()) for block in blocks("README.md")] == [10, 10]


@pytest.mark.parametrize(("name", "number"), [(name, number) for name, says in SAYS.items() for number in range(len(says))])
def test_a_block_runs(name: str, number: int, request: pytest.FixtureRequest, media: Path, tmp_path: Path) -> None:
    port = request.getfixturevalue("port_with_cameras" if (name, number) in CAMERAS else "port")
    shutil.copy(media / "single_face.mp4", tmp_path / "clip.mp4")
    program = blocks(name)[number]
    assert "127.0.0.1:8765" in program
    command = [sys.executable, "-W", "error", "-c", program.replace("127.0.0.1:8765", f"127.0.0.1:{port}")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert SAYS[name][number] in done.stdout


def test_the_readmes_stream_goes_on_until_it_is_stopped(port_with_cameras: int) -> None:
    (program,) = re.findall(r"^```py\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-u", "-W", "error", "-c", program.replace("127.0.0.1:8765", f"127.0.0.1:{port_with_cameras}")]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        frame, label = running.stdout.readline().split()
        running.kill()
    assert int(frame) > 0
    assert label.isalpha()
