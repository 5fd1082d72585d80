"""``fetch``: what runs need, brought ahead of them."""

from __future__ import annotations

import click

from preimage.harness.verbs.arguments import registry, sources


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--offline", is_flag=True, help="download nothing: say what is here and what is missing")
@sources
def fetch(names: tuple[str, ...], offline: bool, plugins: tuple[str, ...], cards: tuple[str, ...]) -> int:
    """Download and verify weights and data sets, so that runs need no network.

    NAME is a model, a backbone, a distance (its backbones are fetched), a data set, or a shell glob. Every name is
    tried; the exit status is 1 where one could not be had.

    \b
    Examples:
      preimage fetch lpips-vgg
      preimage fetch mnist cifar10 'vgg*'
      preimage fetch --offline 'lpips-*'
    """
    from preimage.harness.errors import PreimageError
    from preimage.harness.fetching import fetch as fetched
    from preimage.harness.fetching import wanted

    found, failed = registry(plugins, cards), 0
    for kind, name in wanted(found, names):
        try:
            things = fetched(found, kind, name, offline=offline)
        except PreimageError as error:
            failed += 1
            click.echo(f"preimage: {error}", err=True)
            continue
        for thing in things:
            size = "" if thing.size is None else f"{thing.size / 1e6:,.1f} MB"
            said = "  sha256 verified" if thing.verified else ""
            what = "data set" if kind == "dataset" else kind
            click.echo(f"{thing.name:<24} {what:<9} {size:>11}  {thing.where}{said}")
    return 1 if failed else 0
