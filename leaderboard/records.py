"""What a database holds, read once, as the records that pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preimage.harness.metric_names import declared
from preimage.harness.pairing import seen_through
from preimage.harness.results import Results, StoredEvaluation
from preimage.leaderboard.slugs import slug


@dataclass(frozen=True)
class Metric:
    """What a metric is."""

    name: str
    unit: str
    better: str
    meaning: str


@dataclass(frozen=True)
class Figure:
    """One score: a metric's value, its 95 % interval where there is one, the number of images."""

    metric: Metric
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class BenchmarkRecord:
    """A benchmark: what it asks, its metrics, the one that ranks first, its formula where it tells one."""

    name: str
    question: str
    metrics: Mapping[str, Metric]
    formula: str = ""

    def metric(self, name: str) -> Metric:
        """The metric, or that which a variant (``accuracy/l2``) or a member of a family (``share_svhn``) is of."""
        base = self.metrics.get(declared(name, self.metrics) or "") or Metric(name, "", "none", "")
        return Metric(name, base.unit, base.better, base.meaning)

    def order(self, name: str) -> tuple[float, bool, str]:
        """Where a metric stands among the columns: as declared, a floor right after what it is the floor of."""
        base, _, variant = name.partition("/")
        names = list(self.metrics)
        owner = base.removeprefix("floor_")
        if owner != base and owner in names:
            return names.index(owner), True, _by_number(variant)
        family = base if base in names else declared(name, names)
        place = len(names) if family is None else names.index(family)
        return place, False, _by_number(variant if family == base else name)


@dataclass(frozen=True)
class ModelRecord:
    """A model that was run. classifies: it was asked for predictions, as only a classifier is."""

    name: str
    family: str
    identity: str
    kind: str
    card: Mapping[str, Any]
    classifies: bool = False

    @property
    def slug(self) -> str:
        return slug(self.name)

    @property
    def mark(self) -> str:
        """What it is on a board if it is no competitor: a ceiling, a reference, a baseline, or nothing."""
        if self.classifies:
            return "supervised ceiling"
        if self.kind == "reference":
            return "reference"
        return "baseline" if "baseline" in (self.card.get("tags") or ()) else ""


@dataclass(frozen=True)
class Entry:
    """A benchmark applied to a model, with its figures in the order of columns.

    seen: what its images were seen through, by name (see `seen_through`). rules: what these do to images first.
    """

    evaluation: StoredEvaluation
    model: ModelRecord
    benchmark: BenchmarkRecord
    figures: Mapping[str, Figure]
    seen: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Records:
    """All of it."""

    models: tuple[ModelRecord, ...]
    entries: tuple[Entry, ...]
    scores: tuple[dict[str, Any], ...]
    reported: tuple[dict[str, Any], ...]


def read_records(results: Results) -> Records:
    """Everything that pages show, except rows and pictures."""
    asked = {row["model"] for row in results.query("SELECT DISTINCT model FROM request WHERE kind = 'predictions'")}
    models = {
        row["name"]: ModelRecord(
            row["name"], row["family"], row["identity"], row["kind"], row["card"], row["name"] in asked
        )
        for row in results.models()
    }
    benchmarks = {row["name"]: _benchmark(row) for row in results.benchmarks()}
    scores = results.scores()
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for score in scores:
        if score["status"] == "ok" and score["value"] is not None:
            found.setdefault(tuple(score[key] for key in ("model", "dataset", "benchmark", "suite")), []).append(score)
    entries = []
    evaluations = results.evaluations()
    seen = seen_through(results, evaluations)
    rules = {row["identity"]: row["rule"] for row in results.query("SELECT identity, rule FROM network")}
    for evaluation in evaluations:
        benchmark = benchmarks.get(evaluation.benchmark) or BenchmarkRecord(evaluation.benchmark, "", {})
        mine = found.get((evaluation.model, evaluation.dataset, evaluation.benchmark, evaluation.suite), [])
        figures = {row["metric"]: _figure(row, benchmark) for row in mine}
        ordered = {name: figures[name] for name in sorted(figures, key=benchmark.order)}
        mine_seen = seen[evaluation.id]
        done = {name: rules[what] for name, what in mine_seen.items() if what in rules}
        entries.append(Entry(evaluation, models[evaluation.model], benchmark, ordered, mine_seen, done))
    reported = results.query("SELECT * FROM reported ORDER BY benchmark, suite, dataset, model, metric, source")
    return Records(tuple(models.values()), tuple(entries), tuple(scores), tuple(reported))


def precedence(benchmark: str) -> int:
    """Where a benchmark stands on a page: recovery first, the others build on it."""
    return {"recovery": 0, "overfitting": 1}.get(benchmark, 2)


def _benchmark(row: Mapping[str, Any]) -> BenchmarkRecord:
    metrics = {
        name: Metric(name, told["unit"], told["better"], told["meaning"]) for name, told in row["metrics"].items()
    }
    return BenchmarkRecord(row["name"], row["question"], metrics, row["formula"])


def _figure(row: Mapping[str, Any], benchmark: BenchmarkRecord) -> Figure:
    told = benchmark.metric(row["metric"])
    metric = Metric(row["metric"], row["unit"], row["better"], told.meaning)
    return Figure(metric, row["value"], row["low"], row["high"], row["n"])


def _by_number(variant: str) -> str:
    """A key by which ``10`` stands before ``100`` and after ``2``; a closed form (``exact``) after its estimate."""
    parts = variant.split("/")
    ordered = [*(part for part in parts if part != "exact"), *(part for part in parts if part == "exact")]
    return "/".join(part.rjust(12) if part.isdigit() else part for part in ordered)
