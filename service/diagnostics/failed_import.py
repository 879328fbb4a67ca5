"""A package of others that cannot be imported: which one, why, and what to do about it.

Owns the words. Uses the standard library alone, for it speaks where nothing else can be imported. Does not try any import
(`libraries.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

OURS = ("capture", "engines", "exporters", "service")
_ROOT = Path(__file__).resolve().parents[2]
_SHARED = re.compile(r"(lib[\w+.-]+\.so[.\d]*)")
DEBIAN = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLESv2.so.2": "libgles2",
    "libICE.so.6": "libice6",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libstdc++.so.6": "libstdc++6",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libxcb.so.1": "libxcb1",
    "libz.so.1": "zlib1g",
}
"""Shared libraries that wheels expect of the system, and the Debian and Ubuntu package of each."""
_HEADLESS = "pip uninstall opencv-python opencv-contrib-python, pip install opencv-python-headless"
_DRAWING = {"libegl1", "libgl1", "libgles2", "libglib2.0-0", "libice6", "libsm6", "libx11-6", "libxcb1", "libxext6", "libxrender1"}


def line(error: BaseException) -> str:
    """Return an error as one line: its kind and its text, that of the first cause where one was wrapped into another."""
    first = error
    # numpy and OpenCV wrap the loader's own words into a page of advice.
    while isinstance(first.__cause__, (ImportError, OSError)):
        first = first.__cause__
    text = " ".join(str(first).split())
    return f"{type(first).__name__}: {text[:400]}" if text else type(first).__name__


def of_others(error: BaseException) -> str | None:
    """Return the name of the package of others whose import has failed; None if `error` is something else.

    A wheel built for another processor raises whatever it likes while it is imported, not only ImportError.
    """
    frames = list(_frames(error.__traceback__))
    ours = [place for place, (file, _, _) in enumerate(frames) if _ours(file)]
    beyond = frames[ours[-1] + 1 :] if ours else frames
    outside = [module for file, code, module in beyond if code == "<module>" and not str(file).startswith("<")]
    if outside:
        return outside[-1].partition(".")[0]
    if isinstance(error, ImportError):
        name = (error.name or "").partition(".")[0]
        return name if name and name not in OURS else None
    return None


def remedy(module: str, requirement: str, text: str, not_found: Collection[str] = ()) -> str:
    """Return what to do about a module whose import ended with `text`.

    `requirement`: what pip installs for it; `not_found`: shared libraries known to be missing.
    """
    libraries = dict.fromkeys((*(_SHARED.findall(text) if "cannot open shared object file" in text else ()), *not_found))
    packages = dict.fromkeys(DEBIAN[name] for name in libraries if name in DEBIAN)
    unknown = [name for name in libraries if name not in DEBIAN]
    steps = []
    if packages:
        steps.append(f"apt-get install {' '.join(packages)}")
    if unknown:
        steps.append(f"install what brings {', '.join(unknown)}")
    if module == "cv2" and not _DRAWING.isdisjoint(packages):
        steps.append(f"or take the OpenCV that draws no windows: {_HEADLESS}")
    if not steps:
        absent = text.startswith("ModuleNotFoundError") and f"'{module}'" in text
        steps.append(f"pip install {'' if absent else '--force-reinstall '}'{requirement}'")
    return ", ".join(steps)


def _frames(trace: TracebackType | None) -> Iterator[tuple[Path, str, str]]:
    """Yield file, name of the code and name of the module of each call, the outermost first."""
    while trace is not None:
        frame = trace.tb_frame
        yield Path(frame.f_code.co_filename), frame.f_code.co_name, str(frame.f_globals.get("__name__", ""))
        trace = trace.tb_next


def _ours(file: Path) -> bool:
    return file.is_relative_to(_ROOT) and file.relative_to(_ROOT).parts[0] in OURS
