"""Options: a frozen dataclass declares them once; suites, ``--set`` and the docs read the same fields."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import yaml

from preimage.harness.errors import UsageError
from preimage.harness.operators import Identity, operator_named
from preimage.harness.settings import choice, option
from preimage.harness.solvers.lbfgs import Lbfgs

if TYPE_CHECKING:
    from preimage.harness.operators import Operator
    from preimage.harness.plugins import Catalogue
    from preimage.harness.solvers.interface import Solver

T = TypeVar("T")
Choices: TypeAlias = "Mapping[str, Catalogue[type[Any]]]"
"""What records may be chosen by name, by kind: ``{"solver": ..., "sampler": ...}`` (``Registry.choices``)."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How codes are searched for, of which images: what every benchmark of a generator lets one set."""

    limit: int | None = option(None, "images per split: the first so many; all of them where not set")
    solver: Solver[Any] = field(
        default_factory=Lbfgs, metadata=choice("solver", "the optimiser; its settings: solver.steps=...")
    )
    restarts: int = option(1, "independent runs per image, the best kept")
    draws: int = option(
        100, "each restart starts at the nearest, in l2, of so many prior samples; 1: at the image's own draw"
    )
    space: str | None = option(None, "latent space; the card's where not set")
    threads: int = option(1, "threads of one measurement; part of a result's identity")
    seed: int = option(0, "of every random stream")

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"`limit` is {self.limit}; it must be at least 1, or not set for all images")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"`seed` is {self.seed}; it must be from 0 to 2^63 - 1")


@dataclass(frozen=True, kw_only=True)
class RecoveryOptions(SearchOptions):
    """How images are recovered: what every benchmark that recovers images lets one set (METHODS 1)."""

    distance: str = option("squared-l2", "what is minimised over codes; a sum is written squared-l2+0.1*lpips-alex")
    further_distances: tuple[str, ...] = option(
        (), "everything is measured in each of these too, by itself; its scores have its name as suffix"
    )
    first_distance: str | None = option(
        None, "minimised in the first steps of each run, `distance` in the others; not set: `distance` in all"
    )
    first_share: float = option(0.5, "share of the solver's steps that are in first_distance")
    operator: Operator = field(
        default_factory=Identity,
        metadata=choice("operator", "what is done to images before they are compared; set by operator.sigma=..."),
    )
    penalty: float = option(
        0.0, "beta of Creswell's prior penalty, -beta/d log p(z); codes of a uniform prior are kept in its box instead"
    )
    project: bool = option(False, "keep codes in the prior's plausible set after every step")
    trained_start: bool = option(
        False, "training images: the first restart begins at the code an image was trained with, where the model has it"
    )
    encoder: bool = option(True, "one pass through the encoder where the model has one and it sees whole images")
    block: int = option(64, "images measured together; part of a result's identity")
    leave_one_out: bool = option(
        False, "references: a training image is not its own neighbour; for studies, not scores"
    )

    def distances(self) -> tuple[str, ...]:
        """The names of all distances that the options name."""
        first = () if self.first_distance is None else (self.first_distance,)
        return (self.distance, *self.further_distances, *first)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({self.distance, *self.further_distances}) <= len(self.further_distances):
            raise UsageError(
                f"`further_distances` is {list(self.further_distances)} beside {self.distance!r}; name each once"
            )
        if not 0 < self.first_share < 1:
            raise UsageError(f"`first_share` is {self.first_share}; it must be between 0 and 1, e.g. 0.5")


def distances_named(options: Any) -> tuple[str, ...]:
    """The names of the distances that a benchmark's options name, whatever kind of options they are."""
    if isinstance(options, RecoveryOptions):
        return options.distances()
    name = getattr(options, "distance", None)
    return (name,) if isinstance(name, str) else ()


def extractor_named(options: Any) -> str | None:
    """The name of the extractor of features that a benchmark's options name; None where they name none."""
    name = getattr(options, "extractor", None)
    return name if isinstance(name, str) else None


def options_from(kind: type[T], settings: Mapping[str, Any], choices: Choices, *, source: str) -> T:
    """An options record from plain settings, e.g. ``{"limit": 96, "solver": {"name": "adam", "steps": 750}}``.

    ``solver: adam, solver.steps: 750`` is the same. Raises UsageError for an unknown option or a wrong value.
    """
    given = grouped(settings)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # every options type is a dataclass
    for name in given:
        if name not in known:
            raise UsageError(
                f"{source}: unknown option {name!r}.{guess(name, known)} Options: {', '.join(sorted(known))}"
            )
    values = {}
    for name, value in given.items():
        if "of" in known[name].metadata:
            values[name] = _record(name, _table(value), known[name], choices, source)
        elif isinstance(value, Mapping):
            own = ", ".join(sorted(f.name for f in known.values() if "of" in f.metadata))
            raise UsageError(f"{source}: option {name!r} has no settings of its own; those that have: {own or 'none'}")
        else:
            values[name] = _coerce(value, _types(kind)[name], f"{source}: option {name!r}")
    return kind(**values)


