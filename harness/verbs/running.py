"""``run`` and ``demo``: measure, summarise, store."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preimage.harness.verbs.arguments import console, database, limits, limits_of, registry, sources

if TYPE_CHECKING:
    from preimage.harness.plan import Plan, Work
    from preimage.harness.plugins import Registry
    from preimage.harness.run import Report
    from preimage.harness.suites import Suite
    from preimage.harness.world import World


DEFAULT_DISTANCE = "squared-l2"
"""What goes without saying where requests are told."""


@click.command()
@click.argument("suite", required=False)
@click.option("-m", "--model", "models", multiple=True, metavar="MODEL", help="a model's name, or a shell glob")
@click.option(
    "-b", "--benchmark", "benchmarks", multiple=True, metavar="BENCHMARK", help="a benchmark's name, or a glob"
)
@click.option(
    "-d", "--dataset", metavar="DATASET", help="a data set's name, or a path: a folder of images, .npz, idx files"
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="an option of the benchmarks, e.g. solver.steps=100"
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="the first N images of each split")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="of every random stream")
@click.option("--device", default="cpu", show_default=True, metavar="D", help="cpu, cuda, cuda:1, ...")
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="processes that measure; one per core where not set"
)
@click.option("--dry-run", is_flag=True, help="print the plan: requests, what is stored, evaluations, time")
@click.option("--offline", is_flag=True, help="never touch the network")
@click.option("--fail-fast", is_flag=True, help="stop at the first failure")
@limits
@database
@sources
def run(
    suite: str | None,
    models: tuple[str, ...],
    benchmarks: tuple[str, ...],
    dataset: str | None,
    settings: tuple[str, ...],
    limit: int | None,
    seed: int | None,
    device: str,
    workers: int | None,
    dry_run: bool,
    offline: bool,
    fail_fast: bool,
    memory: str,
    cache: str,
    db: str,
    plugins: tuple[str, ...],
    cards: tuple[str, ...],
) -> int:
    """Plan, refuse, measure, summarise, store. The same command again resumes, or finds nothing to do.

    SUITE is a published protocol (`preimage list suites`) or a suite's YAML file; without one each benchmark runs
    with its documented default options. Without -m it is of every model but installed ones with weights on the Hub.

    \b
    Examples:
      preimage run quick
      preimage run quick -m fashion-dcgan --limit 200 --workers 2
      preimage run -b recovery -m 'fashion-*' --set solver=adam --set solver.steps=750
      preimage run -b recovery -m my-model --card my-model.yaml --dry-run
      preimage run -b recovery -m ppca -d my-images/
    """
    from preimage.harness.options import parse_settings
    from preimage.harness.plan import Selection
    from preimage.harness.world import World

    chosen = parse_settings(settings)
    chosen.update({key: value for key, value in (("limit", limit), ("seed", seed)) if value is not None})
    allowed, found = limits_of(memory, cache), registry(plugins, cards)
    if dataset is not None:
        found, dataset = with_data_set(found, dataset, models)
    selection = Selection(models, benchmarks, dataset, _suite(suite, found) if suite else None, chosen)
    world = World(found, Path(db), device, offline=offline, limits=allowed)
    return _run(found, selection, world, workers, seed or 0, dry_run=dry_run, fail_fast=fail_fast)


@click.command()
@click.option("--site", "out", default="site", show_default=True, metavar="OUT", help="the folder of pages")
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="processes that measure; one per core where not set"
)
@database
@click.pass_context
def demo(ctx: click.Context, out: str, workers: int | None, db: str) -> int:
    """The models that ship, the quick suite, the site; prints where to look.

    \b
    Example:
      preimage demo
    """
    from preimage.harness.errors import PluginError

    group = ctx.parent.command if ctx.parent is not None else None
    site = group.get_command(ctx, "site") if isinstance(group, click.Group) else None
    if site is None:
        raise PluginError("the leaderboard is not installed: `preimage plugins` says why")
    status = int(ctx.invoke(run, suite="quick", workers=workers, db=db))
    site.main([out, "--db", db], prog_name="preimage site", standalone_mode=False)
    click.echo(str(Path(db).resolve()))
    return status


def _is_path(text: str) -> bool:
    """Whether a name that is not registered is meant as a path."""
    return Path(text).expanduser().exists() or "/" in text or text.endswith(".npz")


def with_data_set(found: Registry, dataset: str, models: tuple[str, ...]) -> tuple[Registry, str]:
    """The registry, with the data set added where it is a path, and the data set's name."""
    from preimage.harness.derived_names import path_in

    if found.has_dataset(dataset) or not _is_path(path := path_in(dataset)):
        return found, dataset
    found, name = with_images_of(found, path, models)
    return found, dataset.replace(path, name, 1)


