"""Questions asked in a child process, because what they touch may end it: a wheel for another processor, a broken driver.

Owns the child, the lines it answers with and what its end means: it is started again for the questions that are left. Uses the
standard library alone. Does not own any question (`libraries.py`, `models.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any, BinaryIO

from service.diagnostics import failed_import
from service.diagnostics.finding import Finding, State

_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from importlib import import_module; import_module(sys.argv[2]).main()"


class Unanswerable(Exception):
    """The questions themselves cannot be asked, through a fault of the configuration. The text is for people."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `if_it_ends`: what it means when asking ends the process. `ask` returns None if there is nothing to say."""

    topic: str
    name: str
    if_it_ends: State
    ask: Callable[[], Finding | None]


def answers(module: str, job: Mapping[str, Any], topic: str, timeout_s: float) -> Iterator[Finding]:
    """Have the questions of a module asked in a child, and in another one after each that ends it.

    `module`: has `main`, which calls `answer`; `job`: what it is given. `topic`: under which the child's own failure to start is put.
    `timeout_s`: the longest one question may take.

    Raises:
        Unanswerable: the child says so.
    """
    asked: list[tuple[str, str]] = []
    while True:
        open_question: tuple[str, str, State] | None = None
        progress = len(asked)
        with _child(module, {**job, "skip": asked}) as child:
            for kind, *rest in child.lines(timeout_s):
                if kind == "asking":
                    open_question = (rest[0], rest[1], rest[2])
                    asked.append((rest[0], rest[1]))
                elif kind == "finding":
                    yield Finding(*rest)
                elif kind == "answered":
                    open_question = None
                elif kind == "unanswerable":
                    raise Unanswerable(rest[0])
                else:
                    return
            why = child.end(timeout_s)
        if open_question is not None:
            yield Finding(*open_question, f"asking {why}")
        elif len(asked) == progress:
            yield Finding(topic, "all of them", "fault", f"cannot be asked: {why}")
            return


def answer(questions: Callable[[Mapping[str, Any]], Iterable[Question]]) -> None:
    """Answer in the child: read the job from standard input, write a JSON line per step to standard output.

    `questions` gets the job and may raise Unanswerable.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries may print; what goes to the parent is ours alone

    def say(*words: object) -> None:
        out.write(json.dumps(words) + "\n")
        out.flush()

    job = json.load(sys.stdin)
    skip = {tuple(one) for one in job["skip"]}
    try:
        for question in questions(job):
            if (question.topic, question.name) in skip:
                continue
            say("asking", question.topic, question.name, question.if_it_ends)
            try:
                found = question.ask()
            except Exception as error:  # a library may raise anything; the other questions are still to be asked
                found = Finding(question.topic, question.name, question.if_it_ends, failed_import.line(error))
            if found is not None:
                say("finding", *astuple(found))
            say("answered")
    except Unanswerable as error:
        say("unanswerable", str(error))
    say("end")


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], errors: BinaryIO | None) -> None:
        self._process, self._errors = process, errors
        self._late = False

    def lines(self, timeout_s: float) -> Iterator[list[Any]]:
        """Yield what it says, until it says nothing more or nothing for too long."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        rest, until = b"", time.monotonic() + timeout_s
        while True:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                self._late = True
                return
            data = os.read(descriptor, 65536)
            if not data:
                return
            *whole, rest = (rest + data).split(b"\n")
            yield from (json.loads(one) for one in whole)
            until = time.monotonic() + timeout_s

    def end(self, timeout_s: float) -> str:
        """Return how it ended, in words that follow a subject."""
        if self._late:
            return f"takes more than {timeout_s:g} s"
        code = self._process.wait()
        if code < 0:
            return f"ends the process by {signal.Signals(-code).name}: the package is broken, or was built for another processor"
        lines: list[str] = []
        if self._errors is not None:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"ends the process with status {code}: {lines[-1][:400] if lines else 'it says nothing'}"


@contextlib.contextmanager
def _scratch() -> Iterator[BinaryIO | None]:
    """Give a file for the child's words on standard error, None where there is no room for one."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115
    except OSError:
        yield None
        return
    with file:
        yield file


@contextlib.contextmanager
def _child(module: str, job: Mapping[str, Any]) -> Iterator[_Child]:
    with _scratch() as errors:
        # The parent's own path: neither the folder it is started in nor a variable may bring in other packages than the parent's.
        command = [sys.executable, "-c", _START, json.dumps(sys.path), module]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors or subprocess.DEVNULL, bufsize=0)
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode())
                process.stdin.close()
            yield _Child(process, errors)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
