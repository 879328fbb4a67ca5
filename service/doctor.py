"""What this machine has and what mien would do with it: `mien doctor`.

Owns the questions and their answers as data; nothing is guessed: a runtime is present when it opens a graph, a model runs when it has
been opened. Does not own the order of `auto` (`engines/choice.py`), nor any device.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

from engines import wiring
from engines.choice import open_model
from engines.engine import Engine, EngineError, EngineOptions
from engines.folder import Folder, open_folder
from engines.open import names, offers
from engines.terms import Part
from service.chosen import engine_options, finder_options, open_models, settled
from service.config import Config
from service.models import Models, UnknownModel, how_opened
from service.perception.pixels import open_alone

State = Literal["ok", "absent", "fault"]
QUICK = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
"""What runtimes make use of, as Linux names it."""
SERVER = "triton"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. `absent`: not there, and nothing asked for needs it; `fault`: what the configuration asks for cannot run."""

    topic: str
    name: str
    state: State
    detail: str


def findings(config: Config) -> Iterator[Finding]:
    """Look, topic by topic; opening models takes seconds.

    Raises:
        EngineError: a folder of models is not one.
    """
    yield from machine()
    yield from graphics()
    yield from packages()
    yield from cameras(config)
    chosen = settled(config)
    with closing(open_models(chosen)) as models:
        yield from runtimes(models, chosen)
        yield from networks(models, chosen)


def machine() -> Iterator[Finding]:
    """Name the processor, memory and system."""
    text = _text("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    board = _text("/proc/device-tree/model").strip("\0\n ")
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)).split())
    has = ", ".join(name for name in QUICK if name in flags) or "no vector extension that matters"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("machine", "processor", "ok", f"{board or (model and model[1]) or platform.machine()}: {cores} cores in use; {has}")
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    if memory is not None:
        yield Finding("machine", "memory", "ok", f"{int(memory[1]) / 2**20:.1f} GiB")
    yield Finding("machine", "system", "ok", f"{platform.platform()}, Python {platform.python_version()} in {sys.prefix}")
    yield Finding("machine", "mien", "ok", metadata.version("mien"))


def graphics() -> Iterator[Finding]:
    """Name NVIDIA's devices as their own tool does."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        yield Finding("gpu", "nvidia", "absent", "no nvidia-smi: no NVIDIA driver, or a Jetson, which has none")
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("gpu", "nvidia", "absent", f"nvidia-smi does not answer: {error}")
        return
    lines = [line for line in said.stdout.splitlines() if line.strip()]
    if said.returncode or not lines:
        yield Finding(
            "gpu", "nvidia", "absent", (said.stdout + said.stderr).strip().splitlines()[0][:200] if said.stdout + said.stderr else ""
        )
    for number, line in enumerate(lines if not said.returncode else []):
        yield Finding("gpu", f"nvidia {number}", "ok", line)


def packages() -> Iterator[Finding]:
    """List the packages that extras bring, by what is installed."""
    extras: dict[str, list[str]] = {}
    for line in metadata.requires("mien") or ():
        requirement, _, marker = line.partition(";")
        marked = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if marked is not None and marked[1] != "dev":
            extras.setdefault(marked[1], []).append(re.split(r"[\s<>=!~\[(]", requirement.strip())[0])
    for extra, needed in sorted(extras.items()):
        versions = {package: _version(package) for package in needed}
        missing = [package for package, version in versions.items() if version is None]
        said = ", ".join(f"{package} {version}" for package, version in versions.items() if version is not None)
        if missing:
            said += f"{'; ' if said else ''}{', '.join(missing)} not installed: pip install 'mien[{extra}]'"
        yield Finding("packages", extra, "absent" if missing else "ok", said)


def cameras(config: Config) -> Iterator[Finding]:
    """List video devices and the sources of the configuration."""
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    readable = [f"{path}{'' if os.access(path, os.R_OK | os.W_OK) else ' (no permission: join group video)'}" for path in devices]
    yield Finding("cameras", "devices", "ok" if devices else "absent", ", ".join(readable) or "no /dev/video*")
    for name in config.cameras:
        yield Finding("cameras", name, "ok", "configured; `mien serve` opens it")


def runtimes(models: Models, config: Config) -> Iterator[Finding]:
    """Open the shipped face finder on every backend there is a file for; on a server, which need not serve it, the network chosen."""
    known = models.ids()
    id = config.model.detector if config.model.detector in known else Config().model.detector
    for name in names():
        there = config.model.id if name == SERVER and config.model.id in known else id
        try:
            folder = open_folder(models.folder(there).path)
        except EngineError:
            continue  # which rule it breaks is said of it among the models
        wanted = name == config.engine.backend
        asked = engine_options(config)
        options = replace(asked, backend=name, providers=asked.providers if wanted else None, precision="fp32")
        state, said = _opened(folder, options)
        said = "; ".join(part for part in (said, offers(name)) if part)
        yield Finding("runtimes", name, "fault" if wanted and state == "fault" else "ok" if state == "ok" else "absent", said)


def networks(models: Models, config: Config) -> Iterator[Finding]:
    """Open every model as the configuration would and say what it runs on; random weights do not matter here."""
    used = {config.model.id, config.model.detector}
    for id in (*models.ids(), *sorted(used - set(models.ids()))):
        try:
            alone = open_alone(id, config.model.detector_file) if id == config.model.detector and id not in models.ids() else None
            state, said = _folder(open_folder(models.folder(id).path), config) if alone is None else _alone(alone[1])
        except (EngineError, UnknownModel) as error:
            state, said = "fault", str(error)
        name = f"{id} (chosen)" if id in used else id
        yield Finding("models", name, state if state == "ok" or id in used else "absent", said)


def _folder(folder: Folder, config: Config) -> tuple[State, str]:
    options, exact = how_opened(folder.manifest, engine_options(config), finder_options(config))
    return _opened(folder, options, exact)


def _alone(engine: Engine) -> tuple[State, str]:
    info = engine.info
    engine.close()
    return "ok", f"{info.backend} {info.version}"


def _opened(folder: Folder, options: EngineOptions, exact: Sequence[Part] = ()) -> tuple[State, str]:
    try:
        opened = open_model(folder, wiring.run_parts(folder.manifest.graphs), options, exact=exact)
    except EngineError as error:
        return "fault", str(error)
    infos = {part: engine.info for part, engine in opened.engines.items()}
    for engine in opened.engines.values():
        engine.close()
    first = next(iter(infos.values()))
    said = f"{first.backend} {first.version}, graphs {', '.join(infos)}"
    if exact and options.precision != "fp32":
        said += f"; {', '.join(exact)} in fp32, not {options.precision}: its features choose keyframes"
    return "ok", said if opened.why is None else f"{said}; {opened.why}"


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
