"""Makes every Python of an environment look as if it ran on another system; a path file of that environment imports this.

`NO_MODULES` also takes away what macOS has and other systems may not: the modules `fcntl` and `resource`. What libraries in C do is not
changed, so this shows what our code, and the Python code it imports, asks for; it is no Mac.
"""

from __future__ import annotations

import builtins
import ctypes
import io
import os
import resource
import select
import selectors
import socket
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

NO_MODULES = False

LINUX_ONLY = {
    os: (
        "sched_getaffinity sched_setaffinity fdatasync posix_fadvise posix_fallocate memfd_create eventfd eventfd_read eventfd_write "
        "pidfd_open pipe2 splice copy_file_range getrandom getresuid getresgid setresuid setresgid O_TMPFILE O_PATH O_DIRECT O_LARGEFILE "
        "O_NOATIME O_RSYNC unshare setns"
    ),
    select: "epoll",
    socket: "AF_NETLINK AF_PACKET AF_VSOCK SO_PEERCRED SO_BINDTODEVICE SO_MARK SOCK_CLOEXEC SOCK_NONBLOCK TCP_QUICKACK TCP_USER_TIMEOUT",
    resource: "prlimit RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_OFILE",
}
LIBC_ONLY = {"prctl", "unshare", "setns", "capset", "capget", "memfd_create", "eventfd", "sched_getaffinity", "syscall"}
TREES = ("/proc", "/sys", "/dev/shm", "/dev/video")


def _hidden(path: Any) -> bool:
    if not isinstance(path, (str, os.PathLike)):
        return False
    text = os.fspath(path)
    return isinstance(text, str) and any(text == tree or text.startswith(tree + "/") for tree in TREES)


def _without_trees(function: Any) -> Any:
    def opened(path: Any, *arguments: Any, **named: Any) -> Any:
        if _hidden(path):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return function(path, *arguments, **named)

    return opened


def _become_another_system() -> None:
    for module, names in LINUX_ONLY.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    if hasattr(os, "process_cpu_count"):  # from 3.13 on; it asks for the affinity where the system has one
        os.process_cpu_count = os.cpu_count
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc]
    found = ctypes.CDLL.__getattr__

    def looked_up(self: ctypes.CDLL, name: str) -> Any:
        if name in LIBC_ONLY:
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        return found(self, name)

    ctypes.CDLL.__getattr__ = looked_up  # type: ignore[method-assign]
    set_limit = resource.setrlimit

    def limited(kind: int, limits: Any) -> None:
        if kind == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")
        set_limit(kind, limits)

    resource.setrlimit = limited
    for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "stat"), (os, "listdir"), (os, "readlink")):
        setattr(module, name, _without_trees(getattr(module, name)))
    proxies = types.ModuleType("_scproxy")  # macOS' own part of the standard library
    proxies._get_proxies = proxies._get_proxy_settings = dict  # type: ignore[attr-defined]
    sys.modules["_scproxy"] = proxies
    # Python finds out by this name how it was built.
    os.environ["_PYTHON_SYSCONFIGDATA_NAME"] = sysconfig._get_sysconfigdata_name()  # type: ignore[attr-defined]
    sys.platform = "darwin"
    real = os.uname()
    os.uname = lambda: os.uname_result(("Darwin", real.nodename, "23.6.0", "Darwin Kernel Version 23.6.0", "arm64"))  # type: ignore[assignment]
    if NO_MODULES:
        sys.modules["fcntl"] = sys.modules["resource"] = None  # type: ignore[assignment]


_become_another_system()
assert not Path("/proc/cpuinfo").exists()
