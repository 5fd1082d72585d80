"""Joining databases from several machines: each input is only read, and taken in one transaction or not at all."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from preimage.harness.errors import StoreError, UsageError
from preimage.harness.joining import Conflicts, Join, Merged, Progress
from preimage.harness.results import LOCK_SECONDS, check_version, explained
from preimage.harness.schema import VERSION
from preimage.harness.store import Store


def merge(
    inputs: Sequence[Path],
    output: Path,
    conflicts: Conflicts = "refuse",
    progress: Progress = lambda path, done, total: None,
) -> list[Merged]:
    """Join the inputs into the output, which is made where there is none. The same again changes nothing.

    Blocks are joined; of two evaluations of one thing the newest is kept, and the rows of both. A block that two
    databases have must have the same rows in both: where it has not, nothing of that input is taken, or, with
    ``keep-first``, the block that was there first stays.
    Raises UsageError for an output that is an input, StoreError for files that cannot be used, MergeConflict.
    """
    for path in inputs:
        if not path.is_file():
            raise StoreError(f"there is no database {str(path)!r}. Type e.g. `preimage merge a.db b.db --db all.db`")
        if output.exists() and output.samefile(path):
            raise UsageError(f"{str(output)!r} is both the output and an input. Name another output with --db FILE")
    for path in inputs:
        with explained(path), closing(sqlite3.connect(_address(path), uri=True, timeout=LOCK_SECONDS)) as source:
            source.execute("SELECT count(*) FROM sqlite_master")  # a damaged head is told here
            check_version(Database(source), path)
    Store(output).close()
    merged = []
    for path in inputs:
        with _readable(path) as source, _writing(output, path) as db:
            db.execute("ATTACH ? AS theirs", [source])
            db.execute("BEGIN IMMEDIATE")
            merged.append(Join(db, path, output, conflicts, progress).take())
            db.execute("COMMIT")
    return merged


def _address(path: Path) -> str:
    """Where SQLite reads the input. Even to read, it writes a file beside it, unless nobody can change it."""
    sealed = not os.access(path.resolve().parent, os.W_OK) and not Path(f"{path}-wal").exists()
    return f"{path.resolve().as_uri()}?{'immutable=1' if sealed else 'mode=ro'}"


@contextmanager
def _readable(path: Path) -> Iterator[str]:
    """The address of a database of this schema with the input's content: itself, or a migrated copy."""
    address = _address(path)
    with explained(path), closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as source:
        if check_version(Database(source), path) == VERSION:
            yield address
            return
        with tempfile.TemporaryDirectory(prefix="preimage-merge-") as folder:
            copy = Path(folder) / "copy.db"
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            Store(copy).close()
            yield f"{copy.as_uri()}?mode=ro"


@contextmanager
def _writing(output: Path, path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the output. What SQLite finds wrong with the input's content is told of the input."""
    with explained(output), closing(_connect(output)) as db:
        try:
            yield db
        except sqlite3.IntegrityError as error:
            raise StoreError(f"the database {str(path)!r} is damaged: {error}. Nothing of it was taken") from error
        except sqlite3.DatabaseError as error:
            if "malformed" not in str(error):
                raise
            raise StoreError(
                f"{str(path)!r} or {str(output)!r} is damaged: {error}. Nothing of the first was taken. "
                "`sqlite3 FILE 'PRAGMA quick_check'` says which it is"
            ) from error


def _connect(output: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{output.resolve().as_uri()}?mode=rw", uri=True, timeout=LOCK_SECONDS, isolation_level=None)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")
    return db
