"""``merge``: databases from several machines, joined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from preimage.harness.verbs.arguments import console, database

if TYPE_CHECKING:
    from preimage.harness.joining import Conflicts


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="DB...")
@click.option(
    "--conflicts",
    type=click.Choice(["refuse", "keep-first"]),
    default="refuse",
    show_default=True,
    help="what to do about a block that has other rows in two databases",
)
@database
def merge(inputs: tuple[str, ...], conflicts: Conflicts, db: str) -> None:
    """Join databases from several machines into the one that --db names; the inputs are only read.

    What --db holds already takes part. Blocks are joined; where two databases evaluated one benchmark on one model,
    the newest evaluation is kept, and the rows of both. The same again changes nothing.

    \b
    Examples:
      preimage merge laptop.db cluster.db --db all.db
      preimage merge other.db
      preimage merge gpu.db --db all.db --conflicts keep-first
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from preimage.harness.joining import Merged
    from preimage.harness.merging import merge as merge_databases

    err = console(err=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[Path, TaskID] = {}

    def advance(path: Path, done: int, total: int) -> None:
        if path not in tasks:
            tasks[path] = bars.add_task(f"blocks · {path}", total=total)
        bars.update(tasks[path], completed=done)

    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        merged = merge_databases([Path(path) for path in inputs], Path(db), conflicts, advance)

    def told(part: Merged) -> str:
        said = (
            f"taken: blocks {part.blocks:,}, evaluations {part.evaluations:,}; blocks that were there: {part.shared:,}"
        )
        if part.differing:
            said += f" ({part.differing:,} of them with other rows: the first stay)"
        if part.older:
            said += f"; evaluations left for newer ones: {part.older:,}"
        return f"{part.path}: {said}"

    for part in merged:
        click.echo(told(part))
    if any(part.differing for part in merged):
        click.echo(f"scores may be of rows that were not kept: type `preimage summarise --db {db}`", err=True)
