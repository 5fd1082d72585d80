"""The sha256 of files, remembered from one run to the next by path, size and times."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from preimage.harness.errors import DatasetError

SETTLED = 2_000_000_000  # ns: a younger file may change again without its times showing it; it is not remembered
FLUSH = 1000  # new hashes kept in memory before they are written; what an interrupted run may lose


def default_cache() -> Path:
    """The user's folder for what can be computed again: file hashes and decompressed arrays."""
    return Path.home() / ".cache" / "preimage"


def hash_files(files: Iterable[Path], cache: Path) -> Iterator[tuple[int, str]]:
    """Size in bytes and sha256 of each file, in order.

    cache: the folder of ``fingerprints.db``, made when needed; any number of processes may use it at once. A hash is
    taken from there where path, size, modification and change time are the same. A cache that cannot be used
    (read-only, locked, broken) costs time and nothing else.
    Raises DatasetError, naming the file, where a file cannot be read.
    """
    with _Memory(cache) as memory:
        for file in files:
            try:
                hashed = _hash(file, memory)
            except OSError as error:
                raise DatasetError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
            yield hashed


def hash_file(file: Path, cache: Path) -> str:
    """The sha256 of one file; see ``hash_files``."""
    ((_, sha256),) = hash_files([file], cache)
    return sha256


def _hash(file: Path, memory: _Memory) -> tuple[int, str]:
    before = _state(file.stat())
    key = os.fsencode(file.absolute())
    known = memory.get(key, before)
    if known is not None:
        return before[0], known
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        after = _state(os.fstat(opened.fileno()))
    if after == before and abs(time.time_ns() - after[1]) > SETTLED:
        memory.put(key, after, sha256)
    return after[0], sha256


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class _Memory:
    """The table of known hashes. Every failure of the database reads as "not known"."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple[bytes, int, int, int, str]] = []

    def __enter__(self) -> _Memory:
        with suppress(OSError, sqlite3.Error):
            self._folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._folder / "fingerprints.db", timeout=10)
            try:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS file (path BLOB PRIMARY KEY, size INTEGER NOT NULL, "
                    "modified INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 TEXT NOT NULL) STRICT"
                )
            except sqlite3.Error:
                connection.close()
            else:
                self._connection = connection
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            with closing(self._connection):
                self._flush()

    def get(self, key: bytes, state: tuple[int, int, int]) -> str | None:
        if self._connection is None:
            return None
        with suppress(sqlite3.Error):
            row = self._connection.execute(
                "SELECT sha256 FROM file WHERE path = ? AND size = ? AND modified = ? AND changed = ?", (key, *state)
            ).fetchone()
            return None if row is None else str(row[0])
        return None

    def put(self, key: bytes, state: tuple[int, int, int], sha256: str) -> None:
        self._new.append((key, *state, sha256))
        if len(self._new) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        new, self._new = self._new, []
        if self._connection is not None and new:
            with suppress(sqlite3.Error), self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", new)
