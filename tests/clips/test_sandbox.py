"""What a decoding child can still do, tried from inside one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRY = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from service.clips import sandbox
said = {"offline": sandbox.confine(os.getppid(), 2**30)}
def tried(name, act):
    try:
        act()
        said[name] = "done"
    except BaseException as error:
        said[name] = type(error).__name__
def network():
    with socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=2): pass
def file():
    with open(sys.argv[3], "wb", buffering=0) as out: out.write(b"x")
def files(): said["files"] = len([os.open("/dev/null", os.O_RDONLY) for _ in range(1000)])
tried("network", network)
tried("memory", lambda: bytearray(2**31))
tried("many files", files)
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
os.closerange(3, 1024)
tried("file", file)
print(json.dumps(said))
"""


@pytest.fixture
def said(tmp_path: Path, checkout: Path) -> dict[str, Any]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = [str(checkout), str(listener.getsockname()[1]), str(tmp_path / "file")]
        run = subprocess.run([sys.executable, "-I", "-c", TRY, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_it_has_no_network_writes_nothing_and_is_bounded(said: dict[str, Any], tmp_path: Path) -> None:
    assert (said["memory"], said["many files"], said["file"]) == ("MemoryError", "OSError", "OSError")
    assert not (tmp_path / "file").exists() or (tmp_path / "file").stat().st_size == 0
    if not said["offline"]:
        assert os.getuid() != 0
        pytest.skip("this system gives unprivileged processes no network namespace")
    assert said["network"] == "OSError"