def grouped(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of a solver (an operator) in one table: ``{"solver": {"name": "adam", "steps": 750}}``."""
    own: dict[str, Any] = {}
    for key, value in settings.items():
        head, dot, tail = str(key).partition(".")
        new = {tail: value} if dot else value
        nested = head in own and (isinstance(new, Mapping) or isinstance(own[head], Mapping))
        own[head] = {**_table(own[head]), **_table(new)} if nested else new
    return own


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of both; the second wins. Where it names another solver, the first one's settings are dropped."""
    both = grouped(first)
    for name, new in grouped(second).items():
        if name in both and (isinstance(new, Mapping) or isinstance(both[name], Mapping)):
            old, table = _table(both[name]), _table(new)
            renamed = "name" in table and table["name"] != old.get("name")
            both[name] = table if renamed else {**old, **table}
        else:
            both[name] = new
    return both


def _table(value: Any) -> dict[str, Any]:
    """What is said of a solver (an operator): a bare value is its name."""
    return dict(value) if isinstance(value, Mapping) else {"name": value}


def _record(
    option: str,
    settings: dict[str, Any],
    declared: dataclasses.Field[Any],
    choices: Choices,
    source: str,
) -> Any:
    """The solver (sampler, operator) that the settings name, the option's default where they name none, so set."""
    assert callable(declared.default_factory)  # of `choice`
    default, of = declared.default_factory(), declared.metadata["of"]
    name = str(settings.pop("name", default.name))
    chosen: type[Any] = choices[of][name] if of in choices else operator_named(name)
    known = _types(chosen)
    for key in settings:
        if key not in known:
            raise UsageError(
                f"{source}: {of} {chosen.name!r} has no setting {key!r}.{guess(key, known)} "
                f"Its settings: {', '.join(sorted(known)) or 'none'}"
            )
    values = {key: _coerce(value, known[key], f"{source}: option '{option}.{key}'") for key, value in settings.items()}
    return dataclasses.replace(default if isinstance(default, chosen) else chosen(), **values)


def _types(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(
        kind, localns={"Solver": type, "Sampler": type, "Operator": type}
    )  # _record reads these, not by their type
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _coerce(value: Any, wanted: Any, what: str) -> Any:
    """The value, if it is of the wanted type (a whole number serves as float). Raises UsageError."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{what} is {value!r}; it must be a finite number")
    origin = typing.get_origin(wanted)
    choices = typing.get_args(wanted)
    if origin is typing.Literal:
        if value not in choices:
            raise UsageError(f"{what} is {value!r}; choose one of {', '.join(map(repr, choices))}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in choices:
            return None
        return _coerce(value, next(c for c in choices if c is not type(None)), what)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{what} is {value!r}; write a list, e.g. [{value}]")
        return tuple(_coerce(part, choices[0], what) for part in value)
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if wanted is float and isinstance(value, str):
        try:
            return float(value)  # YAML reads 1e-4 as a text
        except ValueError:
            pass
    if wanted in (int, bool, str) and type(value) is wanted:
        return value
    if wanted not in (int, bool, str, float):
        return value
    raise UsageError(f"{what} is {value!r}; it must be {_english(wanted)}")


def _english(wanted: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[wanted]


def guess(name: str, known: Iterable[str]) -> str:
    """`` Did you mean ...?``, or nothing where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """``["limit=96", "solver.steps=50"]`` as settings; values are read as YAML. Raises UsageError."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {pair!r} is not key=value; e.g. --set solver.steps=100")
        try:
            settings[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {pair!r}: the value is not YAML: {error}") from error
    return settings


def plain_options(options: Any) -> dict[str, Any]:
    """An options record as plain data, solver and all: what is stored, and what ``options_from`` reads back."""
    data: dict[str, Any] = {}
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {"name": getattr(value, "name", type(value).__name__), **plain_options(value)}
        data[f.name] = list(value) if isinstance(value, tuple) else value
    return data


def described(kind: type[Any]) -> list[tuple[str, str, str]]:
    """(name, default, meaning) of every option or setting, for ``--help``, ``list`` and the docs."""
    default = kind()
    return [
        (f.name, _shown(getattr(default, f.name)), str(f.metadata.get("meaning", ""))) for f in dataclasses.fields(kind)
    ]


def _shown(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", value))
    return (
        {None: "not set", True: "true", False: "false"}.get(value, str(value))
        if not isinstance(value, (int, float)) or isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
