"""`mien doctor`: what is here, what is missing, what each model would run on.

Owns its flags, the order of topics and the exit code. Uses the standard library alone on the way to the table: whatever else is broken,
it says so. What must be imported is imported in child processes (`apart.py`). Does not own the questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from service.diagnostics import flags, libraries, machine
from service.diagnostics.apart import Unanswerable, answers
from service.diagnostics.finding import Finding
from service.diagnostics.table import table, terminal_width

MODELS = "service.diagnostics.models"
LONGEST_S = 1800.0
"""For one model to open: TensorRT may build a plan."""


def run(arguments: Sequence[str]) -> int:
    """Print what is found; return the exit code: 1 if what is configured cannot run, 2 if the configuration is wrong."""
    options = parser().parse_args(arguments)
    wrong: list[Finding] = []
    found = _listened(options) if options.rig is not None else _found(options, wrong)
    failed = _write(found, options.format == "json")
    return 2 if wrong else 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    """Return the flags."""
    made = argparse.ArgumentParser(
        "mien doctor",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Say what this machine has, and what each model would run on; exit code 1 if what is configured cannot run.\n\n"
        "With --rig: rate, skew, drift and drops of each of its sources.",
    )
    made.add_argument("--format", choices=("table", "json"), default="table", help="How findings are written.")
    made.add_argument("--rig", metavar="FILE", help="Listen to this rig instead, for some seconds.")
    made.add_argument("--seconds", type=_seconds, default=10.0, metavar="S", help="How long to listen to the rig, 1 to 3600.")
    for names, key, (metavar, text) in (
        (("--model", "-m"), "model", flags.MODEL),
        (("--detector",), "detector", flags.DETECTOR),
        (("--backend",), "backend", flags.BACKEND),
        (("--config",), "config", flags.CONFIG),
    ):
        made.add_argument(*names, dest=key, metavar=metavar, help=text)
    made.add_argument("--models", action="append", metavar=flags.MODELS[0], help=flags.MODELS[1])
    made.add_argument("--threads", type=int, metavar=flags.THREADS[0], help=flags.THREADS[1])
    return made


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 3600")
    return value


def _found(options: argparse.Namespace, wrong: list[Finding]) -> Iterator[Finding]:
    yield from machine.machine()
    yield from machine.graphics()
    yield from libraries.libraries()
    yield from machine.packages()
    yield machine.video_devices()
    try:
        yield from answers(MODELS, _job(options), "models", LONGEST_S)
    except Unanswerable as error:
        wrong.append(Finding("configuration", "configuration", "fault", str(error)))
        yield wrong[0]


def _job(options: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration file and the keys that flags stand for."""
    model = {"id": options.model, "detector": options.detector, "dirs": options.models, "allow_random_weights": True}
    engine = {"backend": options.backend, "threads": options.threads}
    keys = {"model": model, "engine": engine}
    return {
        "config": options.config,
        "flags": {section: {key: value for key, value in values.items() if value is not None} for section, values in keys.items()},
    }


def _listened(options: argparse.Namespace) -> Iterator[Finding]:
    from pathlib import Path

    from service.rig_check import listen
    from service.rig_file import load_rig

    yield from listen(load_rig(Path(options.rig)), options.seconds)


def _write(found: Iterator[Finding], as_json: bool) -> bool:
    """Write findings, each topic as soon as it is complete; return whether one is a fault."""
    out = sys.stdout
    if hasattr(out, "reconfigure"):
        # A file's name may hold bytes that are no text; in JSON a backslash escape is its true form.
        out.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    if as_json:
        everything = list(found)
        out.write(json.dumps([asdict(one) for one in everything], ensure_ascii=False, indent=1) + "\n")
        out.flush()
        return any(one.state == "fault" for one in everything)
    failed = False
    width = terminal_width() if out.isatty() else None
    for topic, group in groupby(found, key=lambda one: one.topic):
        rows = list(group)
        out.writelines(
            line + "\n" for line in table(topic, ("what", "state", "detail"), [(o.name, o.state, o.detail) for o in rows], width)
        )
        out.flush()
        failed |= any(one.state == "fault" for one in rows)
    return failed
