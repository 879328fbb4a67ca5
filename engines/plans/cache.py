"""The folder of TensorRT plans: read with suspicion, written whole or not at all.

Owns the files: a plan and its passport side by side, timings per package, and who may have written them. Does not own what a passport
says (`passport.py`) or building (`build.py`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.engine import EngineError
from engines.plans.passport import BadPassport, Identity, Passport, difference, parse, tampering

LARGEST_PLAN = 4 * 2**30
LARGEST_PASSPORT = 2**16
LARGEST_TIMINGS = 2**28
NONE_YET = "none was built yet"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What the folder has for an identity: the plan's bytes, or why it has none to be used (`reason`)."""

    plan: bytes | None
    reason: str


class PlanCache:
    """Plans in one folder, which must be this user's own: whoever can write there can make this process run anything.

    Raises:
        EngineError: the folder cannot be made, is a link, or others may write into it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            status = os.lstat(directory)
        except OSError as error:
            raise EngineError(
                f"{directory}: plans cannot be kept there: {error.strerror}; set engine.plans to a folder of your own"
            ) from None
        if not stat.S_ISDIR(status.st_mode):
            raise EngineError(f"{directory}: is a link or a file; plans are code, so engine.plans must be a folder itself")
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise EngineError(
                f"{directory}: belongs to user {status.st_uid} with mode {stat.S_IMODE(status.st_mode):o}; plans are code, so only this "
                "user may write there: chmod 700, or set engine.plans to another folder"
            )

    def find(self, wanted: Identity) -> Stored:
        """Return the plan of an identity, or the reason why it must be built (again)."""
        paper, plan = self._files(wanted)
        try:
            text = _read(paper, LARGEST_PASSPORT)
        except FileNotFoundError:
            return Stored(None, NONE_YET if not paper.parent.joinpath(plan.name).exists() else "its passport is missing")
        except (OSError, ValueError) as error:
            return Stored(None, f"its passport cannot be read: {error}")
        try:
            passport = parse(text)
        except BadPassport as error:
            return Stored(None, f"its passport is broken: {error}")
        if (off := difference(passport, wanted)) is not None:
            return Stored(None, f"its passport is another's: {off}")
        try:
            data = _read(plan, LARGEST_PLAN)
        except FileNotFoundError:
            return Stored(None, "the plan itself is missing")
        except (OSError, ValueError) as error:
            return Stored(None, f"the plan cannot be read: {error}")
        if (off := tampering(passport, data)) is not None:
            return Stored(None, f"it was changed: {off}")
        return Stored(data, "as its passport says")

    def keep(self, identity: Identity, plan: bytes, build_s: float) -> Passport:
        """Write a plan and its passport; the passport comes last, so that a plan without one is never used.

        Raises:
            EngineError: the folder cannot be written.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        passport = Passport(
            identity=identity, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_size=len(plan), built_utc=now, build_s=round(build_s, 1)
        )
        paper, file = self._files(identity)
        try:
            paper.unlink(missing_ok=True)
            _write(file, plan)
            _write(paper, passport.render())
        except OSError as error:
            raise EngineError(
                f"{file}: the plan cannot be kept: {error.strerror}; make room, or set engine.plans to another folder"
            ) from None
        return passport

    def timings(self, identity: Identity) -> bytes:
        """Return the timings that earlier builds by the same package on the same device left; empty: none that can be trusted."""
        try:
            data = _read(self._timings(identity), LARGEST_TIMINGS)
        except (OSError, ValueError):
            return b""
        digest, body = data[:32], data[32:]
        return body if hashlib.sha256(body).digest() == digest else b""

    def keep_timings(self, identity: Identity, timings: bytes) -> None:
        """Keep timings for the next build. They only save time: a folder that is full does not end the build."""
        try:
            _write(self._timings(identity), hashlib.sha256(timings).digest() + timings)
        except OSError:
            return

    @contextmanager
    def scratch(self, identity: Identity, suffix: str) -> Iterator[Path]:
        """Give a file of this process' own in the folder, and take it away again."""
        path = self.directory / f".{identity.name}.{os.getpid()}.{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _files(self, identity: Identity) -> tuple[Path, Path]:
        return self.directory / f"{identity.name}.json", self.directory / f"{identity.name}.plan"

    def _timings(self, identity: Identity) -> Path:
        same = f"{identity.sdk}-{identity.sdk_version}-{identity.capability}-{identity.device}-{identity.platform}"
        return self.directory / f"timings-{hashlib.sha256(same.encode()).hexdigest()[:16]}.bin"


def default_directory(environment: dict[str, str] | None = None) -> Path:
    """Return where plans are kept unless a configuration says otherwise: `$XDG_CACHE_HOME/mien/plans`, `~/.cache/mien/plans`."""
    variables = os.environ if environment is None else environment
    base = variables.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    root = Path(base) if base.startswith("/") else Path(variables.get("HOME") or Path.home()) / ".cache"
    return root / "mien" / "plans"


def _read(file: Path, largest: int) -> bytes:
    """Read a plain file of this user's without following a link or waiting for a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(file, flags), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ValueError("it is not a plain file of this user's")
        if status.st_size > largest:
            raise ValueError(f"it has {status.st_size} bytes, at most {largest} are believable")
        return opened.read(status.st_size + 1)


def _write(file: Path, data: bytes) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)
