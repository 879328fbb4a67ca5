"""A real tritonserver on this machine: made once from a package, started on a repository, killed at will.

Owns where it lies and how it is run. `python -m tests.tritonserver` makes it (about a minute; 0.6 GB in `.cache/tritonserver`, or
`$TEST_TRITONSERVER`) and prints the folder. The binary is NVIDIA's, from its package nvidia-pytriton, of which nothing else is used;
its only backend is the Python one, so the repositories served here are those of `mien-export triton --runtime python`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

from tests.waiting import PATIENCE_S

PACKAGES = ("nvidia-pytriton==0.7.0",)
SERVED_WITH = ("numpy==1.26.4", "onnxruntime==1.23.2")
"""What model.py runs on inside the server: another release of onnxruntime than ours, as on most servers."""
_VERSION = "3.11"  # the Python that the package's stub is linked with, which must be this one's too


class ServerError(RuntimeError):
    """No tritonserver can be had here. The text says why."""


def folder() -> Path:
    """Return where it lies, or will."""
    given = os.environ.get("TEST_TRITONSERVER")
    return Path(given).expanduser() if given else Path(__file__).resolve().parent.parent / ".cache" / "tritonserver"


def ensure() -> Path:
    """Return the folder with the server in it, made if it is not there.

    Raises:
        ServerError: its packages cannot be had, or it needs another Python.
    """
    home = folder()
    done = home / "made"
    wanted = "\n".join((*PACKAGES, *SERVED_WITH)) + "\n"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        _link(home)
        return home
    if f"{sys.version_info[0]}.{sys.version_info[1]}" != _VERSION:
        raise ServerError(f"the server's stub is linked with Python {_VERSION}, this is {sys.version.partition(' ')[0]}")
    shutil.rmtree(home, ignore_errors=True)
    # An environment of its own, with a Python: the stub looks for its packages beside the python3 of its PATH, and nowhere else.
    _done([sys.executable, "-m", "venv", str(home / "venv")])
    pip = [str(home / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _done([*pip, "--no-deps", *PACKAGES])
    _done([*pip, *SERVED_WITH])
    _link(home)
    done.write_text(wanted, encoding="utf-8")
    return home


def _link(home: Path) -> None:
    """Put the backend's files where the server looks for them, by links that stay good when the folder is moved."""
    inside, backend = _inside(home), home / "backends" / "python"
    backend.mkdir(parents=True, exist_ok=True)
    for file in (*(inside / "backends" / "python").glob("*.*"), inside / "python_backend_stubs" / _VERSION / "triton_python_backend_stub"):
        link, wanted = backend / file.name, os.path.relpath(file, backend)
        if not link.is_symlink() or os.readlink(link) != wanted:
            link.unlink(missing_ok=True)
            link.symlink_to(wanted)


def _done(command: list[str]) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise ServerError(f"{' '.join(command[1:])}: {(made.stderr.strip() or 'failed').splitlines()[-1]}")


def _inside(home: Path) -> Path:
    return home / "venv" / "lib" / f"python{_VERSION}" / "site-packages" / "pytriton" / "tritonserver"


class TritonServer:
    """A tritonserver on a repository, at `url`. `apart`: with a shared memory of its own, as in a container (needs root)."""

    def __init__(self, repository: Path, log: Path, apart: bool = False) -> None:
        self._home = ensure()
        self._repository = repository
        self._log = log
        self._apart = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@"'] if apart else []
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = int(taken.getsockname()[1])
        self.url = f"127.0.0.1:{self.port}"
        self._memory = f"mien-test-{os.getpid()}-{self.port}-"

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            ServerError: it ended, or took too long; with what it said last.
        """
        libraries = sorted({str(path.parent) for path in Path(sys.base_prefix, "lib").glob("libpython*.so*")})
        command = [
            *self._apart, str(_inside(self._home) / "bin" / "tritonserver"), "--model-repository", str(self._repository),
            "--backend-directory", str(self._home / "backends"), "--allow-http=false", "--allow-metrics=false",
            "--grpc-address", "127.0.0.1", "--grpc-port", str(self.port),
            f"--backend-config=python,shm-region-prefix-name={self._memory}",
        ]  # fmt: skip
        places = [*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        path = os.pathsep.join([str(self._home / "venv" / "bin"), os.environ["PATH"]])
        settings = {"PATH": path, "LD_LIBRARY_PATH": os.pathsep.join(places)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | settings, start_new_session=True)
        end = monotonic() + PATIENCE_S
        while not self._serves():
            if self._process.poll() is not None or monotonic() > end:
                self.kill()
                raise ServerError(f"tritonserver does not start: {self._log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
            sleep(0.05)

    def _serves(self) -> bool:
        import tritonclient.grpc as client

        asked = client.InferenceServerClient(self.url, channel_args=[("grpc.use_local_subchannel_pool", 1)])
        try:
            return bool(asked.is_server_ready(client_timeout=1.0))
        except client.InferenceServerException:
            return False
        finally:
            asked.close()

    def signal(self, number: int) -> None:
        """Send a signal to the server and to what it started."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, nothing said to anybody."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
        for left in Path("/dev/shm").glob(f"{self._memory}*"):  # what its stubs cannot free any more
            left.unlink()


if __name__ == "__main__":
    try:
        print(ensure())
    except ServerError as error:
        sys.exit(f"tests.tritonserver: {error}")
