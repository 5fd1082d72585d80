"""A table of settings, as a card or a checkpoint gives it, as a record whose fields say what each must be."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from preimage.harness.errors import CardError

FAMILY = "stylegan-xl"
MOST = 16384  # of a count: what is larger is no network of this kind, and would not fit in memory
LEAST: Mapping[str, int] = {"c_dim": 0, "margin_size": 0, "num_critical": 0}
SIGNED = tuple[int, int]

R = TypeVar("R")


def record(kind: type[R], table: Mapping[str, object], where: str, *, ignored: Collection[str] | None = ()) -> R:
    """The record of that kind. where: what to call the table in errors. ignored: names that may stand there and mean
    nothing (None: any). Raises CardError that lists what is missing, unknown or no such value."""
    hints = get_type_hints(kind)
    own = fields(kind)  # type: ignore[arg-type]  # every kind is a dataclass
    names = [field.name for field in own]
    if ignored is not None and (unknown := [str(name) for name in table if name not in (*names, *ignored)]):
        raise wrong(f"unknown in {where}: {', '.join(unknown)}. Known are: {', '.join(sorted(names))}")
    required = [field.name for field in own if field.default is MISSING]
    if missing := [name for name in required if name not in table]:
        raise wrong(f"{where} lacks {', '.join(missing)}; it needs {', '.join(required)}")
    values: dict[str, Any] = {name: _value(name, table[name], hints[name], where) for name in names if name in table}
    return kind(**values)


def table_of(settings: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The table under that name, empty where there is none. Raises CardError for something else."""
    found = settings.get(name, {})
    if not isinstance(found, Mapping):
        raise wrong(f"`{name}` is {found!r}; it must be a table of settings")
    return found


def tables_of(settings: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """The tables listed under that name, none where it is not there. Raises CardError for something else."""
    found = settings.get(name, [])
    if not isinstance(found, Sequence) or not all(isinstance(table, Mapping) for table in found):
        raise wrong(f"`{name}` is {found!r}; it must be a list of tables of settings")
    return list(found)


def wrong(what: str) -> CardError:
    """The error of a setting of this family."""
    return CardError(f"family {FAMILY!r}: {what}")


def number(name: str, value: object, where: str) -> float:
    """A finite number. Raises CardError for something else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(f"`{name}` in {where} is {value!r}; it must be a finite number")
    return float(value)


def count(name: str, value: object, where: str, least: int, most: int = MOST) -> int:
    """A whole number in these bounds. Raises CardError for something else."""
    whole = not isinstance(value, bool) and isinstance(value, int | float) and value == value // 1
    if not whole or not least <= value <= most:  # type: ignore[operator]  # whole numbers are numbers
        raise wrong(f"`{name}` in {where} is {value!r}; it must be a whole number from {least} to {most}")
    return int(value)  # type: ignore[call-overload, no-any-return]  # as above


def _value(name: str, value: object, hint: object, where: str) -> object:
    if hint == float | None:
        return None if value is None else _value(name, value, float, where)
    if hint is float:
        found = number(name, value, where)
        if found <= 0:
            raise wrong(f"`{name}` in {where} is {value!r}; it must be larger than 0")
        return found
    if hint is int:
        return count(name, _side(value), where, LEAST.get(name, 1))
    if hint == SIGNED:
        return _both_ends(name, value, where)
    kind = bool if hint is bool else str
    if not isinstance(value, kind):
        raise wrong(f"`{name}` in {where} is {value!r}; it must be {'true or false' if kind is bool else 'a text'}")
    return value


def _side(value: object) -> object:
    """The side of a square that is given as [width, height]."""
    if isinstance(value, Sequence) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


def _both_ends(name: str, value: object, where: str) -> tuple[int, int]:
    """Two numbers, given as such or once for either axis."""
    ends = list(value) if isinstance(value, Sequence) else []
    if len(ends) == 4 and ends[:2] == ends[2:]:
        ends = ends[:2]
    if len(ends) != 2:
        raise wrong(f"`{name}` in {where} is {value!r}; it must be two whole numbers, the same for both axes")
    return count(name, ends[0], where, -MOST), count(name, ends[1], where, -MOST)
