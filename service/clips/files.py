"""The files of clips: uploads under way, accepted inputs, finished results.

Owns the directory and what makes a file durable. A name in `inputs/` or `results/` is a clip's id, and a file there is
whole: it was written elsewhere, synced and renamed. What a crash leaves is swept at the next start. Does not own which
clips there are (`store.py`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from capture.operating_system import hold

_FULL = (errno.ENOSPC, errno.EDQUOT)


class StorageFull(Exception):
    """There is no room on the disk."""


class InUse(Exception):
    """Another process uses the directory."""


@contextmanager
def storage() -> Iterator[None]:
    """Turn every sign of a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull from error
        raise
    except sqlite3.OperationalError as error:
        # On a full disk SQLite says "full", or, where it cannot grow its shared memory, "I/O error".
        if any(sign in str(error) for sign in ("is full", "disk I/O error")):
            raise StorageFull from error
        raise


class Files:
    """The directory, held by this process alone until `close`.

    Raises:
        InUse: another process holds it.
        OSError: it cannot be made or written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = directory / "clips.sqlite3"
        self._uploads, self._work, self._inputs, self._results = (directory / name for name in ("uploads", "work", "inputs", "results"))
        for path in (directory, self._uploads, self._work, self._inputs, self._results):
            path.mkdir(mode=0o700, parents=path == directory, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            hold(self._lock)
        except BlockingIOError:
            os.close(self._lock)
            raise InUse(f"{directory} is in use by another process") from None

    def sweep(self, inputs: set[str], results: set[str]) -> None:
        """Remove everything but these inputs and results: what a crash has left half done."""
        for path in (*self._uploads.iterdir(), *self._work.iterdir()):
            _remove(path)
        for folder, known in ((self._inputs, inputs), (self._results, results)):
            for path in folder.iterdir():
                if path.name not in known:
                    _remove(path)

    def upload(self) -> Upload:
        """Begin a new upload."""
        return Upload(self._uploads / uuid.uuid4().hex)

    def accept(self, upload: Upload, id: str) -> None:
        """Make a complete upload the input of clip `id`, durably.

        Raises:
            StorageFull: there is no room.
        """
        with storage():
            upload.sync()
            upload.path.rename(self._inputs / id)
            _sync(self._inputs)

    def private(self, id: str) -> Path:
        """Return a new directory that holds nothing but the input of `id`, called `clip`."""
        directory = self._work / uuid.uuid4().hex
        with storage():
            directory.mkdir(mode=0o700)
            os.link(self._inputs / id, directory / "clip")
        return directory

    def drop(self, directory: Path) -> None:
        """Remove a private directory."""
        _remove(directory)

    def keep(self, id: str, texts: Mapping[str, str]) -> None:
        """Write the result of `id`, a file `result.<suffix>` per text: all of them or none.

        Raises:
            StorageFull: there is no room; nothing is left behind.
        """
        part = self._work / uuid.uuid4().hex
        try:
            with storage():
                part.mkdir(mode=0o700)
                for suffix, text in texts.items():
                    with (part / f"result.{suffix}").open("wb") as file:
                        file.write(text.encode())
                        file.flush()
                        os.fsync(file.fileno())
                _sync(part)
                _remove(self._results / id)
                part.rename(self._results / id)
                _sync(self._results)
        except BaseException:
            _remove(part)
            raise

    def result(self, id: str, suffix: str) -> Path:
        """Return where a finished clip's result lies."""
        return self._results / id / f"result.{suffix}"

    def erase_input(self, id: str) -> None:
        """Delete a clip's pixels."""
        _remove(self._inputs / id)

    def erase(self, id: str) -> None:
        """Delete everything of a clip."""
        self.erase_input(id)
        _remove(self._results / id)

    @property
    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self.directory).free

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._lock)


class Upload:
    """A file being received; `sha256` of what has been written. Gone after `discard`, if it was not accepted before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            StorageFull: there is no room.
        """
        with storage():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(data)
        self.size += len(data)
        if len(self.head) < 4096:
            self.head += data[: 4096 - len(self.head)]

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Bring the content to the disk."""
        os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Close the file, and remove it unless it has been accepted."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
