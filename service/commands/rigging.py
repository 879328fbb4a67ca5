"""`mien rig` and `mien faces`: a rig file checked; the faces of a clip written for the virtual rig.

Owns their flags. Does not own what a rig file is (`service/rig_file.py`) or the faces' file (`service/sidecar.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from service.commands.flags import Backend, ConfigFile, DetectorId, Threads, load, networks
from service.commands.telling import complain, told


def faces(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A clip with a face.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: CLIP.faces.json, where the rig looks.")
    ] = None,
    detector: DetectorId = None,
    backend: Backend = None,
    threads: Threads = None,
    config: ConfigFile = None,
) -> None:
    """Write where a clip's face is, frame by frame: `virtual:` cameras draw depth and heat from it."""
    with told():
        from service.analyze import Analyser
        from service.intake import Source
        from service.replacing import replacing
        from service.sidecar import sidecar

        chosen = load(config, networks(None, detector, None, backend, threads, False, 1, None))
        with Analyser.create(chosen) as analyser:
            said = sidecar(analyser, Source(clip, str(clip)))
        with replacing(output or clip.with_name(f"{clip.name}.faces.json")) as file:
            file.write(json.dumps(said).encode())


def rig(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rig files (TOML).", show_default=False)],
) -> None:
    """Check rig files without opening a camera: their keys, and that each camera's driver and options exist."""
    with told():
        from capture.driver import SourceError
        from service.refusal import Refusal
        from service.rig_file import load_rig

        wrong = 0
        for file in files:
            try:
                found = load_rig(file)
                # Names no device yet, but each driver is imported and its options are checked.
                found.devices()
            except (Refusal, SourceError) as error:
                wrong += 1
                code = f"{error.code}: " if isinstance(error, SourceError) else ""
                complain(f"{code}{error}" if str(file) in str(error) else f"{code}{file}: {error}")
                continue
            model = f", model {found.model}" if found.model else ""
            typer.echo(f"{file}: rig {found.name!r}: {', '.join(found.sources)}; crops from {', '.join(sorted(found.gives))}{model}")
        if wrong:
            raise typer.Exit(1)
