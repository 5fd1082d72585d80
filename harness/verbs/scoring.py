"""``scores`` and ``summarise``: what the database says."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

import click

from preimage.harness.verbs.arguments import console, database, registry, sources

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from preimage.harness.plugins import Registry

Row = dict[str, Any]


@click.command()
@click.option("-m", "--model", "models", multiple=True, metavar="MODEL", help="a model's name, or a shell glob")
@click.option(
    "-b", "--benchmark", "benchmarks", multiple=True, metavar="BENCHMARK", help="a benchmark's name, or a glob"
)
@click.option("-d", "--dataset", "datasets", multiple=True, metavar="DATASET", help="a data set's name, or a glob")
@click.option("--suite", "suites", multiple=True, metavar="SUITE", help="a suite's name, or a glob; '' for none")
@click.option("--json", "form", flag_value="json", help="a list of objects with the columns of the view `score`")
@click.option("--csv", "form", flag_value="csv", help="the same as comma-separated values")
@click.option("--markdown", "form", flag_value="markdown", help="a table for a README")
@click.option("--latex", "form", flag_value="latex", help="a table for a paper, of the package booktabs")
@database
def scores(
    models: tuple[str, ...],
    benchmarks: tuple[str, ...],
    datasets: tuple[str, ...],
    suites: tuple[str, ...],
    form: str | None,
    db: str,
) -> None:
    """Every score with its interval.

    \b
    Examples:
      preimage scores
      preimage scores -b recovery -m 'fashion-*'
      preimage scores --json --db results.db
    """
    from preimage.harness.results import Results
    from preimage.harness.score_files import scores_csv, scores_json

    with Results(db) as results:
        wanted = {"model": models, "benchmark": benchmarks, "dataset": datasets, "suite": suites}
        rows = [
            row
            for row in results.scores()
            if all(
                not globs or any(fnmatch.fnmatchcase(row[column], g) for g in globs) for column, globs in wanted.items()
            )
        ]
    if form == "json":
        click.echo(scores_json(rows), nl=False)
    elif form == "csv":
        click.echo(scores_csv(rows), nl=False)
    elif form in ("markdown", "latex"):
        from preimage.harness.verbs.score_tables import latex_table, markdown_table

        click.echo(markdown_table(rows) if form == "markdown" else latex_table(rows))
    else:
        console().print(score_table(rows))


def score_table(rows: list[Row]) -> Table:
    """Scores as a table for people."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "benchmark", "suite", "model", "metric"):
        table.add_column(column)
    for column in ("value", "95 % interval", "n"):
        table.add_column(column, justify="right")
    table.add_column("unit")
    for row in rows:
        names = [escape(printable(str(row[c]))) for c in ("dataset", "benchmark", "suite", "model")]
        if row["status"] == "ok":
            metric, unit = escape(printable(row["metric"])), escape(printable(row["unit"]))
            table.add_row(*names, metric, number(row["value"]), interval(row), str(row["n"]), unit)
        else:
            table.add_row(*names, f"{row['status']}: {escape(printable(row['reason']))}")
    return table


def printable(text: str) -> str:
    """The text on one line, without characters that would do something to a terminal or a page."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def number(value: float | None) -> str:
    """Four significant digits; all digits before the point where there are more."""
    if value is None:
        return ""
    return f"{value:.0f}" if 1e4 <= abs(round(value)) < 1e9 else f"{value:.4g}"


def interval(row: Row) -> str:
    """``[low, high]``, or nothing where there is none."""
    return "" if row["low"] is None else f"[{number(row['low'])}, {number(row['high'])}]"


@click.command()
@click.option(
    "--distance", "distances", multiple=True, metavar="NAME", help="score stored recoveries in this distance too"
)
@click.option("--device", default="cpu", show_default=True, metavar="D", help="with --distance: cpu, cuda, ...")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="with --distance: processes that measure")
@click.option("--offline", is_flag=True, help="with --distance: never touch the network")
@database
@sources
def summarise(
    distances: tuple[str, ...],
    device: str,
    workers: int | None,
    offline: bool,
    db: str,
    plugins: tuple[str, ...],
    cards: tuple[str, ...],
) -> int:
    """Recompute every score from the stored rows; nothing is measured.

    With --distance, recovered images are decoded from their stored codes and scored in that distance as well, in every
    stored evaluation that scores recoveries; nothing is recovered again.

    \b
    Examples:
      preimage summarise --db results.db
      preimage summarise --distance lpips-vgg
    """
    from pathlib import Path

    from preimage.harness.errors import StoreError
    from preimage.harness.store import Store
    from preimage.harness.summaries import summarise_all

    if not Path(db).is_file():
        raise StoreError(f"there is no database {db!r}. Type `preimage run` first, or name another with --db FILE")
    found = registry(plugins, cards)
    if distances:
        return _score_further(found, Path(db), distances, device, workers, offline=offline)
    with Store(db) as store:
        done, left = summarise_all(store, found)
    for reason in left:
        click.echo(f"preimage: {reason}", err=True)
    click.echo(f"{done} evaluations summarised from stored rows", err=True)
    return 1 if left else 0


def _score_further(
    found: Registry, db: Path, distances: tuple[str, ...], device: str, workers: int | None, *, offline: bool
) -> int:
    from preimage.harness.environment import default_workers
    from preimage.harness.errors import UsageError
    from preimage.harness.further_scores import plan_further_scores
    from preimage.harness.results import Results
    from preimage.harness.verbs.running import execute, stored_blocks
    from preimage.harness.world import World

    world = World(found, db, device, offline=offline)
    with Results(db) as results:
        evaluations = results.evaluations()
    plan, left = plan_further_scores(evaluations, list(dict.fromkeys(distances)), world, stored_blocks(db))
    for reason in left:
        click.echo(f"preimage: {reason}", err=True)
    if not plan.evaluations:
        raise UsageError(f"{str(db)!r} holds no recovery whose codes can be scored. Type `preimage run -b recovery`")
    return max(execute(plan, world, workers or default_workers(device)), 1 if left else 0)
