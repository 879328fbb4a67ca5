"""A Debian with python3, make and git and nothing else, in a folder: the machine of a newcomer.

Owns how it is made (mmdebstrap, from this machine's own package sources) and how a command runs in it, as root or as a user who may
install nothing. It shares this machine's network and pip's settings; nothing else of this machine can be found there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INCLUDED = ("python3", "make", "git", "ca-certificates")
USER = 1000
_SHARED = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", *map(str, Path("/etc/xdg/pip").glob("*")), "/root/.config/pip/pip.conf")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Mounts live and end with the namespace; the device files are this machine's.
_INSIDE = (
    'set -e; root=$1; shift; mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/tmp"; '
    'if [ -n "$WHEELS" ]; then mount --bind "$WHEELS" "$root$WHEELS"; fi; exec chroot "$root" "$@"'
)


class Bare:
    """A root made by mmdebstrap, with a clone of the checkout in /mien."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, shell: str, *, as_root: bool) -> list[str]:
        """The command that runs a line of shell in /mien of this root."""
        user = [] if as_root else ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        home = "/root" if as_root else "/home/user"
        environment = ["env", "-i", f"HOME={home}", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *_settings()]
        within = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSIDE, "sh", str(self.root)]
        return [*within, *environment, *user, "sh", "-c", f"cd /mien && {shell}"]

    def run(self, shell: str, *, as_root: bool, timeout_s: float = 900.0) -> subprocess.CompletedProcess[str]:
        """Run a line of shell to its end; both its streams are in `stdout`."""
        with self.started(shell, as_root=as_root) as process:
            out, _ = process.communicate(timeout=timeout_s)
            return subprocess.CompletedProcess(shell, process.returncode, out)

    @contextmanager
    def started(self, shell: str, *, as_root: bool, log: Path | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run a line of shell beside the test, into `log`; it and its children end with the block."""
        environment = {**os.environ, "WHEELS": _wheels() or ""}
        command = self.command(shell, as_root=as_root)
        out = log.open("w") if log is not None else None
        process = subprocess.Popen(
            command, stdout=out or subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
        )
        if out is not None:
            out.close()  # the process has its own
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # unshare's --kill-child takes the namespace's processes along
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def make(root: Path, checkout: Path) -> Bare:
    """Make the root and clone the checkout into it, or skip where that is not possible."""
    if os.getuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("a bare Debian is made by root with mmdebstrap: sudo apt-get install mmdebstrap")
    sources = [*Path("/etc/apt/sources.list.d").glob("*.sources"), *Path("/etc/apt/sources.list.d").glob("*.list")]
    plain = Path("/etc/apt/sources.list")
    sources += [plain] if plain.is_file() and plain.read_text().strip() else []
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    flags = ["--quiet", "--variant=minbase", f"--include={','.join(INCLUDED)}", "--aptopt=Acquire::Check-Valid-Until false"]
    done = subprocess.run(
        ["mmdebstrap", *flags, release["VERSION_CODENAME"], str(root), *map(str, sources)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"mmdebstrap: {done.stderr[-1500:]}")
    for name in _SHARED:
        if Path(name).is_file():
            (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, root / name[1:])
    if Path(_CERTIFICATES).is_file():
        shutil.copy(_CERTIFICATES, root / _CERTIFICATES[1:])
    for options in Path("/etc/apt/apt.conf.d").glob("*"):
        if not (root / "etc/apt/apt.conf.d" / options.name).exists():
            shutil.copy(options, root / "etc/apt/apt.conf.d")
    if wheels := _wheels():
        (root / wheels[1:]).mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", str(checkout), str(root / "mien")], check=True)
    home = root / "home" / "user"
    home.mkdir(parents=True)
    for path in (home, root / "mien", *(root / "mien").rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    return Bare(root)


def _settings() -> list[str]:
    return [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_") or name.lower().endswith("_proxy")]


def _wheels() -> str | None:
    """A folder of wheels that pip is set up with on this machine, if there is one."""
    done = subprocess.run(["python3", "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False)
    folder = os.environ.get("PIP_FIND_LINKS") or done.stdout.strip()
    return folder if folder.startswith("/") and Path(folder).is_dir() else None
