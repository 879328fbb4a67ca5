"""What operating systems do not all have, and what stands in for it where one has not.

Owns every use of `fcntl`, `resource`, `prctl`, namespaces, capabilities and Linux's own calls of `os`. Nothing else imports them, and
importing this module needs none of them. Tried on Linux; what is said of macOS follows its manual pages and was not run there. Does not
own how much of it is wanted (`service/clips/sandbox.py`, `service/clips/files.py`).

| here | Linux | macOS | elsewhere |
|---|---|---|---|
| `hold` | flock | flock | without `fcntl` nobody is kept out |
| `sync_data` | fdatasync | fsync | fsync |
| `cores` | those this process may use | all | all |
| `end_with` | the kernel ends the process | a thread looks twice a second | as macOS |
| `drop_network` | a namespace of its own, where permitted | stays | stays |
| `drop_privileges` | none may come back, capabilities go | stays | stays |
| `limit` | all | all but `AS`, which macOS refuses or ignores | without `resource` none |
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from importlib import import_module
from typing import Any


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


_fcntl, _resource = _module("fcntl"), _module("resource")
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_LOOK_S = 0.5


def hold(descriptor: int) -> bool:
    """Take the lock of an open file for this process; return whether that keeps others out.

    Raises:
        BlockingIOError: another process has it.
    """
    if _fcntl is None:
        return False
    _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    return True


def sync_data(descriptor: int) -> None:
    """Bring what was written to an open file to the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return how much memory this machine has, None if it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def end_with(parent: int) -> None:
    """End this process when its parent, whose pid is `parent`, has ended; at once if it has already."""
    if _libc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)  # it ended before it could be watched


def drop_network() -> bool:
    """Leave every network for good; return whether that is so."""
    # Without privilege a network namespace comes only with a user namespace, which some systems forbid.
    return _libc("unshare", _CLONE_NEWNET) == 0 or _libc("unshare", _CLONE_NEWUSER | _CLONE_NEWNET) == 0


def drop_privileges() -> None:
    """Gain no privilege any more by starting a program, and give up all capabilities, where there are such things."""
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _libc("capset", header, (ctypes.c_uint32 * 6)())


def limit(kind: str, most: int) -> bool:
    """Bound a resource of this process for good, `kind` as in RLIMIT_<kind>; return whether it is bounded."""
    number = getattr(_resource, f"RLIMIT_{kind}", None)
    if number is None:
        return False
    with contextlib.suppress(OSError, ValueError):
        _, hard = _resource.getrlimit(number)
        most = most if hard == _resource.RLIM_INFINITY else min(most, hard)
        _resource.setrlimit(number, (most, most))
        return True
    return False


def _libc(name: str, *arguments: Any) -> int:
    """Call a function of the C library; -1, as where it fails, if there is none of that name."""
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        return -1
    result: int = function(*arguments)
    return result


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
