"""``compare``: two models on the same images."""

from __future__ import annotations

import fnmatch
import json
from typing import TYPE_CHECKING, Any

import click

from preimage.harness.verbs.arguments import console, database
from preimage.harness.verbs.scoring import number

if TYPE_CHECKING:
    from preimage.harness.results import Results, StoredEvaluation

Row = dict[str, Any]


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "-b", "--benchmark", "benchmarks", multiple=True, metavar="BENCHMARK", help="a benchmark's name, or a glob"
)
@click.option("-d", "--dataset", "datasets", multiple=True, metavar="DATASET", help="a data set's name, or a glob")
@click.option("--suite", "suites", multiple=True, metavar="SUITE", help="a suite's name, or a glob; '' for none")
@click.option("--json", "as_json", is_flag=True, help="a list of objects, one per metric")
@database
def compare(
    a: str,
    b: str,
    benchmarks: tuple[str, ...],
    datasets: tuple[str, ...],
    suites: tuple[str, ...],
    as_json: bool,
    db: str,
) -> int:
    """Two models, A minus B, by a paired bootstrap over the same images.

    Every metric that both have under the same protocol. The difference has a 95 % interval and a two-sided p-value;
    where the interval holds 0 it is a tie. Metrics of a model's own samples are not of the same images, so they have
    no difference.

    \b
    Examples:
      preimage compare fashion-dcgan fashion-wgan-gp
      preimage compare fashion-cgan 1nn -b classification --json
    """
    from preimage.harness.results import Results

    globs = {"benchmark": benchmarks, "dataset": datasets, "suite": suites}
    with Results(db) as results:
        rows = compared(results, a, b, globs)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print(rows, a, b)
    return 0


def compared(results: Results, a: str, b: str, globs: dict[str, tuple[str, ...]]) -> list[Row]:
    """One row per metric that both models have. Raises UnknownName and UsageError where there is nothing to compare."""
    from preimage.harness.errors import UnknownName, UsageError

    known = {model["name"] for model in results.models()}
    for name in (a, b):
        if name not in known:
            raise UnknownName("model", name, known)
    chosen = {
        model: {
            (e.dataset, e.benchmark, e.suite): e
            for e in results.evaluations()
            if e.model == model
            and e.status == "ok"
            and all(not g or any(fnmatch.fnmatchcase(getattr(e, c), one) for one in g) for c, g in globs.items())
        }
        for model in (a, b)
    }
    shared = sorted(set(chosen[a]) & set(chosen[b]))
    if not shared:
        raise UsageError(
            f"{a!r} and {b!r} have no score of the same benchmark, data set and suite in {str(results.path)!r}. "
            f"Type `preimage run -m {a} -m {b}` first, or loosen -b, -d, --suite"
        )
    return [row for key in shared for row in _compared(results, chosen[a][key], chosen[b][key])]


def _compared(results: Results, one: StoredEvaluation, other: StoredEvaluation) -> list[Row]:
    from preimage.harness.pairing import difference

    scores = {
        e.id: {r["metric"]: r for r in results.query("SELECT * FROM metric_score WHERE evaluation = ?", e.id)}
        for e in (one, other)
    }
    rows: list[Row] = []
    for metric, score in scores[one.id].items():
        if metric not in scores[other.id]:
            continue
        found = difference(results, one, other, metric)
        rows.append(
            {
                "dataset": one.dataset,
                "benchmark": one.benchmark,
                "suite": one.suite,
                "metric": metric,
                "a": score["value"],
                "b": scores[other.id][metric]["value"],
                **_fields(found),
                "better": score["better"],
                "verdict": _verdict(found, score["better"], one.model, other.model),
            }
        )
    return rows


def _fields(found: Any) -> Row:
    names = {"difference": "value", "low": "low", "high": "high", "p_value": "p_value", "n": "n"}
    return {name: None if found is None else getattr(found, field) for name, field in names.items()}


def _verdict(found: Any, better: str, a: str, b: str) -> str:
    if found is None:
        return "not on the same images"
    if found.tie:
        return "tie"
    if better == "none":
        return f"{a if found.value > 0 else b} is higher"
    return f"{a if (found.value > 0) == (better == 'higher') else b} is better"


def _print(rows: list[Row], a: str, b: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "benchmark", "suite", "metric"):
        table.add_column(column)
    for column in (escape(a), escape(b), "A - B", "95 % interval", "p", "n"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        interval = "" if row["low"] is None else f"[{number(row['low'])}, {number(row['high'])}]"
        table.add_row(
            *(escape(row[c]) for c in ("dataset", "benchmark", "suite", "metric")),
            *(number(row[c]) for c in ("a", "b", "difference")),
            interval,
            "" if row["p_value"] is None else f"{row['p_value']:.2g}",
            "" if row["n"] is None else str(row["n"]),
            escape(row["verdict"]),
        )
    console().print(table)
