"""One plan built in a process of its own: `python -m engines.plans.child`.

Owns the words between that process and the one that waits for it: a job on standard input, one line, and its end when the other has gone;
on standard output one JSON object a line, progress at least every second and at last the end. Does not own the building (`build.py`). A
build takes minutes and gigabytes, and a compiler that falls over takes its own process with it, not the labels of those who are being
watched.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Literal, TextIO

from pydantic import Field, TypeAdapter

from engines.engine import EngineError
from engines.manifest import Graph
from engines.plans import sdk
from engines.plans.build import Profile, build
from engines.terms import Count, Strict

BEAT_S = 1.0


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
    job = Job.model_validate_json(asked.readline())
    voice = _Voice(said)
    threading.Thread(target=_end_with, args=(asked,), name="asked", daemon=True).start()
    threading.Thread(target=voice.repeat, name="repeat", daemon=True).start()

    try:
        made = build(
            sdk.load(job.packages), job.onnx.read_bytes(), job.name, job.graph, Profile(job.least, job.best, job.most), voice.told,
            job.timings.read_bytes() if job.timings.exists() else b"", job.capabilities,
        )  # fmt: skip
        job.out.write_bytes(made.plan)
        job.timings.write_bytes(made.timings)
    except (EngineError, OSError) as error:
        voice.say(Ended(error=str(error)))
        return 1
    voice.say(Ended())
    return 0


class _Voice:
    """Says lines whole, from whichever thread."""

    def __init__(self, said: TextIO) -> None:
        self._said = said
        self._lock = threading.Lock()
        self._last = Progress(phase="starting", share=0.0)
        self._ended = False

    def told(self, phase: str, share: float) -> None:
        """Say how far it is, every per cent."""
        if share >= self._last.share + 0.01:
            self.say(Progress(phase=phase, share=share))

    def say(self, line: Progress | Ended) -> None:
        """Say a line; nothing comes after the end."""
        with self._lock:
            if self._ended:
                return
            if isinstance(line, Progress):
                self._last = line
            self._ended = isinstance(line, Ended)
            print(line.model_dump_json(), file=self._said, flush=True)

    def repeat(self) -> None:
        """Say every second how far it was: whoever waits may then see that it is wanted no more."""
        while not self._ended:
            time.sleep(BEAT_S)  # a daemon thread: the process does not wait for it to end
            self.say(self._last)


def _end_with(asked: TextIO) -> None:
    """End this process when the one that asked has gone, however it went."""
    while asked.read(1):
        pass
    os._exit(3)


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
    code = main(sys.stdin, words)
    words.flush()
    # Not by way of the interpreter's end, which would wait for what a compiler leaves running.
    os._exit(code)
