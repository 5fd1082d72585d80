"""Containers of Python that pickles build by name: made anew here, so that none of their classes is ever called."""

from __future__ import annotations

from collections import OrderedDict

from preimage.harness.reading.bounds import Budget, damaged
from preimage.harness.reading.calling import Build, Known, hashable, pairs
from preimage.harness.reading.inert import InertGlobal

EACH = 100  # bytes that an item of a container takes, about


def ordered_table(args: tuple[object, ...], budget: Budget) -> OrderedDict[object, object]:
    """collections.OrderedDict(items). Raises Unreadable where they are none."""
    return OrderedDict(table_of(args, budget))


def table_of(args: tuple[object, ...], budget: Budget) -> dict[object, object]:
    """A table of a table, or of a list of keys with values; empty: of nothing. Raises Unreadable for anything else."""
    match args:
        case () | (None,):
            return {}
        case (dict(items),):
            budget.take(EACH * len(items))
            return dict(items)
        case (list(items) | tuple(items),) if all(isinstance(item, list | tuple) and len(item) == 2 for item in items):
            budget.take(EACH * len(items))
            flat = [part for item in items if isinstance(item, list | tuple) for part in item]
            return {hashable(key): value for key, value in pairs(flat)}
        case _:
            raise damaged("a table of it is built of something that is no items")


def factory_table(args: tuple[object, ...], budget: Budget) -> dict[object, object]:
    """collections.defaultdict(factory, items): without the factory."""
    return table_of(args[1:], budget)


def items_of(args: tuple[object, ...], budget: Budget) -> list[object]:
    """What a list, tuple or set is built of. Raises Unreadable where that is no list, tuple or set."""
    match args:
        case ():
            return []
        case (list() | tuple() | set() | frozenset() as items,):
            budget.take(EACH * len(items))
            return list(items)
        case _:
            raise damaged("a container of it is built of something that is no items")


def bytes_of(args: tuple[object, ...], budget: Budget) -> bytes:
    """bytes(), bytearray(bytes) and bytearray(text, "latin-1"). Raises Unreadable for a length: that is no content."""
    match args:
        case ():
            return b""
        case (bytes() | bytearray() as raw,):
            budget.take(len(raw))
            return bytes(raw)
        case (str(text), "latin-1" | "latin1"):
            budget.take(len(text))
            return text.encode("latin1")
        case _:
            raise damaged("bytes of it are built of something that is no bytes")


def number_of(args: tuple[object, ...], _: Budget) -> complex:
    """complex(real, imaginary), and float or int of a number. Raises Unreadable for anything else."""
    match args:
        case (int() | float() as number,):
            return number
        case (int() | float() as real, int() | float() as imaginary):
            return complex(real, imaginary)
        case _:
            raise damaged("a number of it is built of something that is none")


def type_of_dill(args: tuple[object, ...], _: Budget) -> object:
    """dill._dill._load_type(name): a container or number of Python by its name; any other type is inert."""
    match args:
        case (str(name),):
            return _TYPES.get(name, InertGlobal("dill._dill", "_load_type"))
        case _:
            raise damaged("dill names a type of it by something that is no text")


_BUILDS: dict[str, Build] = {
    "dict": table_of,
    "list": items_of,
    "tuple": lambda args, budget: tuple(items_of(args, budget)),
    "set": lambda args, budget: set(map(hashable, items_of(args, budget))),
    "frozenset": lambda args, budget: frozenset(map(hashable, items_of(args, budget))),
    "bytes": bytes_of,
    "bytearray": bytes_of,
    "complex": number_of,
    "float": number_of,
    "int": number_of,
}
_TYPES = {name: Known(f"builtins.{name}", build) for name, build in _BUILDS.items()}
CONTAINERS: dict[tuple[str, str], object] = {
    **{("builtins", name): known for name, known in _TYPES.items()},
    ("collections", "OrderedDict"): Known("collections.OrderedDict", ordered_table),
    ("collections", "defaultdict"): Known("collections.defaultdict", factory_table),
    ("collections", "Counter"): Known("collections.Counter", table_of),
    ("dnnlib.util", "EasyDict"): Known("dnnlib.util.EasyDict", table_of),
    ("dnnlib", "EasyDict"): Known("dnnlib.EasyDict", table_of),
    ("dill._dill", "_load_type"): Known("dill._dill._load_type", type_of_dill),
}
"""Containers and numbers by the names that pickles give them."""
