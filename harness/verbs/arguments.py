"""Options that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from preimage.harness.limits import Limits
    from preimage.harness.plugins import Registry

F = TypeVar("F", bound=Callable[..., Any])

database = click.option(
    "--db", default="preimage.db", show_default=True, metavar="FILE", help="the database of results"
)


def sources(function: F) -> F:
    """``--plugin`` and ``--card``: what to load beyond what is installed."""
    function = click.option("--card", "cards", multiple=True, metavar="FILE", help="a model card, or a folder of them")(
        function
    )
    return click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="a plug-in's Python file")(function)


def limits(function: F) -> F:
    """``--memory`` and ``--cache``: what may be held and kept. They change no number."""
    cache = "all embeddings of training images on disk, for later runs; the least recently used go first; 0: none"
    memory = "embeddings of training images and the search among them, of each process that measures"
    function = click.option("--cache", default="10GiB", show_default=True, metavar="SIZE", help=cache)(function)
    return click.option("--memory", default="2GiB", show_default=True, metavar="SIZE", help=memory)(function)


def limits_of(memory: str, cache: str) -> Limits:
    """What the two options say. Raises UsageError."""
    from preimage.harness.limits import Limits, parse_bytes

    return Limits(parse_bytes(memory, "--memory", least=1), parse_bytes(cache, "--cache"))


def registry(plugins: tuple[str, ...], cards: tuple[str, ...]) -> Registry:
    """What is installed, with the plug-ins and cards of the command. Says on stderr what could not be loaded."""
    from preimage.harness.plugins import Registry, Sources

    found = Registry(Sources(plugins=plugins, cards=cards))
    for plugin in found.plugins:
        if plugin.problem:
            click.echo(
                f"preimage: plug-in {plugin.name} was skipped: {plugin.problem} (see `preimage plugins`)", err=True
            )
    return found


def console(*, err: bool = False) -> Console:
    """A console: as wide as the terminal, wide enough for any table elsewhere."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False, soft_wrap=False)
