"""``verify``: some stored images measured again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preimage.harness.verbs.arguments import console, database, limits, limits_of, registry, sources
from preimage.harness.verbs.scoring import number, printable

if TYPE_CHECKING:
    from preimage.harness.agreement import Apart
    from preimage.harness.verifying import Change, RoleCheck, Verification

SHOWN = 8
"""How many changed facts are told of a score; --json has all."""


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("benchmark", metavar="BENCHMARK")
@click.option(
    "-n", "images", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="how many stored images"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="of the choice of images; a fresh one where not set")
@click.option("-d", "--dataset", metavar="DATASET", help="a data set's name, a glob, or a path as `run` takes it")
@click.option("--suite", metavar="SUITE", help="a suite's name, or a glob; '' for none")
@click.option("--device", default="cpu", show_default=True, metavar="D", help="cpu, cuda, cuda:1, ...")
@click.option("--offline", is_flag=True, help="never touch the network")
@click.option("--json", "as_json", is_flag=True, help="a list of objects, one per stored evaluation")
@limits
@database
@sources
def verify(
    model: str,
    benchmark: str,
    images: int,
    seed: int | None,
    dataset: str | None,
    suite: str | None,
    device: str,
    offline: bool,
    as_json: bool,
    memory: str,
    cache: str,
    db: str,
    plugins: tuple[str, ...],
    cards: tuple[str, ...],
) -> int:
    """Measure N random stored images again and say whether the published score holds. Nothing is stored.

    MODEL and BENCHMARK are names or shell globs. identical: every number is the same to the bit. holds: with the new
    numbers in place of the stored ones the score lies within its stored 95 % interval, as on another kind of machine.
    Else the score does not hold, is of something else than what loads now, or could not be verified: the exit status
    is 1, and the reasons are told.

    \b
    Examples:
      preimage verify ppca recovery
      preimage verify fashion-dcgan 'over*' -n 64 --suite quick --db results.db
      preimage verify ppca recovery --seed 7 --json
    """
    import secrets

    from preimage.harness.finding import stored_evaluations
    from preimage.harness.results import Results
    from preimage.harness.verbs.progress import progress_to
    from preimage.harness.verbs.running import with_data_set
    from preimage.harness.verifying import exit_status
    from preimage.harness.verifying import verify as verify_evaluation
    from preimage.harness.world import World

    allowed, found = limits_of(memory, cache), registry(plugins, cards)
    if dataset is not None:
        found, dataset = with_data_set(found, dataset, (model,))
    seed = secrets.randbits(32) if seed is None else seed
    done = []
    with Results(db) as results:
        chosen = stored_evaluations(results, found, model, benchmark, dataset, suite)
        world = World(found, Path(db), device, offline=offline, limits=allowed)
        for evaluation in chosen:
            progress = progress_to(console(err=True))
            try:
                done.append(verify_evaluation(results, world, evaluation, images, seed, progress))
            finally:
                progress.close()
    if as_json:
        click.echo(json.dumps([_plain(one, seed) for one in done], indent=1, allow_nan=False))
    else:
        for one in done:
            _print(one)
        if any(one.roles for one in done):
            click.echo(f"the same images again: --seed {seed}")
    return exit_status(done)


def _plain(one: Verification, seed: int) -> dict[str, Any]:
    names = {name: getattr(one.evaluation, name) for name in ("model", "dataset", "benchmark", "suite")}
    return {
        **names,
        "verdict": one.verdict,
        "reasons": one.reasons,
        "seed": seed,
        "changes": [dataclasses.asdict(change) for change in one.changes],
        "roles": [dataclasses.asdict(role) for role in one.roles],
        "scores": [dataclasses.asdict(score) for score in one.scores],
    }


def _print(one: Verification) -> None:
    e = one.evaluation
    suite = f", suite {e.suite}" if e.suite else ""
    click.echo(printable(f"{e.model} / {e.benchmark} on {e.dataset}{suite}: {one.verdict}"))
    for reason in one.reasons:
        click.echo(f"  {printable(reason)}")
    for change in one.changes[:SHOWN]:
        click.echo(f"  {printable(_change(change))}")
    if len(one.changes) > SHOWN:
        click.echo(f"  and {len(one.changes) - SHOWN} more (--json has all)")
    for role in one.roles:
        click.echo(f"  {printable(_role(role))}")
    if one.scores:
        _print_scores(one)


def _change(change: Change) -> str:
    role = f"role {change.role}: " if change.role else ""
    return f"{role}{change.fact} is {_shown(change.stored)} in the database, {_shown(change.now)} now"


def _shown(value: object) -> str:
    """A fact in a line: the beginning of a hash."""
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def _role(role: RoleCheck) -> str:
    found = role.agreement
    blocks = f"{len(role.blocks)} block{'s' if len(role.blocks) > 1 else ''}"
    said = f"role {role.role}: {len(role.drawn)} of {role.count:,} images drawn, {blocks} measured: "
    said += f"{found.identical:,} of {found.images:,} images identical to the bit"
    if found.largest is not None:
        said += f"; largest difference: {_apart(found.largest)}"
    return said if found.pixels else f"{said}; other pixels were read"


def _apart(apart: Apart) -> str:
    under = f" under label {apart.label}" if apart.label >= 0 else ""
    stored, now = ("none" if value is None else f"{value:.9g}" for value in (apart.stored, apart.now))
    relative = "" if apart.relative is None else f"{apart.relative:.2g} of it, "
    return f"{relative}{apart.name} of image {apart.image}{under}: {stored} stored, {now} now"


def _print_scores(one: Verification) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("  metric")
    for column in ("stored", "95 % interval", "from its rows", "measured again"):
        table.add_column(column, justify="right")
    table.add_column("")
    for score in one.scores:
        interval = "" if score.low is None else f"[{number(score.low)}, {number(score.high)}]"
        values = (number(score.stored), interval, number(score.from_rows), number(score.again))
        table.add_row(f"  {escape(printable(score.metric))}", *map(escape, values), score.verdict)
    console().print(table)
