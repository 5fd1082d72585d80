"""The verb ``preimage site``, registered through the same hooks as a stranger's."""

from __future__ import annotations

from pathlib import Path

import click

from preimage.harness.hooks import hookimpl


@click.command(
    "site", short_help="Make the static site from a database.", epilog="Example: preimage site public --db results.db"
)
@click.argument("out", default="site", type=click.Path(path_type=Path))
@click.option(
    "--db",
    "database",
    default="preimage.db",
    show_default=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The database to show.",
)
def site(out: Path, database: Path) -> None:
    """Make a static site of all results in a database; OUT is its folder (default: site).

    Pages open from disk, without a server or a network. The same database gives the same bytes. An existing OUT is
    rebuilt: only files that a former build wrote are replaced or removed.
    """
    from preimage.leaderboard.site import build_site

    click.echo(str(build_site(database, out)))


@hookimpl
def register_commands(cli: click.Group) -> None:
    cli.add_command(site)
