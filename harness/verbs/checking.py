"""``check``: the adapter contract, tested on models."""

from __future__ import annotations

import click

from preimage.harness.verbs.arguments import console, registry, sources


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--device", default="cpu", show_default=True, metavar="D", help="cpu, cuda, cuda:1, ...")
@sources
def check(names: tuple[str, ...], device: str, plugins: tuple[str, ...], cards: tuple[str, ...]) -> int:
    """Test the adapter contract on models: shapes, range, gradient, independence, prior, labels, devices.

    NAME is a model's name or a shell glob.

    \b
    Examples:
      preimage check fashion-dcgan
      preimage check 'fashion-*' ppca
      preimage check my-model --plugin my_plugin.py
    """
    from rich.markup import escape

    from preimage.harness.check import check_model
    from preimage.harness.plugins import expand

    found = registry(plugins, cards)
    out = console()
    broken = 0
    for name in expand(found.models, names):
        out.print(f"[bold]{escape(name)}[/bold]")
        for finding in check_model(found.models[name], found, device):
            mark = {
                "held": "[green]held[/green]    ",
                "broken": "[red]broken[/red]  ",
                "skipped": "[dim]skipped[/dim] ",
            }
            out.print(f"  {mark[finding.verdict]} {finding.rule:<22} {escape(finding.detail)}")
            broken += finding.verdict == "broken"
    return 1 if broken else 0
