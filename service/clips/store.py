"""Which clips there are and what has become of each: one SQLite table, every change one transaction.

Owns the rows and their states: queued → running → done | failed, and back to queued when a server ended over one. A commit is
on the disk before a call returns. Does not own files (`files.py`) or who works (`worker.py`). Times are UTC seconds.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.clips.files import storage

State = Literal["queued", "running", "done", "failed"]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS clips (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  name TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  options TEXT NOT NULL,
  key TEXT UNIQUE,
  fingerprint TEXT NOT NULL,
  created_s REAL NOT NULL,
  ended_s REAL,
  interrupted INTEGER NOT NULL DEFAULT 0,
  outcome TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS waiting ON clips (interrupted, number) WHERE state = 'queued';
"""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """How a clip is to be analysed, complete: a later change of the configuration does not touch it."""

    model: str
    faces: int
    hop: int | None
    allow_partial: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """One accepted clip. `key`: its Idempotency-Key; `fingerprint`: of body and options as they were given; `outcome`: of a
    done one its frame counts and `partial`, of a failed one the refusal's members."""

    id: str
    state: State
    name: str
    bytes: int
    options: ClipOptions
    key: str | None
    fingerprint: str
    created_s: float
    ended_s: float | None = None
    outcome: dict[str, Any] | None = None


class Store:
    """The table. Calls may come from any thread; every one may raise StorageFull if it writes. `wall_s`: UTC seconds."""

    def __init__(self, path: Path, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._lock = threading.Lock()
        with storage():
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._base.row_factory = sqlite3.Row
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute("PRAGMA secure_delete=ON")
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise ValueError(f"{path} has layout {version}, this mien knows {_VERSION}; give it a directory of its own")
            self._base.executescript(_SCHEMA)
            self._base.execute(f"PRAGMA user_version={_VERSION}")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._base.close()

    def recover(self) -> None:
        """Queue again what a server was running when it ended; behind the others, for it may be why."""
        with self._writing() as base:
            base.execute("UPDATE clips SET state = 'queued', interrupted = interrupted + 1 WHERE state = 'running'")

    def add(self, clip: Clip) -> None:
        """Accept a clip; it is queued and durable when this returns."""
        values = (clip.id, clip.name, clip.bytes, _options(clip.options), clip.key, clip.fingerprint, clip.created_s)
        with self._writing() as base:
            base.execute(
                "INSERT INTO clips (id, state, name, bytes, options, key, fingerprint, created_s) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?)",
                values,
            )

    def claim(self) -> Clip | None:
        """Take the next queued clip; it is running from now on."""
        if self.count("queued") == 0:
            return None
        with self._writing() as base:
            row = base.execute(
                "UPDATE clips SET state = 'running' WHERE number = "
                "(SELECT number FROM clips WHERE state = 'queued' ORDER BY interrupted, number LIMIT 1) RETURNING *"
            ).fetchone()
        return None if row is None else _clip(row)

    def release(self, id: str) -> None:
        """Queue a running clip again, at its old place."""
        with self._writing() as base:
            base.execute("UPDATE clips SET state = 'queued' WHERE id = ? AND state = 'running'", (id,))

    def end(self, id: str, state: Literal["done", "failed"], outcome: dict[str, Any]) -> bool:
        """End a running clip; return False if it has been deleted meanwhile."""
        with self._writing() as base:
            cursor = base.execute(
                "UPDATE clips SET state = ?, outcome = ?, ended_s = ? WHERE id = ? AND state = 'running'",
                (state, json.dumps(outcome), self._wall_s(), id),
            )
            return cursor.rowcount == 1

    def delete(self, id: str) -> bool:
        """Forget a clip; return whether there was one."""
        with self._writing() as base:
            return base.execute("DELETE FROM clips WHERE id = ?", (id,)).rowcount == 1

    def find(self, id: str) -> Clip | None:
        """Return a clip by its id."""
        return next(iter(self._read("WHERE id = ?", id)), None)

    def keyed(self, key: str) -> Clip | None:
        """Return a clip by its Idempotency-Key."""
        return next(iter(self._read("WHERE key = ?", key)), None)

    def all(self) -> list[Clip]:
        """Return all clips, oldest first."""
        return self._read("ORDER BY number")

    def ahead(self, id: str) -> int:
        """Return how many clips will be run before a queued one."""
        place = "SELECT interrupted, number FROM clips WHERE id = ? AND state = 'queued'"
        with self._lock:
            row = self._base.execute(
                f"SELECT count(*) FROM clips WHERE state = 'running' OR (state = 'queued' AND (interrupted, number) < ({place}))", (id,)
            ).fetchone()
        return int(row[0])

    def count(self, *states: State) -> int:
        """Return how many clips are in these states."""
        marks = ",".join("?" * len(states))
        with self._lock:
            return int(self._base.execute(f"SELECT count(*) FROM clips WHERE state IN ({marks})", states).fetchone()[0])

    def _read(self, where: str, *values: str) -> list[Clip]:
        with self._lock:
            return [_clip(row) for row in self._base.execute(f"SELECT * FROM clips {where}", values).fetchall()]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, storage():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself where the disk was full.
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise


def _options(options: ClipOptions) -> str:
    return json.dumps([options.model, options.faces, options.hop, options.allow_partial])


def _clip(row: sqlite3.Row) -> Clip:
    return Clip(
        row["id"], row["state"], row["name"], row["bytes"], ClipOptions(*json.loads(row["options"])), row["key"], row["fingerprint"],
        row["created_s"], row["ended_s"], None if row["outcome"] is None else json.loads(row["outcome"]),
    )  # fmt: skip
