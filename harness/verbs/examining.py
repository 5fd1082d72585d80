"""``doctor``: what this machine lacks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from preimage.harness.verbs.arguments import console, database, sources

_MARKS = {"ok": "[green]ok[/green]", "missing": "[yellow]missing[/yellow]", "broken": "[red]broken[/red]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="a list of objects: name, state, seen, advice")
@click.option("--verify", is_flag=True, help="read all weights and compare their sha256 with the cards'")
@database
@sources
def doctor(as_json: bool, verify: bool, db: str, plugins: tuple[str, ...], cards: tuple[str, ...]) -> int:
    """What this machine has and lacks: packages, torch, room, the database, plug-ins, weights, data.

    ok: nothing to do. missing: runs go on without it, and the last column says what that costs and what to type.
    broken: something that is required does not work; the exit status is then 1. Nothing is downloaded or changed.

    \b
    Examples:
      preimage doctor
      preimage doctor --verify --db results.db
      preimage doctor --json
    """
    import os

    from preimage.harness.doctor import examine
    from preimage.harness.plugins import Sources

    found = list(examine(Path(db), Sources(plugins=plugins, cards=cards), os.environ, verify=verify))
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in found], indent=1))
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("state", "what", "seen", "what to do"):
            table.add_column(column, overflow="fold")
        for finding in found:
            cells = (escape(text) for text in (finding.name, finding.seen, finding.advice))
            table.add_row(_MARKS[finding.state], *cells)
        console().print(table)
    return 1 if any(finding.state == "broken" for finding in found) else 0
