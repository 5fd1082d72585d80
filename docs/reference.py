"""Write docs/reference.md from the program itself: the command line, what is installed, hooks, public names.

    python docs/reference.py            writes it
    python docs/reference.py --check    exits 1 where the file is not current

What other installed plug-ins bring is left out, and nothing depends on the terminal: the same program, the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

import preimage.harness
from preimage.harness.cli import cli
from preimage.harness.hooks import Hooks
from preimage.harness.operators import OPERATORS
from preimage.harness.options import described
from preimage.harness.plugins import Catalogue, Registry

TARGET = Path(__file__).with_name("reference.md")
HEAD = """\
# Reference

Made by `python docs/reference.py` (`make docs`) from the program itself: correct it there, not here. Everything that is
installed on a machine, plug-ins included, is told by `preimage list`, `preimage show` and `preimage COMMAND --help`."""

STATUSES = (
    "Results go to stdout, progress and warnings to stderr. Exit status: 0 done; 1 something failed, or was refused "
    "where nothing else ran; 2 usage."
)


def reference() -> str:
    """The whole page."""
    sections = (
        *(_command_line, _benchmarks, _suites, _solvers, _samplers, _operators, _distances),
        *(_models, _datasets, _hooks, _names),
    )
    registry = Registry()
    return "\n\n".join([HEAD, *("\n\n".join(section(registry)) for section in sections)]) + "\n"


def ours(catalogue: Catalogue[Any]) -> list[tuple[str, Any]]:
    """What the project itself has registered."""
    points = importlib.metadata.distribution("preimage").entry_points.select(group="preimage")
    return [(name, thing) for name, thing in catalogue.items() if catalogue.owner(name) in points.names]


def verbs() -> list[tuple[str, click.Command]]:
    """The project's own verbs by name, those of a group after it."""

    def below(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None or not getattr(command.callback, "__module__", "preimage.").startswith("preimage."):
                continue
            yield f"{path}{name}", command
            if isinstance(command, click.Group):
                yield from below(command, f"{path}{name} ")

    return list(below(cli, ""))


def _command_line(registry: Registry) -> Iterator[str]:
    yield "## Command line"
    yield _prose(cli.help or "")
    yield STATUSES
    for name, command in verbs():
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        usage = " ".join([f"preimage {name}", *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
        yield f"### preimage {name}"
        yield f"```console\n{usage}\n```"
        yield _prose(command.help or "")
        if command.epilog:
            yield _prose(command.epilog)
        if options:
            yield _table(("option", "meaning", "default"), [_option(command, option) for option in options])


def _argument(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar if argument.required else f"[{argument.metavar.strip('[]')}]"
    name = "|".join(argument.type.choices) if isinstance(argument.type, click.Choice) else (argument.name or "").upper()
    name = f"{{{name}}}" if "|" in name else name
    return f"{name if argument.required else f'[{name}]'}{'...' if argument.nargs == -1 else ''}"


def _option(command: click.Command, option: click.Option) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" `{option.metavar or option.type.name.upper()}`"
    times = "; may be given several times" if option.multiple else ""
    default = option.get_default(click.Context(command))
    shown = f"`{default}`" if isinstance(default, (str, int, float)) and not isinstance(default, bool) else ""
    return f"{names}{value}", f"{option.help or ''}{times}", "" if option.is_flag else shown


def _prose(text: str) -> str:
    """A help text as Markdown: paragraphs flow, what is marked as preformatted or begins with Example is code."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = [line for line in paragraph.split("\n") if line.strip() != "\b"]
        if lines and lines[0].startswith("Example"):
            first = lines[0].partition(":")[2].strip()
            code = inspect.cleandoc("\n".join([first, *lines[1:]]).strip("\n")) if first else _dedent(lines[1:])
            parts.append(f"```console\n{code}\n```")
        elif lines:
            parts.append(" ".join(line.strip() for line in lines))
    return "\n\n".join(parts)


def _dedent(lines: Sequence[str]) -> str:
    return inspect.cleandoc("\n" + "\n".join(lines)).rstrip()


def _benchmarks(registry: Registry) -> Iterator[str]:
    yield "## Benchmarks"
    records: dict[type[Any], list[str]] = {}
    for name, benchmark in ours(registry.benchmarks):
        records.setdefault(benchmark.options, []).append(name)
        yield f"### {name}"
        yield f"*{benchmark.question}* Version {benchmark.version}."
        yield _doc(benchmark)
        if formula := getattr(benchmark, "formula", ""):
            yield f"`{formula}`"
        metrics = [
            (f"`{metric}`", info.unit, info.better, ", ".join(info.roles) or "all", info.meaning)
            for metric, info in benchmark.metrics.items()
        ]
        yield _table(("metric", "unit", "better", "of images", "meaning"), metrics)
        yield f"Options: [{benchmark.options.__name__}](#{benchmark.options.__name__.lower()})."
    yield "## Options"
    yield (
        "Set in a suite or with `--set key=value`; the [solver](#solvers), the [sampler](#samplers) and the "
        "[operator](#operators) are set by "
        "name, and their own settings as in `--set solver=adam --set solver.steps=750`."
    )
    for record, names in records.items():
        yield f"### {record.__name__}"
        yield f"{_doc(record)} Of {', '.join(f'`{name}`' for name in names)}."
        yield _settings("option", record)


def _suites(registry: Registry) -> Iterator[str]:
    yield "## Suites"
    for name, suite in ours(registry.suites):
        yield f"### {name}"
        yield " ".join(f"{suite.description} {suite.source}".split())
        shared = f"; shared options {_plain(suite.options)}" if suite.options else ""
        models = ", ".join(f"`{model}`" for model in suite.models)
        yield f"Models {models}; data set {f'`{suite.dataset}`' if suite.dataset else 'each card its own'}{shared}."
        yield _table(("benchmark", "own options"), [(f"`{b}`", _plain(own)) for b, own in suite.benchmarks.items()])
        if suite.reported:
            yield f"Beside its scores, {len(suite.reported)} figures of the paper are shown as reported."


def _solvers(registry: Registry) -> Iterator[str]:
    yield "## Solvers"
    for name, solver in ours(registry.solvers):
        yield f"### {name}"
        yield _doc(solver)
        if described(solver):
            yield _settings("setting", solver)


def _samplers(registry: Registry) -> Iterator[str]:
    yield "## Samplers"
    yield "What anneals codes towards an image, for its likelihood: the option `sampler` of all that asks for one."
    for name, sampler in ours(registry.samplers):
        yield f"### {name}"
        yield _doc(sampler)
        yield _settings("setting", sampler)


def _operators(registry: Registry) -> Iterator[str]:
    yield "## Operators"
    yield (
        "What may be done to images before they are compared: the option `operator` of all that recovers images. "
        "Those of both sides act on the target and on every generated image, the others on the target alone."
    )
    for name, operator in OPERATORS.items():
        yield f"### {name}"
        yield f"{_doc(operator)} Acts on {'both sides' if operator.both_sides else 'the target alone'}."
        if described(operator):
            yield _settings("setting", operator)


def _models(registry: Registry) -> Iterator[str]:
    yield "## Models"
    rows = [
        (
            f"`{name}`",
            f"`{card.family}`",
            f"`{card.dataset}`",
            "all" if card.trained_on is None else f"{card.trained_on:,}",
            f"step {card.step:,} of `{card.parent}`" if card.parent is not None else card.kind,
        )
        for name, card in ours(registry.models)
    ]
    yield _table(("model", "family", "data set", "trained on", "kind"), rows)


def _datasets(registry: Registry) -> Iterator[str]:
    yield "## Data sets"
    yield "Whatever is named here may also be resized (`NAME@3x32x32`) or inverted (`inverted:NAME`)."
    rows = [
        (
            f"`{name}`",
            str(data.image),
            str(data.num_classes or "none"),
            ", ".join(data.splits),
            "yes" if getattr(data, "downloads", False) else "no",
            str(getattr(data, "description", "")),
        )
        for name, data in ours(registry.datasets)
    ]
    yield _table(("data set", "images", "classes", "splits", "download", "description"), rows)


def _distances(registry: Registry) -> Iterator[str]:
    yield "## Distances"
    rows = [
        (
            f"`{name}`",
            getattr(distance, "description", "") or _doc(distance).split("\n\n")[0],
            ", ".join(f"`{backbone}`" for backbone in getattr(distance, "backbones", ())),
            "yes" if distance.squared else "no",
        )
        for name, distance in ours(registry.distances)
    ]
    yield _table(("distance", "meaning", "looks through", "squared"), rows)
    yield "Weighted sums are written as in `squared-l2+0.1*lpips-alex`; all of it is in [distances](distances.md)."
    yield "## Backbones"
    cards = ours(registry.backbones)
    places = [f"`{card.weights.uri}`" if card.weights else "those that timm names" for _, card in cards]
    rows = [(f"`{n}`", f"`{c.architecture}`", where, c.licence) for (n, c), where in zip(cards, places, strict=True)]
    yield _table(("backbone", "architecture", "weights", "licence"), rows)


def _hooks(registry: Registry) -> Iterator[str]:
    yield "## Hooks"
    yield _doc(Hooks)
    hooks = [(name, hook) for name, hook in vars(Hooks).items() if name.startswith("register_")]
    rows = [
        (f"`{name}({', '.join(list(inspect.signature(hook).parameters)[1:])})`", _doc(hook)) for name, hook in hooks
    ]
    yield _table(("hook", "meaning"), rows)


def _names(registry: Registry) -> Iterator[str]:
    yield "## Public names"
    yield "What a plug-in may import from `preimage.harness`; each is imported when it is first used."
    rows = []
    for name in preimage.harness.__all__:
        thing = getattr(preimage.harness, name)
        rows.append((f"`{name}`", NAMED.get(name) or _doc(thing).split("\n\n")[0]))
    yield _table(("name", "meaning"), rows)


NAMED = {
    "Config": "The official constructor settings of an architecture, as plain data.",
    "hookimpl": "Marks a plug-in's function as the implementation of a hook.",
    "hookspec": "Marks the specification of a hook.",
}
"""Public names that are values, which have no docstring of their own."""


def _settings(kind: str, record: type[Any]) -> str:
    rows = [(f"`{name}`", f"`{default}`", meaning) for name, default, meaning in described(record)]
    return _table((kind, "default", "meaning"), rows)


def _doc(thing: object) -> str:
    """The docstring as Markdown paragraphs."""
    text = inspect.getdoc(thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)) or ""
    linked = re.sub(r"METHODS (\d+)", r"[METHODS \1](methods.md)", text.replace("``", "`"))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in linked.split("\n\n"))


def _plain(settings: Any) -> str:
    said = (f"`{key}={json.dumps(value) if not isinstance(value, str) else value}`" for key, value in settings.items())
    return ", ".join(said)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check that it is current."""
    text = reference()
    if "--check" not in arguments:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET} is not current: type `python docs/reference.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
