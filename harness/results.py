"""Reading a database of results: scores, evaluations, rows, pictures. Read-only; imports no torch."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlite_utils import Database

from preimage.harness.errors import StoreError
from preimage.harness.rows import Rows
from preimage.harness.schema import APPLICATION_ID, VERSION, migrate

LOCK_SECONDS = 30.0


@dataclass(frozen=True)
class StoredAsk:
    """What an evaluation asked for: under which role, which request, of how many images."""

    role: str
    request: str
    count: int


@dataclass(frozen=True)
class StoredEvaluation:
    """A benchmark applied to a model, as stored; enough to summarise it again."""

    id: int
    model: str
    dataset: str
    benchmark: str
    suite: str
    version: int
    options: dict[str, Any]
    asks: tuple[StoredAsk, ...]
    status: str
    reason: str
    trace: str
    command: str
    created: str


class Results:
    """A database opened for reading. Use as a context manager. Raises StoreError where it cannot be read."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StoreError(
                f"there is no database {str(self.path)!r}. Type `preimage run` or `preimage demo` first, "
                "or name another with --db FILE"
            )
        with explained(self.path):
            connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)
            self.db = Database(connection)
            if check_version(self.db, self.path) < VERSION:
                self.db.close()
                _bring_up_to_date(self.path)
                connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)
                self.db = Database(connection)

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def query(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        """The rows of any SELECT, as dictionaries."""
        with explained(self.path):
            return list(self.db.query(sql, list(arguments)))

    def scores(self) -> list[dict[str, Any]]:
        """The view ``score``, row by row."""
        return self.query("SELECT * FROM score")

    def models(self) -> list[dict[str, Any]]:
        """Every model that was run, with its card as a dictionary."""
        return [{**row, "card": json.loads(row["card"])} for row in self.query("SELECT * FROM model ORDER BY name")]

    def benchmarks(self) -> list[dict[str, Any]]:
        """Every benchmark that was run: name, version, question, formula, metrics by name."""
        return [
            {**row, "metrics": json.loads(row["metrics"])}
            for row in self.query("SELECT * FROM benchmark ORDER BY name")
        ]

    def evaluations(self) -> list[StoredEvaluation]:
        """Every benchmark applied to every model."""
        return [
            StoredEvaluation(
                row["id"],
                row["model"],
                row["dataset"],
                row["benchmark"],
                row["suite"],
                row["version"],
                json.loads(row["options"]),
                tuple(StoredAsk(**ask) for ask in json.loads(row["asks"])),
                row["status"],
                row["reason"],
                row["trace"],
                row["command"],
                row["created"],
            )
            for row in self.query("SELECT * FROM evaluation ORDER BY dataset, benchmark, suite, model")
        ]

    def description(self, request: str) -> dict[str, Any]:
        """Everything a request names: its protocol. Empty where it is not stored."""
        found = self.query("SELECT description FROM request WHERE key = ?", request)
        return dict(json.loads(found[0]["description"])) if found else {}

    def rows(self, request: str, count: int) -> Rows:
        """The rows of images 0 to count - 1 of a request. Raises StoreError where some are not stored."""
        rows = self._rows("b.request = ? AND r.image < ?", request, count)
        if (stored := len(set(rows.image.tolist()))) < count:
            raise StoreError(
                f"{str(self.path)!r} holds {stored} of {count} images of request {request[:12]}. Run the same command "
                "again; it measures what is missing"
            )
        return rows

    def stored_rows(self, request: str) -> Rows:
        """The rows of every image of a request that is stored, however many there are."""
        return self._rows("b.request = ?", request)

    def codes(self, request: str, count: int) -> list[bytes]:
        """The code (or matrix) of each row of images 0 to count - 1, as little-endian bytes."""
        return self._codes("b.request = ? AND r.image < ?", request, count)

    def block(self, request: str, number: int) -> tuple[Rows, list[bytes]]:
        """The rows of one block and the code of each. Raises StoreError where the block is not stored."""
        rows = self._rows("b.request = ? AND b.number = ?", request, number)
        if not len(rows):
            raise StoreError(
                f"{str(self.path)!r} does not hold block {number} of request {request[:12]}. Run the same command "
                "again; it measures what is missing"
            )
        return rows, self._codes("b.request = ? AND b.number = ?", request, number)

    def _rows(self, which: str, *values: object) -> Rows:
        import numpy as np

        heads = self.query(
            "SELECT r.image, r.label, r.outcome FROM row r JOIN block b ON b.id = r.block "
            f"WHERE {which} ORDER BY r.image, r.label",
            *values,
        )
        place = {(head["image"], head["label"]): index for index, head in enumerate(heads)}
        columns: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
        for row in self.query(
            f"SELECT r.image, r.label, r.name, r.value FROM row_value r JOIN block b ON b.id = r.block WHERE {which}",
            *values,
        ):
            column = columns.setdefault(row["name"], np.full(len(heads), np.nan))
            column[place[row["image"], row["label"]]] = row["value"]
        return Rows(
            np.array([h["image"] for h in heads], dtype=np.int64),
            np.array([h["label"] for h in heads], dtype=np.int64),
            columns,
            tuple(h["outcome"] for h in heads),
        )

    def _codes(self, which: str, *values: object) -> list[bytes]:
        return [
            row["code"]
            for row in self.query(
                f"SELECT r.code FROM row r JOIN block b ON b.id = r.block WHERE {which} ORDER BY r.image, r.label",
                *values,
            )
        ]

    def pictures(self, request: str) -> dict[str, bytes]:
        """The PNG strips of the request's first block."""
        return {
            row["name"]: row["png"]
            for row in self.query(
                "SELECT p.name, p.png FROM picture p JOIN block b ON b.id = p.block "
                "WHERE b.request = ? AND b.number = 0 ORDER BY p.name",
                request,
            )
        }

    def strips(self, request: str, name: str) -> dict[int, tuple[bytes, int]]:
        """The PNG strip of that name of every block of the request that has one, by number, and its count of images."""
        return {
            row["number"]: (row["png"], row["images"])
            for row in self.query(
                "SELECT b.number, p.png, (SELECT count(DISTINCT r.image) FROM row r WHERE r.block = b.id) AS images "
                "FROM block b JOIN picture p ON p.block = b.id WHERE b.request = ? AND p.name = ? ORDER BY b.number",
                request,
                name,
            )
        }

    def cost(self, request: str) -> tuple[int, float]:
        """Generator evaluations and seconds that the request's stored blocks took."""
        found = self.query(
            "SELECT coalesce(sum(evaluations), 0) AS evaluations, coalesce(sum(seconds), 0.0) AS seconds "
            "FROM block WHERE request = ?",
            request,
        )[0]
        return int(found["evaluations"]), float(found["seconds"])


def finished_blocks(path: Path) -> dict[str, set[int]]:
    """Which blocks are finished, by request. None where the file is not there, or was left before its first table."""
    found: dict[str, set[int]] = {}
    if path.is_file() and not _is_empty(path):
        with Results(path) as results:
            for row in results.query("SELECT request, number FROM block"):
                found.setdefault(row["request"], set()).add(row["number"])
    return found


def _is_empty(path: Path) -> bool:
    """Whether an SQLite file has no table at all."""
    with explained(path), closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _bring_up_to_date(path: Path) -> None:
    """Migrate an older database, which reading needs too."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        migrate(Database(connection))


def check_version(db: Database, path: Path) -> int:
    """The file's schema version. Raises StoreError for a file that is not ours or was written by a newer preimage."""
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        raise StoreError(f"{str(path)!r} is not a database of preimage. Name another file with --db FILE")
    if version > VERSION:
        raise StoreError(
            f"{str(path)!r} has schema version {version}; this preimage knows up to {VERSION}. "
            "Install a newer preimage, or name another file with --db FILE"
        )
    return int(version)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors in words that say what to do."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # what was to be written is wrong, not the file
    except sqlite3.DatabaseError as error:
        text = str(error)
        advice = "Name another file with --db FILE"
        if "locked" in text or "busy" in text:
            advice = (
                f"Another program has held it for {LOCK_SECONDS:.0f} s: wait for it to end, or use --db FILE. "
                "Finished blocks are safe; the same command goes on from there"
            )
        elif "full" in text:
            advice = "The disk is full: free some space and type the same command again; finished blocks are safe"
        elif "readonly" in text or "unable to open" in text:
            advice = "Check the folder and its permissions, or name another file with --db FILE"
        elif "not a database" in text or "malformed" in text:
            advice = "It is no SQLite file or is damaged. Name another file with --db FILE"
        raise StoreError(f"cannot use the database {str(path)!r}: {text}. {advice}") from error
