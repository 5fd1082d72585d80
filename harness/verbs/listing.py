"""``list``, ``show`` and ``plugins``: what is installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from preimage.harness.verbs.arguments import console, registry, sources

if TYPE_CHECKING:
    from preimage.harness.plugins import Registry

KINDS = (
    *("models", "families", "datasets", "benchmarks", "suites", "metrics", "solvers", "samplers", "operators"),
    *("distances", "backbones"),
)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="a list of objects, each with at least `name`")
@sources
def list_(kind: str, as_json: bool, plugins: tuple[str, ...], cards: tuple[str, ...]) -> None:
    """What is installed: models, families, data sets, benchmarks, suites, metrics, solvers, samplers, operators,
    distances, backbones.

    \b
    Examples:
      preimage list models
      preimage list metrics --json
      preimage list models --card my-model.yaml
    """
    things = _things(kind, registry(plugins, cards))
    if as_json:
        click.echo(json.dumps(things, indent=2))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = list(things[0]) if things else ["name"]
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for thing in things:
        table.add_row(*("" if thing[c] is None else _cell(thing[c]) for c in columns))
    console().print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    return escape(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))


def _things(kind: str, found: Registry) -> list[dict[str, Any]]:
    if kind == "models":
        return [
            {
                "name": name,
                "family": card.family,
                "dataset": card.dataset,
                "image": list(card.image),
                "num_classes": card.num_classes,
                "trained_on": card.trained_on,
                "kind": card.kind,
                "licence": card.licence,
                "tags": list(card.tags),
            }
            for name, card in found.models.items()
        ]
    if kind == "families":
        return [{"name": name, "plugin": found.families.owner(name)} for name in found.families]
    if kind == "datasets":
        return [
            {
                "name": name,
                "image": list(data.image),
                "num_classes": data.num_classes,
                "splits": list(data.splits),
                "description": getattr(data, "description", ""),
            }
            for name, data in found.datasets.items()
        ]
    if kind == "benchmarks":
        return [
            {
                "name": name,
                "question": benchmark.question,
                "metrics": list(benchmark.metrics),
                "version": benchmark.version,
            }
            for name, benchmark in found.benchmarks.items()
        ]
    if kind == "suites":
        return [
            {
                "name": name,
                "benchmarks": list(suite.benchmarks),
                "dataset": suite.dataset,
                "description": suite.description,
            }
            for name, suite in found.suites.items()
        ]
    if kind == "metrics":
        return [
            {"name": metric, "benchmark": name, "unit": info.unit, "better": info.better, "meaning": info.meaning}
            for name, benchmark in found.benchmarks.items()
            for metric, info in benchmark.metrics.items()
        ]
    if kind in ("solvers", "samplers", "operators"):
        from preimage.harness.operators import OPERATORS
        from preimage.harness.options import described

        return [
            {
                "name": name,
                "settings": [f"{field}={default}" for field, default, _ in described(record)],
                "description": (record.__doc__ or "").split("\n")[0],
            }
            for name, record in (OPERATORS if kind == "operators" else found.choices[kind.removesuffix("s")]).items()
        ]
    if kind == "backbones":
        return [
            {
                "name": name,
                "architecture": card.architecture,
                "weights": None if card.weights is None else card.weights.uri,
                "licence": card.licence,
            }
            for name, card in found.backbones.items()
        ]
    return [
        {
            "name": name,
            "squared": distance.squared,
            "backbones": list(getattr(distance, "backbones", ())),
            "description": getattr(distance, "description", None) or (type(distance).__doc__ or "").split("\n")[0],
        }
        for name, distance in found.distances.items()
    ]


@click.command()
@click.argument("name")
@sources
def show(name: str, plugins: tuple[str, ...], cards: tuple[str, ...]) -> None:
    """A model's card: licence, weights, size, and which benchmarks would refuse it and why.

    \b
    Examples:
      preimage show ppca
      preimage show my-model --card my-model.yaml
    """
    from preimage.harness.presenting import presented

    found = registry(plugins, cards)
    found.models[name]
    out = console()
    for label, text in presented(name, found):
        out.print(f"[bold]{label:<14}[/bold] {_cell(text)}")


@click.command()
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="a plug-in's Python file")
@click.option("--traceback", is_flag=True, help="show where a plug-in failed")
def plugins(plugins: tuple[str, ...], traceback: bool) -> None:
    """What is loaded, from where, and what failed to load.

    \b
    Examples:
      preimage plugins
      preimage plugins --plugin my_plugin.py --traceback
    """
    from preimage.harness.plugins import Registry, Sources

    out = console()
    for plugin in Registry(Sources(plugins=plugins)).plugins:
        state = f"[red]failed[/red]: {_cell(plugin.problem)}" if plugin.problem else "[green]loaded[/green]"
        out.print(f"{_cell(plugin.name):<28} {state}  {_cell(plugin.source)}")
        if plugin.problem and traceback:
            out.print(_cell(plugin.trace))
