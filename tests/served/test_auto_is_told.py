"""`mien serve --backend auto` says on its own output what it took, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_what_auto_took_is_told_where_the_address_is(checkout: Path) -> None:
    command = [sys.executable, "-m", "service.cli", "serve", "--backend", "auto", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")} | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline().startswith("mien listens on http://127.0.0.1:")
            told = server.stdout.readline()
        finally:
            server.terminate()
    assert told.startswith("fer-small: backend auto took ")
    assert server.returncode == 0
