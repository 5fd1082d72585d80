"""What the names of a pickle stand for, and what their calls and instances give: data of ours, or an inert record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from preimage.harness.reading.bounds import Budget, Unreadable, damaged
from preimage.harness.reading.inert import RENAMED, InertGlobal, InertObject, called, instance, refused

Build = Callable[[tuple[object, ...], Budget], object]
RECONSTRUCTORS = {("copyreg", "_reconstructor"), ("copyreg", "__newobj__")}  # how protocols 0 and 1 make instances


@dataclass(frozen=True, eq=False)
class Known:
    """A global with a function of ours that builds what a call of it would give."""

    name: str
    build: Build


class Calls:
    """Names, calls and instances of the pickles of one file.

    names: what globals stand for by module and name; others are inert. persistent: what a persistent id stands for.
    tolerated: the last global whose call was recorded although it runs something where the file was written.
    """

    def __init__(
        self,
        names: Mapping[tuple[str, str], object],
        budget: Budget,
        persistent: Callable[[object], object] | None = None,
    ) -> None:
        self.names, self.budget, self.persistent = names, budget, persistent
        self.found: dict[tuple[str, str], object] = {}
        self.tolerated: InertGlobal | None = None

    def find(self, module: str, name: str) -> object:
        """What a global stands for; nothing is imported. Raises Unreadable for files of TensorFlow's time."""
        module = RENAMED.get(module, module)
        if module.startswith("dnnlib.tflib"):
            raise Unreadable(
                f"it is a TensorFlow-era pickle: it holds {InertGlobal(module, name)}",
                "Convert it with `legacy.py` of NVlabs/stylegan2-ada-pytorch, and give the file that this writes",
            )
        if (module, name) not in self.found:
            self.found[module, name] = self.names.get((module, name), InertGlobal(module, name))
        return self.found[module, name]

    def call(self, found: object, args: object) -> object:
        """What a call gives. Raises Unreadable, naming the global, where the call would have run something."""
        if not isinstance(args, tuple):
            raise damaged("its pickle calls with arguments that are no tuple")
        if isinstance(found, Known):
            return found.build(args, self.budget)
        if isinstance(found, InertGlobal) and (found.module, found.name) in RECONSTRUCTORS and args:
            base = args[2:3]  # of a subclass of a container: what the container held
            return self.new(args[0], () if base == (None,) else base)
        if isinstance(found, InertObject):
            found = found.of
            if found.library and not found.tolerated:
                raise refused(found)
        if not isinstance(found, InertGlobal):
            raise damaged(f"its pickle calls a {type(found).__name__}")
        self.tolerated = found if found.tolerated else self.tolerated
        return called(found, args)

    def new(self, found: object, args: object) -> object:
        """What an instance is that nobody has initialised. Raises Unreadable as `call` does."""
        if not isinstance(args, tuple):
            raise damaged("its pickle makes an instance of arguments that are no tuple")
        if isinstance(found, InertGlobal):
            return instance(found, args)
        if isinstance(found, Known):
            return found.build(args, self.budget)
        if isinstance(found, InertObject) and found.of.tolerated:  # a class that dill makes anew
            return InertObject(found.of, args)
        raise damaged(f"its pickle makes an instance of a {type(found).__name__}")

    def stored(self, identity: object) -> object:
        """What a persistent id stands for. Raises Unreadable where files of the kind have none."""
        if self.persistent is None:
            raise Unreadable("its pickle refers to data outside of it by a persistent id, which no snapshot needs")
        return self.persistent(identity)


def hashable(value: object) -> object:
    """The value where it may be a key. Raises Unreadable for what cannot be, or is made to take long as one."""
    parts = value if isinstance(value, tuple) and len(value) <= 16 else (value,)
    for part in parts:
        if isinstance(part, list | dict | set | tuple | frozenset | bytearray):
            raise damaged(f"its pickle has a {type(part).__name__} as a key")
        if isinstance(part, int) and part.bit_length() > 60:  # many such integers have one hash
            raise damaged("its pickle has an integer of more than 60 bits as a key")
    try:
        hash(value)
    except TypeError as error:
        raise damaged(f"its pickle has a {type(value).__name__} as a key") from error
    return value


def pairs(found: list[object]) -> list[tuple[object, object]]:
    """Keys and values that a pickle puts down in turn. Raises Unreadable for a key without a value."""
    if len(found) % 2:
        raise damaged("its pickle has a key without a value")
    return list(zip(found[::2], found[1::2], strict=True))


def table(found: list[object]) -> dict[object, object]:
    """Keys and values in turn as a table. Raises Unreadable as `pairs` and `hashable` do."""
    return {hashable(key): value for key, value in pairs(found)}