def with_images_of(found: Registry, path: str, models: tuple[str, ...]) -> tuple[Registry, str]:
    """The registry with the data set at a path added, and its name. A folder's images are resized to what the models
    make, where that is one shape."""
    from dataclasses import replace

    from preimage.harness.plugins import Registry, expand

    shapes = {found.models[name].image for name in expand(found.models, models or ("*",))}
    image = shapes.pop() if len(shapes) == 1 and Path(path).is_dir() else None
    richer = Registry(replace(found.sources, datasets=((path, image),)))
    return richer, next(name for name in richer.datasets if richer.datasets.owner(name) == f"path {path}")


def _suite(name: str, found: Registry) -> Suite:
    from preimage.harness.suites import read_suite

    return read_suite(Path(name)) if name.endswith((".yaml", ".yml")) else found.suites[name]


def _run(
    found: Registry,
    selection: Any,
    world: World,
    workers: int | None,
    seed: int,
    *,
    dry_run: bool,
    fail_fast: bool,
) -> int:
    from preimage.harness.environment import default_workers
    from preimage.harness.plan import make_plan

    assert world.database is not None  # `run` gives it
    plan = make_plan(found, world, selection, stored_blocks(world.database))
    count = workers or default_workers(str(world.device))
    if plan.left_out:
        few = ", ".join(plan.left_out[:3]) + (", ..." if len(plan.left_out) > 3 else "")
        click.echo(
            f"left out: {len(plan.left_out)} models with weights on the Hub ({few}): name them with -m", err=True
        )
    if dry_run:
        _print_plan(plan, world, count)
        return 0
    suites = {**dict(found.suites.items()), **({s.name: s} if (s := selection.suite) else {})}
    return execute(plan, world, count, suites.values(), seed=seed, fail_fast=fail_fast)


def execute(
    plan: Plan, world: World, workers: int, suites: Iterable[Suite] = (), *, seed: int = 0, fail_fast: bool = False
) -> int:
    """Measure what the plan lacks, store and print its scores; the exit status. suites: whose figures are stored."""
    from preimage.harness.environment import described_machine, git_revision, package_versions
    from preimage.harness.run import Run
    from preimage.harness.store import Store
    from preimage.harness.verbs.progress import progress_to
    from preimage.harness.workers import Workers

    assert world.database is not None  # given by the verb
    device = str(world.device)
    with Store(world.database) as store:
        command = shlex.join(["preimage", *sys.argv[1:]])
        number = store.begin_run(command, seed, git_revision(), package_versions(), described_machine(device))
        for suite in suites:
            store.add_reported(suite)
        workers_ = Workers(world.registry.sources, world.database, device, workers, world.offline, world.limits)
        progress = progress_to(console(err=True))
        try:
            report = Run(plan, store, number, command, progress, fail_fast).execute(world, workers_)
        finally:
            progress.close()
        store.end_run(number)
        _print_report(report, store.scores())
    return report.exit_status


