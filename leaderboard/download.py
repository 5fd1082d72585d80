"""The database as a download: one file, whoever writes to the original meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from preimage.harness.results import Results, explained


def copy_database(results: Results, path: Path) -> Path:
    """Copy a database, as the open transaction of ``results`` sees it, into a new file that needs no other beside it.

    The pages are copied as they are, so the same database gives the same bytes. Raises StoreError.
    """
    with explained(results.path), closing(sqlite3.connect(path)) as copy:
        results.db.conn.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    return path
