"""TensorRT's Python packages: which there are, and what this machine's device is.

Owns the choice of a package and the questions put to it. Does not own building (`build.py`) or running (`backends/tensorrt.py`).

Two packages have one interface: `tensorrt` (10 or 11; the SDK for every NVIDIA device, Jetson included) and TensorRT for RTX
(`tensorrt_rtx`; GeForce and RTX cards; it builds without a device too).
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from engines.engine import BackendMissing

PACKAGES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""In the order of wish; the last is the second without the vendor's package that only names it."""
RTX = PACKAGES[1:]
OLDEST = (10, 3)


@dataclass(frozen=True, slots=True)
class Sdk:
    """A package: its module, what it is called (`tensorrt`, `tensorrt-rtx`) and its version."""

    module: ModuleType
    name: str
    version: str


def load(names: tuple[str, ...] = PACKAGES) -> Sdk:
    """Return the first of the packages that loads.

    Raises:
        BackendMissing: none does, or it is older than 10.3.
    """
    reasons = []
    for name in names:
        try:
            module = import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(f"{name}: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
            continue
        version = str(module.__version__)
        if name not in RTX and tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise BackendMissing(f"TensorRT {version} is here; {oldest} or newer is needed: pip install 'mien[tensorrt]'")
        return Sdk(module, "tensorrt-rtx" if name in RTX else "tensorrt", version)
    wish = "tensorrt-gate" if names == RTX else "tensorrt"
    raise BackendMissing(f"no TensorRT here ({'; '.join(reasons)}): pip install 'mien[{wish}]'")


def quiet_logger(sdk: Sdk, complaints: list[str]) -> Any:
    """Return a logger for the package that keeps errors in `complaints` and lets nothing else be heard."""
    trt = sdk.module

    class Kept(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                complaints.append(text.strip())

    return Kept()


def here() -> str:
    """Return this machine's platform as plans know it: `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine().lower()}"
