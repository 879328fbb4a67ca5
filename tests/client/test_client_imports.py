"""What a client must have installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE_S

ABSENT = ("fastapi", "starlette", "uvicorn", "onnxruntime", "cv2", "av", "simplejpeg", "httpx", "pydantic_settings", "engines")
PROGRAM = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None  # importing it raises ImportError
from service.client import AsyncMien, Mien
from service.remote.pictures import encoded
from tests.waiting import PATIENCE_S
assert encoded(b"\\xff\\xd8...", "jpeg")
Mien(), AsyncMien()
"""


def test_the_client_needs_no_web_framework_no_engine_and_no_opencv(checkout: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=checkout, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
