"""One plan built in a process of its own: `python -m engines.plans.child`.

Owns the words between that process and the one that waits for it: a job on standard input; on standard output one JSON object a line,
progress and at last the end. Does not own the building (`build.py`). A build takes minutes and gigabytes, and a compiler that falls over
takes its own process with it, not the labels of those who are being watched.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal, TextIO

from pydantic import Field, TypeAdapter

from engines.engine import EngineError
from engines.manifest import Graph
from engines.plans import sdk
from engines.plans.build import Profile, build
from engines.terms import Count, Strict


class Job(Strict):
    """What to build: `onnx` and `out` are files, `timings` one that is read and written again; `packages`, `capabilities`: as in `sdk.py`
    and `build.py`."""

    name: str
    onnx: Path
    graph: Graph
    least: Count
    best: Count
    most: Count
    out: Path
    timings: Path
    packages: tuple[str, ...]
    capabilities: tuple[str, ...] = ()


class Progress(Strict):
    """How far it is: `share` of the build, 0 to 1."""

    said: Literal["progress"] = "progress"
    phase: str
    share: Annotated[float, Field(ge=0, le=1)]


class Ended(Strict):
    """The end: the plan lies in `out`, or `error` says why not."""

    said: Literal["ended"] = "ended"
    error: str | None = None


Line: TypeAdapter[Progress | Ended] = TypeAdapter(Annotated[Progress | Ended, Field(discriminator="said")])


def main(asked: TextIO, said: TextIO) -> int:
    """Do the job that stands on `asked` and tell of it on `said`; return the exit code."""
    job = Job.model_validate_json(asked.read())
    last = -1.0

    def told(phase: str, share: float) -> None:
        nonlocal last
        if share >= last + 0.01:
            last = share
            print(Progress(phase=phase, share=share).model_dump_json(), file=said, flush=True)

    try:
        made = build(
            sdk.load(job.packages), job.onnx.read_bytes(), job.name, job.graph, Profile(job.least, job.best, job.most), told,
            job.timings.read_bytes() if job.timings.exists() else b"", job.capabilities,
        )  # fmt: skip
        job.out.write_bytes(made.plan)
        job.timings.write_bytes(made.timings)
    except (EngineError, OSError) as error:
        print(Ended(error=str(error)).model_dump_json(), file=said, flush=True)
        return 1
    print(Ended().model_dump_json(), file=said, flush=True)
    return 0


def ended(line: str) -> Progress | Ended | None:
    """Read a line of the child's; None: it is none of ours (a library printed something)."""
    try:
        json.loads(line)
        return Line.validate_json(line)
    except ValueError:
        return None


if __name__ == "__main__":
    # Libraries print what they like; our words go where nobody else's do.
    words = sys.stdout
    sys.stdout = sys.stderr
    sys.exit(main(sys.stdin, words))
