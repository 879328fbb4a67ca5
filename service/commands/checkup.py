"""`mien doctor`: what is here, what is missing, what each model would run on.

Owns its flags and exit code. Does not own the questions (`service/doctor.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from service.commands.flags import Backend, ConfigFile, DetectorId, ModelDirs, ModelId, Threads, load, networks
from service.commands.telling import text_file, told


class Form(str, Enum):
    """How findings are written."""

    TABLE = "table"
    JSON = "json"


def doctor(
    form: Annotated[Form, typer.Option("--format", help="How findings are written.")] = Form.TABLE,
    rig: Annotated[Path | None, typer.Option("--rig", metavar="FILE", help="Listen to this rig instead, for some seconds.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="How long to listen to the rig.")] = 10.0,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    config: ConfigFile = None,
) -> None:
    """Say what this machine has, and what each model would run on; exit code 1 if what is configured cannot run.

    With --rig: rate, skew, drift and drops of each of its sources.
    """
    with told(), text_file(None) as out:
        from service.doctor import findings
        from service.tables import print_table

        if rig is not None:
            from service.rig_check import listen
            from service.rig_file import load_rig

            found = list(listen(load_rig(rig), seconds))
        else:
            found = list(findings(load(config, networks(model, detector, models, backend, threads, True, None, None))))
        if form is Form.JSON:
            out.write(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1) + "\n")
        else:
            for topic in dict.fromkeys(one.topic for one in found):
                print_table(out, ("what", "state", "detail"), [(o.name, o.state, o.detail) for o in found if o.topic == topic], topic)
        if any(one.state == "fault" for one in found):
            raise typer.Exit(1)
