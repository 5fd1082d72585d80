"""Networks of NVIDIA-style pickles as data: what a decorated module was, without the source text that came with it.

Snapshots of StyleGAN2-ADA, StyleGAN3, StyleGAN-XL and the projected GANs hold their networks as calls of
``torch_utils.persistence._reconstruct_persistent_obj`` with the ``__dict__`` of a module and the source text of its
class, which the official reader executes. Here the text is dropped unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from preimage.harness.errors import WeightsError
from preimage.harness.reading.bounds import shown
from preimage.harness.reading.inert import InertGlobal, InertObject

TABLES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
SETTINGS = ("_init_args", "_init_kwargs")
MOST = 50_000  # modules and tensors of one network
LONGEST = 300  # letters of a name
DEEPEST = 64


@dataclass(frozen=True, eq=False, repr=False)
class NetworkRecord:
    """A module as data. class_name: of its class. state: its ``__dict__``; networks within it are records too."""

    class_name: str
    state: Mapping[str, object]

    def __repr__(self) -> str:
        return f"<network {shown(self.class_name)}>"

    @property
    def init_args(self) -> tuple[object, ...]:
        """The positional arguments of its construction. Raises WeightsError where they are no data."""
        found = self.state.get("_init_args", ())
        if not isinstance(found, tuple | list):
            raise WeightsError(f"{self}: its `_init_args` are {_kind(found)}, not a tuple. Give an official snapshot")
        return tuple(found)

    @property
    def init_kwargs(self) -> dict[str, object]:
        """The named arguments of its construction. Raises WeightsError where they are no table by name."""
        return self._table("_init_kwargs")

    @property
    def attributes(self) -> dict[str, object]:
        """What the module keeps beside tensors, modules, hooks and the arguments of its construction."""
        return {
            name: value
            for name, value in self.state.items()
            if name not in (*TABLES, *SETTINGS) and not (name.startswith("_") and "hook" in name)
        }

    @property
    def children(self) -> dict[str, NetworkRecord]:
        """The modules within it, in order. Raises WeightsError where something else stands among them."""
        found = {}
        for name, value in self._table("_modules").items():
            network = as_network(value)
            if network is not None:
                found[name] = network
            elif value is not None:
                raise WeightsError(f"{self}: its module {shown(name)!r} is {_kind(value)}. Give an official snapshot")
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Its state_dict under the official names: parameters, persistent buffers, then those of its modules.

        Raises WeightsError where something else than a tensor stands among them, or modules without end.
        """
        return dict(self._walk("", 0, iter(range(MOST))))

    def _walk(self, prefix: str, depth: int, left: Iterator[int]) -> Iterator[tuple[str, Tensor]]:
        if depth > DEEPEST or len(prefix) > LONGEST or next(left, None) is None:
            raise self._endless()
        passing = self.state.get("_non_persistent_buffers_set", ())
        skipped = passing if isinstance(passing, set | frozenset | list | tuple) else ()
        for table in ("_parameters", "_buffers"):
            for name, value in self._table(table).items():
                if next(left, None) is None:
                    raise self._endless()
                if isinstance(value, Tensor):
                    if table == "_parameters" or name not in skipped:
                        yield f"{prefix}{name}", value
                elif value is not None:
                    said = f"{shown(prefix + name, 200)} is {_kind(value)}, not a tensor"
                    raise WeightsError(f"{self}: {said}. Give an official snapshot")
        for name, child in self.children.items():
            yield from child._walk(f"{prefix}{name}.", depth + 1, left)

    def _endless(self) -> WeightsError:
        return WeightsError(f"{self}: its modules contain one another without end. Give an official snapshot")

    def _table(self, name: str) -> dict[str, object]:
        found = self.state.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(key, str) and len(key) <= LONGEST for key in found):
            raise WeightsError(
                f"{self}: its `{name}` is {_kind(found)}, not a table by name. Give an official snapshot"
            )
        return dict(found)


def as_network(value: object) -> NetworkRecord | None:
    """The value as a network: a record of one, or a plain torch module that was pickled as it stands; else None."""
    if isinstance(value, NetworkRecord):
        return value
    if isinstance(value, InertObject) and isinstance(value.state, dict) and "_modules" in value.state:
        return NetworkRecord(value.of.name, value.state)
    return None


def the_network(held: object, where: str) -> NetworkRecord:
    """The network that a snapshot is read for: its ``G_ema``, else its ``G``, else the only one that it holds.

    Raises WeightsError that says what is there otherwise, or names what the network would have to call.
    """
    table = held if isinstance(held, Mapping) else {"": held}
    networks = {name: found for name, value in table.items() if (found := as_network(value)) is not None}
    wanted = next((name for name in ("G_ema", "G") if table.get(name) is not None), None)
    if wanted is None and len(networks) == 1:
        wanted = next(iter(networks))
    chosen = None if wanted is None else networks.get(wanted)
    if chosen is None:
        names = ", ".join(f"{shown(str(name), 40)} ({_kind(table[name])})" for name in list(table)[:12]) or "nothing"
        said = f"it holds {names}" if isinstance(held, Mapping) else f"it holds {_kind(held)}"
        raise WeightsError(f"no generator in {where!r}: {said}. Give a snapshot with a network `G_ema` or `G`")
    if (call := call_within(chosen)) is not None:
        raise WeightsError(
            f"cannot read the network of {where!r}: it holds what a call of {call} gave, and no code of a checkpoint "
            "is run. Give a snapshot that training wrote"
        )
    return chosen


def call_within(value: object) -> InertGlobal | None:
    """A global whose call gave something within the value; None: all of it is data. Each part is looked at once."""
    seen: set[int] = set()
    left = [value]
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, InertObject):
            if part.of.tolerated:
                return part.of
            left += [part.args, part.state, part.items]
        elif isinstance(part, NetworkRecord):
            left.append(part.state)
        elif isinstance(part, Mapping):
            left += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            left += part
    return None


def _kind(value: object) -> str:
    if isinstance(value, InertObject):
        return f"an object of {value.of}"
    if isinstance(value, InertGlobal):
        return f"the name {value}"
    return repr(value) if isinstance(value, NetworkRecord) else f"a {type(value).__name__}"
