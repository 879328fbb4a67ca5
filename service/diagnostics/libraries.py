"""The packages mien cannot do without: is each there, does it load, and if not, what to do.

Owns which they are and who else may stand in OpenCV's folder. Nothing is imported here but in a child process. Does not own the
extras' packages (`machine.py` lists them), which runtimes open a graph (`models.py`), or the words of a remedy (`failed_import.py`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.diagnostics.apart import Question, answer, answers
from service.diagnostics.failed_import import line, remedy
from service.diagnostics.finding import Finding, State

TOPIC = "libraries"
LONGEST_S = 120.0
MODULES: Mapping[str, str | None] = {
    "av": "av",
    "django-admincharts": None,  # a file of it is served, nothing is imported
    "fastapi": "fastapi",
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "prometheus-client": "prometheus_client",
    "pydantic": "pydantic",
    "pydantic-settings": "pydantic_settings",
    "python-multipart": "python_multipart",
    "rich": "rich",
    "simplejpeg": "simplejpeg",
    "tomli": None if sys.version_info >= (3, 11) else "tomli",
    "typer": "typer",
    "typing-extensions": "typing_extensions",
    "uvicorn": "uvicorn",
    "websockets": "websockets",
}
"""Every distribution mien depends on, and what it is imported as."""
RUNTIME = "onnxruntime"
"""An extra brings it; nearly everybody has it, so it is tried too where it is installed."""
OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")


def libraries() -> Iterator[Finding]:
    """Import each in a child process, and look who owns OpenCV's folder."""
    yield from answers(__name__, {}, TOPIC, LONGEST_S)
    yield opencv([name for name in OPENCV if _version(name) is not None])


def opencv(installed: list[str]) -> Finding:
    """Say which distributions of OpenCV are installed: all of them install the folder `cv2`, and the last one wins."""
    detail = ", ".join(f"{name} {_version(name) or ''}".strip() for name in installed)
    if len(installed) < 2:
        return Finding(TOPIC, "opencv", "ok", detail or "no wheel; a cv2 of the system's, if any")
    others = " ".join(installed[1:])
    return Finding(
        TOPIC,
        "opencv",
        "warning",
        f"{detail} share the folder cv2, and removing one breaks the other: pip uninstall {others}, "
        f"pip install --force-reinstall --no-deps {installed[0]}",
    )


def main() -> None:
    """Answer in the child."""
    answer(_questions)


def _questions(job: Mapping[str, Any]) -> Iterable[Question]:
    requirements = _requirements()
    for name, module in MODULES.items():
        if module is not None:
            yield Question(TOPIC, module, "fault", partial(_tried, module, name, requirements.get(name, name)))
    if find_spec(RUNTIME) is not None:
        yield Question(TOPIC, RUNTIME, "warning", partial(_tried, RUNTIME, RUNTIME, RUNTIME))


def _tried(module: str, distribution: str, requirement: str) -> Finding:
    try:
        found = import_module(module)
    except Exception as error:  # while it is imported, a package may raise anything
        text = line(error)
        state: State = "warning" if module == RUNTIME else "fault"
        return Finding(TOPIC, module, state, f"{text}: {remedy(module, requirement, text, _not_found(module, text))}")
    version = _version(distribution) or getattr(found, "__version__", None)
    return Finding(TOPIC, module, "ok", str(version) if version else "")


def _not_found(module: str, text: str) -> list[str]:
    """Return every shared library that a package's binaries miss: the loader's error names only the first."""
    if "cannot open shared object file" not in text:
        return []
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return []
    missing: dict[str, None] = {}
    for binary in sorted(Path(spec.origin).parent.glob("*.so*"))[:20]:
        try:
            listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, timeout=20, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            break
        missing |= dict.fromkeys(re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE))
    return list(missing)


def _requirements() -> dict[str, str]:
    """Return what mien asks pip for, by distribution; empty where mien itself is not installed."""
    try:
        lines = metadata.requires("mien") or []
    except metadata.PackageNotFoundError:
        return {}
    bare = [text.partition(";")[0].strip() for text in lines if "extra ==" not in text]
    return {re.split(r"[\s<>=!~\[(]", text)[0]: text for text in bare}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
