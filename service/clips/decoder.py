"""The parent's side of a decoding child: started ahead, given one clip, read picture by picture, never trusted.

Owns the process and what its end means. Does not own what is done with pictures (`run.py`) or whether a crash is
tried again (`worker.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from service.clips import pictures
from service.clips.limits import ClipRefused, Limits
from service.clips.pictures import Garbled, Kind, Picture, Said

# Isolated from user and environment (-I); only then is the place of our own packages added.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from service.clips.child import main; main()"
_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_POLL_S = 0.2
_CODES = {"empty-image": "empty-clip"}
_REFUSALS = frozenset(("empty-clip", "unsupported-container", "clip-limits-exceeded", "image-broken"))


class Crashed(Exception):
    """The child ended, hung or spoke nonsense before its clip was decoded. `killed`: somebody else killed it."""

    def __init__(self, why: str, killed: bool = False) -> None:
        super().__init__(why)
        self.killed = killed


class Cancelled(Exception):
    """Nobody wants the clip any more, or the server stops."""


class Decoder:
    """One child for one clip. `stall_s`: the longest it may say nothing; `wanted` is asked while waiting for it."""

    def __init__(self, limits: Limits, memory_bytes: int, stall_s: float) -> None:
        self._limits = limits
        self._stall_s = stall_s
        self.wanted: Callable[[], bool] = lambda: True
        environment = {
            "PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
            "OPENCV_IO_MAX_IMAGE_PIXELS": str(limits.max_width * limits.max_height),
        }  # fmt: skip
        arguments = [_ROOT, str(os.getpid()), str(memory_bytes)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment, bufsize=0, cwd="/",
        )  # fmt: skip
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()

    def begin(self, directory: Path, name: str) -> None:
        """Give the child its clip: the file `clip` in `directory`, called `name`.

        Raises:
            Crashed: it is dead already.
        """
        job = {"directory": str(directory), "name": name, "limits": self._limits.members()}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._ended() from None

    def next(self) -> Picture | Said:
        """Return the next picture, or what was said: OPENED first, ENDED last.

        Raises:
            ClipRefused: the clip cannot be decoded, or is more than allowed.
            Crashed: the child came to a bad end.
            Cancelled: `wanted` says no.
        """
        try:
            message = pictures.read(self._fill, self._limits.check_size)
        except Garbled as error:
            raise Crashed(f"it sent {error}") from None
        if isinstance(message, Said) and message.kind == Kind.REFUSED:
            raise _refusal(message)
        if isinstance(message, Said) and message.kind == Kind.FAILED:
            raise Crashed(str(message.body.get("why")))
        return message

    def kill(self) -> None:
        """End the child, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _fill(self, buffer: memoryview) -> None:
        until = time.monotonic() + self._stall_s
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        while buffer:
            if not self.wanted():
                raise Cancelled
            if not poll.poll(_POLL_S * 1000):
                if time.monotonic() > until:
                    raise Crashed(f"it said nothing for {self._stall_s:g} s")
                continue
            count = os.readv(self._out, [buffer])
            if count == 0:
                raise self._ended()
            buffer, until = buffer[count:], time.monotonic() + self._stall_s

    def _ended(self) -> Crashed:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return Crashed("it closed its output")
        if code >= 0:
            return Crashed(f"it ended with status {code}")
        return Crashed(f"it ended by signal {signal.Signals(-code).name}", killed=-code == signal.SIGKILL)


def _refusal(message: Said) -> ClipRefused:
    body = message.body
    code, numbers = str(body.get("code")), [body.get(key) for key in ("limit", "actual")]
    limit, actual = (value if isinstance(value, int) else None for value in numbers)
    detail = str(body.get("detail"))[:500]
    if "CV_IO_MAX_IMAGE" in detail:
        return ClipRefused("clip-limits-exceeded", "The picture has more pixels than allowed. Scale it down.")
    code = _CODES.get(code, code)
    return ClipRefused(code if code in _REFUSALS else "clip-unreadable", detail, limit, actual)
