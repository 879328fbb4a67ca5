"""`mien serve`: the server's flags.

Does not own the server (`service/api/serve.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.flags import Backend, ConfigFile, DetectorId, ModelDirs, ModelId, Random, Threads, load, networks
from service.commands.telling import Usage, announce, told

if TYPE_CHECKING:
    from service.config import Config


def serve(
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address to bind; loopback only.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="N", help="TCP port; 0 takes any free one.")] = None,
    camera: Annotated[list[str] | None, typer.Option("--camera", metavar="NAME=URI", help="Serve this camera; repeatable.")] = None,
    rig: Annotated[list[Path] | None, typer.Option("--rig", metavar="FILE", help="Serve this rig of cameras; repeatable.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the demo clip as camera `demo` and on the page; it is fetched once.")] = False,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Serve live labels over WebSocket and REST."""
    with told():
        flags = networks(model, detector, models, backend, threads, allow_random_weights, None, None)
        flags |= {"server": {"host": host, "port": port}, "cameras": _cameras(camera or []) | _rigs(rig or [], camera or [])}
        chosen = load(config, flags)
        if demo:
            chosen = load(config, _with_demo(flags, chosen))
        from service.api.serve import run

        run(chosen)


def _with_demo(flags: dict[str, dict[str, Any]], chosen: Config) -> dict[str, dict[str, Any]]:
    """Return the flags with the demo clip, for the page and as a camera; `chosen`: the configuration without it."""
    from capture.driver import clip_uri
    from service.demo import clip

    if "demo" in chosen.cameras:
        raise Usage("--demo serves a camera called 'demo', and there is one already; give that another name")
    path = chosen.server.demo or clip(announce)
    server, cameras = {**flags["server"], "demo": str(path)}, {**flags["cameras"], "demo": clip_uri(path, realtime=True, loop=True)}
    return {**flags, "server": server, "cameras": cameras}


def _rigs(given: Sequence[Path], cameras: Sequence[str]) -> dict[str, str]:
    """Return rigs as cameras of their own names."""
    from service.rig_file import load_rig

    rigs: dict[str, str] = {}
    for path in given:
        name = load_rig(path).name
        if name in rigs or any(text.startswith(f"{name}=") for text in cameras):
            raise Usage(f"--rig {path} is called {name!r}, as another camera is; give it another `name`")
        rigs[name] = f"rig:{path}"
    return rigs


def _cameras(given: Sequence[str]) -> dict[str, str]:
    cameras: dict[str, str] = {}
    for text in given:
        name, separator, uri = text.partition("=")
        if not separator or not name or not uri:
            raise Usage("--camera needs NAME=URI, such as door=webcam:0")
        if name in cameras:
            raise Usage(f"--camera {name} is given twice")
        cameras[name] = uri
    return cameras
