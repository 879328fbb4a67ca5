"""This machine as it is: processor, memory, Python, GPUs, extras, video devices.

Owns what can be found out with the standard library alone, so that it is found out everywhere. Does not own what has to be imported
(`libraries.py`) or opened (`models.py`).
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from capture.operating_system import cores, memory_bytes
from service.diagnostics.finding import Finding

QUICK = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
"""What runtimes make use of, as Linux names it."""
APART = {"mediapipe": ("mediapipe",)}
"""Packages that an extra cannot name, because they require an OpenCV with windows: they are installed after it, alone."""


def machine() -> Iterator[Finding]:
    """Name the processor, memory, system and Python."""
    text = _text("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    board = _text("/proc/device-tree/model").strip("\0\n ")
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)).split())
    has = ", ".join(name for name in QUICK if name in flags) or "no vector extension that matters"
    name = board or (model and model[1]) or platform.machine()
    yield Finding("machine", "processor", "ok", f"{name}: {cores()} cores in use" + (f"; {has}" if text else ""))
    if (memory := memory_bytes()) is not None:
        yield Finding("machine", "memory", "ok", f"{memory / 2**30:.1f} GiB")
    yield Finding("machine", "system", "ok", platform.platform())
    try:
        mine = metadata.metadata("mien")
    except metadata.PackageNotFoundError:
        yield python(sys.version_info[:2], None)
        yield Finding("machine", "mien", "warning", "runs from a folder; it is not installed, so its extras are not known")
        return
    yield python(sys.version_info[:2], mine["Requires-Python"])
    yield Finding("machine", "mien", "ok", mine["Version"] + how_installed(Path(sys.prefix)))


def how_installed(prefix: Path) -> str:
    """Say what stands for pip in an environment that a tool has made for mien alone; empty for any other."""
    if (prefix / "pipx_metadata.json").is_file():
        return "; pipx installed it: where pip is named below, it is `pipx runpip mien`"
    if (prefix / "uv-receipt.toml").is_file():
        return f"; uv installed it: where pip install is named below, it is `uv pip install --python {prefix}`"
    return ""


def python(version: tuple[int, int], promised: str | None) -> Finding:
    """Say which Python runs, and whether it is one that mien promises; `promised`: a bound such as `>=3.10,<3.15`."""
    detail = f"{platform.python_version()} in {sys.prefix}"
    bounds = re.findall(r"(>=|<)\s*(\d+)\.(\d+)", promised or "")
    wrong = [sign for sign, major, minor in bounds if (version >= (int(major), int(minor))) != (sign == ">=")]
    if wrong:
        advice = f"mien is made for Python {promised}: make an environment with one of those, and install it there"
        return Finding("machine", "python", "warning", f"{detail}; {advice}")
    return Finding("machine", "python", "ok", detail)


def graphics() -> Iterator[Finding]:
    """Name NVIDIA's devices as their own tool does."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except FileNotFoundError:
        yield Finding("gpu", "nvidia", "absent", "no nvidia-smi: no NVIDIA driver, or a Jetson, which has none")
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("gpu", "nvidia", "absent", f"nvidia-smi does not answer: {error}")
        return
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not lines:
        words = (done.stdout + done.stderr).strip().splitlines()
        yield Finding("gpu", "nvidia", "absent", words[0][:200] if words else "")
        return
    for number, line in enumerate(lines):
        yield Finding("gpu", f"nvidia {number}", "ok", line)


def packages() -> Iterator[Finding]:
    """List the packages that extras bring, by what is installed."""
    try:
        lines = metadata.requires("mien") or ()
    except metadata.PackageNotFoundError:
        return
    extras: dict[str, list[str]] = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        marked = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if marked is not None and marked[1] != "dev":
            extras.setdefault(marked[1], []).append(re.split(r"[\s<>=!~\[(]", requirement.strip())[0])
    for extra, needed in sorted(extras.items()):
        needed += APART.get(extra, ())
        versions = {package: _version(package) for package in needed}
        missing = [package for package, version in versions.items() if version is None]
        detail = ", ".join(f"{package} {version}" for package, version in versions.items() if version is not None)
        if missing:
            detail += f"{'; ' if detail else ''}{', '.join(missing)} not installed: pip install 'mien[{extra}]'"
            detail += "".join(f" && pip install --no-deps {package}" for package in APART.get(extra, ()))
        yield Finding("packages", extra, "absent" if missing else "ok", detail)


def video_devices() -> Finding:
    """List the video devices of this machine."""
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    readable = [f"{path}{'' if os.access(path, os.R_OK | os.W_OK) else ' (no permission: join group video)'}" for path in devices]
    return Finding("cameras", "devices", "ok" if devices else "absent", ", ".join(readable) or "no /dev/video*")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
