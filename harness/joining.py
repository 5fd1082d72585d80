"""One database taken into another, by SQL on whole tables. Columns are read from the tables, never listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preimage.harness.errors import MergeConflict, StoreError

Conflicts = Literal["refuse", "keep-first"]
Progress = Callable[[Path, int, int], None]
"""Called with the input, how many of its new blocks have been copied, and how many there are."""

CHUNK = 500
"""Blocks copied between two calls of the progress."""
TABLES = frozenset(
    ("run", "model", "benchmark", "reported", "request", "block", "row", "row_value", "picture", "evaluation")
) | {"metric_score", "network"}
_GROUP = ("model", "dataset", "benchmark", "suite")


@dataclass(frozen=True)
class Merged:
    """What became of an input. shared: blocks that were there already; differing: those of them with other rows,
    which were left; older: evaluations that were left because the output's are newer."""

    path: Path
    runs: int
    blocks: int
    shared: int
    differing: int
    evaluations: int
    older: int


class Join:
    """One input, attached as ``theirs``, taken into ``main`` in the transaction that is open."""

    def __init__(
        self, db: sqlite3.Connection, path: Path, output: Path, conflicts: Conflicts, progress: Progress
    ) -> None:
        self.db, self.path, self.output, self.conflicts, self.progress = db, path, output, conflicts, progress

    def take(self) -> Merged:
        """Take all of it. Raises MergeConflict, StoreError for an input that contradicts itself."""
        runs = self._runs()
        self._requests()
        self._rules()
        shared, differing = self._shared_blocks()
        blocks = self._new_blocks()
        self._newest("reported", "0", "model")
        self._newest("benchmark", "{0}.version", "benchmark")
        self._newest("model", "{0}.identity <> ''", "model")
        evaluations, older = self._evaluations()
        return Merged(self.path, runs, blocks, shared, differing, evaluations, older)

    def _runs(self) -> int:
        """Runs that agree in everything but their number and their end are one run: ``temp.run_map`` of old to new."""
        facts = self._columns("run", but=("id", "finished"))
        ranked = f"SELECT *, row_number() OVER (PARTITION BY {_list(facts)} ORDER BY id) AS twin FROM {{}}.run"
        same = " AND ".join(f"o.{name} IS t.{name}" for name in [*facts, "twin"])
        self._map("run", f"SELECT t.id, o.id FROM ({ranked.format('theirs')}) t "
                         f"LEFT JOIN ({ranked.format('main')}) o ON {same}")  # fmt: skip
        self.db.execute(
            "UPDATE main.run SET finished = t.finished FROM temp.run_map m JOIN theirs.run t ON t.id = m.old "
            "WHERE run.id = m.new AND t.finished > coalesce(run.finished, '')"
        )
        new = self._number("run")
        self._copy("run", "run", "id", {"id": "m.new"})
        return new

    def _requests(self) -> None:
        facts = self._columns("request", but=("key",))
        differs = " OR ".join(f"o.{name} IS NOT t.{name}" for name in facts)
        key = self._one(f"SELECT t.key FROM theirs.request t JOIN main.request o USING (key) WHERE {differs} LIMIT 1")
        if key is not None:
            raise StoreError(
                f"request {str(key)[:12]} is described in other words in {str(self.path)!r} than in "
                f"{str(self.output)!r}, although its key is the hash of them: one of the two is damaged. "
                f"Nothing of {str(self.path)!r} was taken"
            )
        columns = _list(self._columns("request"))
        self.db.execute(
            f"INSERT INTO main.request ({columns}) SELECT {columns} FROM theirs.request "
            "WHERE key NOT IN (SELECT key FROM main.request)"
        )

    def _rules(self) -> None:
        """Of two rules of one identity, which a plug-in may give, the greater stays, whatever the order of inputs."""
        self.db.execute(
            "INSERT INTO main.network (identity, rule) SELECT identity, rule FROM theirs.network WHERE true "
            "ON CONFLICT (identity) DO UPDATE SET rule = max(rule, excluded.rule)"
        )

    def _shared_blocks(self) -> tuple[int, int]:
        """How many blocks both have, and how many of them differ. Raises MergeConflict where none may."""
        self._map("block", "SELECT t.id, o.id FROM theirs.block t LEFT JOIN main.block o USING (request, number)")
        self.db.execute("CREATE TEMP TABLE differing AS " + " UNION ".join(f"SELECT old FROM ({difference})"
                        for difference in self._differences().values()))  # fmt: skip
        shared = self._count("temp.block_map WHERE new IS NOT NULL")
        differing = self._count("temp.differing")
        if differing and self.conflicts == "refuse":
            raise MergeConflict(self._conflict(shared, differing))
        return shared, differing

    def _differences(self) -> dict[str, str]:
        """By what differs: a query for ``old`` (the block's id), ``place`` (within it), ``theirs``, ``ours``."""
        blocks = "temp.block_map m JOIN theirs.block t ON t.id = m.old JOIN main.block o ON o.id = m.new"
        pixels = f"SELECT m.old, '' AS place, t.pixels AS theirs, o.pixels AS ours FROM {blocks} "
        found = {"the hash of the pixels read": pixels + "WHERE t.pixels IS NOT o.pixels"}
        for table, fact in (("row_value", "value"), ("row", "outcome"), ("row", "code")):
            keys = [key for key in self._primary(table) if key != "block"]
            same = " AND ".join(f"o.{key} = t.{key}" for key in keys)
            # once from either side, so that a row that only one of them has is seen
            found[fact] = " UNION ALL ".join(
                f"SELECT m.old, {_place('name' in keys, side)} AS place, t.{fact} AS theirs, o.{fact} AS ours "
                f"FROM temp.block_map m {joined} WHERE m.new IS NOT NULL AND ({other}.block IS NULL OR t.{fact} IS NOT "
                f"o.{fact})"
                for side, other, joined in (
                    ("t", "o", f"JOIN theirs.{table} t ON t.block = m.old "
                               f"LEFT JOIN main.{table} o ON o.block = m.new AND {same}"),
                    ("o", "t", f"JOIN main.{table} o ON o.block = m.new "
                               f"LEFT JOIN theirs.{table} t ON t.block = m.old AND {same}"),
                )
            )  # fmt: skip
        return found

    def _conflict(self, shared: int, differing: int) -> str:
        """The first differing block in words."""
        block, number, request, kind, model = self.db.execute(
            "SELECT b.id, b.number, r.key, r.kind, r.model FROM temp.differing d JOIN theirs.block b ON b.id = d.old "
            "JOIN theirs.request r ON r.key = b.request ORDER BY r.key, b.number LIMIT 1"
        ).fetchone()
        what, (place, theirs, ours) = next(
            (what, found)
            for what, difference in self._differences().items()
            for found in self.db.execute(f"SELECT place, theirs, ours FROM ({difference}) WHERE old = ?", [block])
        )
        return (
            f"{str(self.path)!r} and {str(self.output)!r} both have block {number} of request {request[:12]} "
            f"({kind} of {model!r}), with different rows: {what}{place} is {_shown(theirs)} in the first, "
            f"{_shown(ours)} in the second; {differing} of {shared} shared blocks differ. Two kinds of machine differ "
            f"in the last bits, which a search amplifies. Nothing of {str(self.path)!r} was taken. To keep the blocks "
            "that were there first, type the same command with --conflicts keep-first"
        )

    def _new_blocks(self) -> int:
        new = self._number("block")
        self._copy("block", "block", "id", {"id": "m.new", "run": "(SELECT new FROM temp.run_map WHERE old = t.run)"})
        for first in range(0, new, CHUNK):
            self.progress(self.path, first, new)
            for table in ("row", "row_value", "picture"):
                self._copy(table, "block", "block", {"block": "m.new"}, first, first + CHUNK)
        self.progress(self.path, new, new)
        return new

    def _newest(self, table: str, known: str, owner: str) -> None:
        """Take the input's row where there is none of its key, or where it is known better or was in use later.

        known: what decides first, of the row ``{0}``; owner: the column of ``evaluation`` that tells of its use.
        """
        key, columns = self._primary(table), self._columns(table)
        facts = [name for name in columns if name not in key]
        name = "model" if "model" in key else "name"

        def order(side: str, schema: str) -> str:
            used = f"(SELECT max(created) FROM {schema}.evaluation e WHERE e.{owner} = {side}.{name})"
            return f"({known.format(side)}, coalesce({used}, ''), {_list(facts, f'{side}.')})"

        on = " AND ".join(f"o.{name} = t.{name}" for name in key)
        self.db.execute(
            f"INSERT INTO main.{table} ({_list(columns)}) SELECT {_list(columns, 't.')} FROM theirs.{table} t "
            f"LEFT JOIN main.{table} o ON {on} "
            f"WHERE o.{key[0]} IS NULL OR {order('t', 'theirs')} > {order('o', 'main')} "
            f"ON CONFLICT ({_list(key)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in facts)}"
        )

    def _evaluations(self) -> tuple[int, int]:
        """How many evaluations are taken, and how many are left for newer ones."""
        facts = self._columns("evaluation", but=("id", "run", "created", *_GROUP))
        order = "({0}.created, {0}.asks <> '[]', " + ", ".join(f"{{0}}.{name}" for name in facts) + ")"
        on = " AND ".join(f"o.{name} = t.{name}" for name in _GROUP)
        both = f"theirs.evaluation t {{}} JOIN main.evaluation o ON {on}"
        self.db.execute(
            f"CREATE TEMP TABLE older AS SELECT t.id AS old, o.id AS ours, o.asks FROM {both.format('')} "
            f"WHERE {order.format('t')} > {order.format('o')}"
        )
        # it failed before it could ask: the way back to its rows is kept
        self.db.execute(f"UPDATE main.evaluation SET asks = t.asks FROM theirs.evaluation t WHERE t.asks <> '[]' "
                        f"AND evaluation.asks = '[]' AND {on.replace('o.', 'evaluation.')}")  # fmt: skip
        self.db.execute("DELETE FROM main.evaluation WHERE id IN (SELECT ours FROM temp.older)")
        self._map("evaluation", f"SELECT t.id, o.id FROM {both.format('LEFT')}")
        older = self._count(f"{both.format('')} AND o.created > t.created")
        new = self._number("evaluation")
        renamed = {
            "id": "m.new",
            "run": "(SELECT new FROM temp.run_map WHERE old = t.run)",
            "asks": "iif(t.asks = '[]', coalesce((SELECT asks FROM temp.older WHERE old = t.id), t.asks), t.asks)",
        }
        self._copy("evaluation", "evaluation", "id", renamed)
        self._copy("metric_score", "evaluation", "evaluation", {"evaluation": "m.new"})
        return new, older

    def _map(self, table: str, query: str) -> None:
        """``temp.TABLE_map`` of their ids to ours (null where there is none); ``_number`` gives the others a place."""
        self.db.execute(f"CREATE TEMP TABLE {table}_map (old INTEGER PRIMARY KEY, new INTEGER, place INTEGER)")
        self.db.execute(f"INSERT INTO temp.{table}_map (old, new) {query}")

    def _number(self, table: str) -> int:
        """Give what is new an id after ours, in their order; how many there are."""
        self.db.execute(
            f"UPDATE temp.{table}_map SET place = n.place, new = n.place + 1 + "
            f"(SELECT coalesce(max(id), 0) FROM main.{table}) FROM (SELECT old, row_number() OVER (ORDER BY old) - 1 "
            f"AS place FROM temp.{table}_map WHERE new IS NULL) n WHERE n.old = {table}_map.old"
        )
        self.db.execute(f"CREATE INDEX temp.{table}_place ON {table}_map (place)")
        return self._count(f"temp.{table}_map WHERE place IS NOT NULL")

    def _copy(
        self, table: str, by: str, column: str, renamed: dict[str, str], first: int = 0, end: int = 2**62
    ) -> None:
        """Copy the rows whose ``column`` is new in the map ``by``, from one place in it to another."""
        columns = self._columns(table)
        values = ", ".join(renamed.get(name, f"t.{name}") for name in columns)
        self.db.execute(
            f"INSERT INTO main.{table} ({_list(columns)}) SELECT {values} FROM temp.{by}_map m "
            f"CROSS JOIN theirs.{table} t ON t.{column} = m.old WHERE m.place >= ? AND m.place < ? ORDER BY m.place",
            [first, end],
        )

    def _columns(self, table: str, but: Sequence[str] = ()) -> list[str]:
        return [row[1] for row in self.db.execute(f"PRAGMA main.table_info({table})") if row[1] not in but]

    def _primary(self, table: str) -> list[str]:
        return [row[1] for row in self.db.execute(f"PRAGMA main.table_info({table})") if row[5]]

    def _count(self, source: str) -> int:
        return int(self.db.execute(f"SELECT count(*) FROM {source}").fetchone()[0])

    def _one(self, query: str) -> object:
        found = self.db.execute(query).fetchone()
        return None if found is None else found[0]


def _place(named: bool, side: str) -> str:
    """Where in a block a row of ``row_value`` (named) or ``row`` is, in words, as SQL."""
    name = f"' ' || quote({side}.name) || " if named else ""
    return f"{name}' of image ' || {side}.image || iif({side}.label < 0, '', ' under label ' || {side}.label)"


def _list(names: Sequence[str], before: str = "") -> str:
    return ", ".join(f"{before}{name}" for name in names)


def _shown(value: object) -> str:
    """A value of a row in a message: none where there is no such row, the beginning of a code."""
    if value is None:
        return "none"
    return f"{value[:8].hex()}..." if isinstance(value, bytes) else repr(value)