def stored_blocks(path: Path) -> Callable[[str], set[int]]:
    """Which blocks of a request the database has; none where there is no database yet."""
    from preimage.harness.results import finished_blocks

    blocks = finished_blocks(path)
    return lambda key: blocks.get(key, set())


def _print_plan(plan: Plan, world: Any, workers: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("request", "measurement", "model", "of", "images", "blocks", "stored", "evaluations", "time")
    for column in columns:
        table.add_column(column, justify="left" if column in ("request", "measurement", "model", "of") else "right")
    total, seconds, exact = 0, 0.0, True
    problems: dict[tuple[str, str], None] = {}
    for work in plan.work:
        blocks = len(work.request.blocks(work.count))
        took, problem = _expected(work, world)
        if problem:
            problems.setdefault((work.request.model.name, problem))
        total, seconds = total + work.evaluations, seconds + took
        exact = exact and work.request.spends_all
        table.add_row(
            work.key[:12],
            work.request.kind,
            escape(work.request.model.name),
            escape(images_of(work.request)),
            f"{work.count:,}",
            str(blocks),
            str(blocks - len(work.missing)),
            f"{'' if work.request.spends_all else '<= '}{work.evaluations:,}",
            "?" if problem else _duration(took),
        )
    out.print(table)
    for name, problem in problems:
        out.print(f"cannot be timed: {escape(name)}: {escape(problem)}")
    for evaluation in plan.evaluations:
        if evaluation.status:
            out.print(
                f"{evaluation.status}: {escape(evaluation.card.name)} / {evaluation.benchmark.name}: "
                f"{escape(evaluation.reason)}"
            )
    out.print(
        f"{len(plan.work)} requests, {sum(len(w.missing) for w in plan.work)} blocks to measure, "
        f"{'' if exact else 'at most '}{total:,} generator evaluations, about {_duration(seconds / workers)} "
        f"with {workers} process{'es' if workers > 1 else ''}{' for those that can be timed' if problems else ''}"
    )


def _expected(work: Work, world: World) -> tuple[float, str]:
    """Seconds that work will take in one process, and what goes wrong where it cannot be timed."""
    from preimage.harness.failures import Failure
    from preimage.harness.timing import expected_seconds

    try:
        return expected_seconds(work, world), ""
    except Exception as error:  # a stranger's model may raise anything; the plan is shown all the same
        return 0.0, Failure.of(error).reason


def images_of(request: Any) -> str:
    """The images a request is about, in words."""
    from preimage.harness.feature_requests import FeatureComparison
    from preimage.harness.requests import Samples, Split

    if isinstance(request, FeatureComparison):
        return f"features of {request.size:,} images of each set"
    images = getattr(request, "images", None)
    if images is None:
        return "the prior"
    if not isinstance(images, (Samples, Split)):
        return "images of its own"  # a stranger's request may name them in any way
    label = {"every": " under every label", "part": " in every part"}.get(getattr(request, "label", ""), "")
    operator = getattr(getattr(request, "operator", None), "name", "identity")
    label += "" if operator == "identity" else f", {operator}"
    distance = getattr(request, "distance", DEFAULT_DISTANCE)
    label += "" if distance == DEFAULT_DISTANCE else f", {distance}"
    return f"{images.dataset}/{images.split}{label}" if isinstance(images, Split) else f"its own samples{label}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _print_report(report: Report, scores: list[dict[str, Any]]) -> None:
    from preimage.harness.verbs.scoring import score_table

    here = {(e.card.name, e.dataset, e.benchmark.name, e.suite) for e in report.evaluations}
    console().print(score_table([s for s in scores if (s["model"], s["dataset"], s["benchmark"], s["suite"]) in here]))
    counts = {
        status: sum(e.status == status for e in report.evaluations) for status in ("ok", "refused", "failed", "stopped")
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    click.echo(
        f"{said}; {report.measured_blocks} blocks measured, {report.spent:,} generator evaluations",
        err=True,
    )
