"""Writing results: a finished block in one transaction, so that a kill at any moment loses no finished block."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlite_utils import Database
from sqlite_utils.db import Table

from preimage.harness.benchmark import Benchmark, MetricInfo, Score
from preimage.harness.cards import ModelCard
from preimage.harness.errors import NotFiniteRows
from preimage.harness.options import plain_options
from preimage.harness.plan import Evaluation
from preimage.harness.requests import ModelKey, Request
from preimage.harness.results import LOCK_SECONDS, Results, StoredEvaluation, check_version, explained
from preimage.harness.rows import Block
from preimage.harness.schema import VERSION, migrate
from preimage.harness.suites import Figure, Suite


class Store(Results):
    """A database opened for writing; made where there is none. Many processes may read it meanwhile (WAL)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with explained(self.path):
            connection = sqlite3.connect(self.path, timeout=LOCK_SECONDS)
            self.db = Database(connection)
            self._migrate()
            self.db.execute("PRAGMA foreign_keys = ON")
            self.db.execute("PRAGMA synchronous = NORMAL")

    def __enter__(self) -> Store:
        return self

    def _migrate(self) -> None:
        empty = not self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not empty and check_version(self.db, self.path) == VERSION:
            return
        self.db.enable_wal()
        migrate(self.db)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, which waits its turn among other processes before it reads anything."""
        with explained(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.commit()
            except BaseException:
                self.db.rollback()
                raise

    def _table(self, name: str) -> Table:
        return self.db.table(name)

    def _inserted(self, table: str, row: dict[str, Any]) -> int:
        """Insert a row; its id."""
        self._table(table).insert(row)
        return int(self.db.execute("SELECT last_insert_rowid()").fetchone()[0])

    def begin_run(
        self, command: str, seed: int, git_revision: str, packages: dict[str, str], machine: dict[str, Any]
    ) -> int:
        """Record that a command starts; its id."""
        with self._writing():
            row = {
                "command": command,
                "started": _now(),
                "finished": None,
                "git_revision": git_revision,
                "packages": json.dumps(packages),
                "machine": json.dumps(machine),
                "seed": seed,
            }
            return self._inserted("run", row)

    def end_run(self, run: int) -> None:
        """Record that the command has ended by itself."""
        with self._writing():
            self._table("run").update(run, {"finished": _now()})

    def add_model(self, card: ModelCard, key: ModelKey) -> None:
        """Store the card of a model that is about to be run, and the figures it reports."""
        described = card_data(card)
        with self._writing():
            row = {
                "name": card.name,
                "family": card.family,
                "identity": key.identity,
                "kind": card.kind,
                "card": json.dumps(described),
            }
            if key.identity:
                self._table("model").upsert(row, pk="name")
            else:  # it could not be loaded: what is known of it stays
                self._table("model").insert(row, ignore=True)
            for metric, value in card.reported.items():
                self._report(Figure(card.name, card.dataset, "", metric, float(value), card.paper or "card"), suite="")

    def add_reported(self, suite: Suite) -> None:
        """Store the figures of the suite's paper."""
        with self._writing():
            for figure in suite.reported:
                self._report(figure, suite.name)

    def _report(self, figure: Figure, suite: str) -> None:
        key = ("suite", "model", "dataset", "benchmark", "metric", "source")
        self._table("reported").upsert({"suite": suite, **vars(figure)}, pk=key)

    def add_benchmark(self, benchmark: Benchmark[Any]) -> None:
        """Store what a benchmark asks and what its metrics mean, so that pages can say it."""
        metrics = {name: vars(info) for name, info in benchmark.metrics.items()}
        with self._writing():
            row = {
                "name": benchmark.name,
                "version": benchmark.version,
                "question": benchmark.question,
                "formula": str(getattr(benchmark, "formula", "")),
                "metrics": json.dumps(metrics),
            }
            self._table("benchmark").upsert(row, pk="name")

    def add_rule(self, identity: str, rule: str) -> None:
        """Store what the distance or extractor of that identity does to images first, so that pages can say it."""
        with self._writing():
            self._table("network").insert({"identity": identity, "rule": rule}, ignore=True)

    def add_request(self, request: Request) -> None:
        """Store what a request names, once."""
        with self._writing():
            row = {
                "key": request.key(),
                "kind": request.kind,
                "version": request.version,
                "model": request.model.name,
                "description": json.dumps(request.describe(), sort_keys=True),
            }
            self._table("request").insert(row, ignore=True)

    def add_block(self, request: str, number: int, block: Block, run: int) -> None:
        """Store a finished block whole, or not at all. A block that another process stored meanwhile stays.

        Raises NotFiniteRows for a value that is not finite, naming the image.
        """
        for name, column in block.values.items():
            broken = np.flatnonzero(~np.isfinite(column))
            if broken.size:
                raise NotFiniteRows(
                    f"value {name!r} of image {int(block.image[broken[0]])} is {column[broken[0]]}; "
                    "only finite numbers are stored"
                )
        with self._writing():
            if self.db.execute("SELECT 1 FROM block WHERE request = ? AND number = ?", [request, number]).fetchone():
                return
            head = {
                "request": request,
                "number": number,
                "rows": len(block.image),
                "pixels": block.pixels,
                "evaluations": block.evaluations,
                "seconds": block.seconds,
                "run": run,
            }
            id_ = self._inserted("block", head)
            names = list(zip(block.image.tolist(), block.label.tolist(), strict=True))
            self._many(
                "row",
                (
                    {
                        "block": id_,
                        "image": image,
                        "label": label,
                        "outcome": block.outcome[i] if block.outcome else "",
                        "code": block.code[i] if block.code else None,
                    }
                    for i, (image, label) in enumerate(names)
                ),
            )
            self._many(
                "row_value",
                (
                    {"block": id_, "image": image, "label": label, "name": name, "value": value}
                    for name, column in block.values.items()
                    for (image, label), value in zip(names, column.tolist(), strict=True)
                ),
            )
            self._many("picture", ({"block": id_, "name": name, "png": png} for name, png in block.pictures.items()))

    def _many(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        self._table(table).insert_all(rows, batch_size=1000)

    def add_evaluation(
        self, evaluation: Evaluation, scores: list[Score], metrics: dict[str, MetricInfo], command: str, run: int
    ) -> None:
        """Store how a benchmark went on a model, in place of what was there; the same again changes nothing."""
        asks = [{"role": r, "request": a.request.key(), "count": a.count} for r, a in evaluation.asks.items()]
        row = {
            "model": evaluation.card.name,
            "dataset": evaluation.dataset,
            "benchmark": evaluation.benchmark.name,
            "suite": evaluation.suite,
            "version": evaluation.benchmark.version,
            "options": json.dumps(plain_options(evaluation.options), sort_keys=True),
            "asks": json.dumps(asks),
            "status": evaluation.status,
            "reason": evaluation.reason,
            "trace": evaluation.trace,
        }
        self._replace_evaluation(row, scores, metrics, command, run)

    def rescore(
        self, evaluation: StoredEvaluation, scores: list[Score], metrics: dict[str, MetricInfo], version: int
    ) -> None:
        """Replace the scores of a stored evaluation by ones recomputed from its rows."""
        old = self.query("SELECT * FROM evaluation WHERE id = ?", evaluation.id)[0]
        row = {name: value for name, value in old.items() if name not in ("id", "created", "run", "command")}
        row.update(version=version, status="ok", reason="", trace="")
        self._replace_evaluation(row, scores, metrics, old["command"], old["run"])

    def _replace_evaluation(
        self, row: dict[str, Any], scores: list[Score], metrics: dict[str, MetricInfo], command: str, run: int
    ) -> None:
        values = [
            {
                "metric": s.metric,
                **s.estimate._asdict(),
                "unit": metrics[s.metric].unit,
                "better": metrics[s.metric].better,
            }
            for s in scores
        ]
        where = [row[name] for name in ("model", "dataset", "benchmark", "suite")]
        with self._writing():
            old = list(
                self.db.query(
                    "SELECT * FROM evaluation WHERE model = ? AND dataset = ? AND benchmark = ? AND suite = ?", where
                )
            )
            if old and all(old[0][name] == value for name, value in row.items()):
                stored = self.db.query(
                    "SELECT metric, value, low, high, n, replicates, unit, better FROM metric_score "
                    "WHERE evaluation = ? ORDER BY metric",
                    [old[0]["id"]],
                )
                if list(stored) == sorted(values, key=lambda v: str(v["metric"])):
                    return
            if old and row["asks"] == "[]":  # it failed before it could ask: the way back to its rows is kept
                row = {**row, "asks": old[0]["asks"]}
            for found in old:
                self.db.execute("DELETE FROM evaluation WHERE id = ?", [found["id"]])
            id_ = self._inserted("evaluation", {**row, "command": command, "created": _now(), "run": run})
            self._many("metric_score", ({"evaluation": id_, **value} for value in values))


def card_data(card: ModelCard) -> dict[str, Any]:
    """A card as plain data, fields in their order, without what only lives in memory."""
    data = {name: value for name, value in vars(card).items() if name != "load"}
    data["image"] = list(card.image)
    data["tags"] = list(card.tags)
    data["weights"] = None if card.weights is None else vars(card.weights)
    return json.loads(json.dumps(data, default=str))  # type: ignore[no-any-return]  # json gives what was put in


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
