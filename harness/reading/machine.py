"""The pickle machine, building data only: no name is imported, no attribute is looked up, nothing of a file is called.

``pickletools.genops`` of the standard library takes the operations apart; here is what each does to the stack. A global
is a `Known` one, for which a function of this package builds the data, or an inert record.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pickletools import genops

import numpy as np

from preimage.harness.reading.arrays import NumberType, fill_array
from preimage.harness.reading.bounds import Budget, Stream, Unreadable, damaged, truncated
from preimage.harness.reading.calling import Calls, hashable, pairs, table
from preimage.harness.reading.inert import InertObject

codecs.lookup("raw-unicode-escape")  # a module, which would else be imported in the middle of somebody's file


class Machine:
    """Reads one pickle from a stream: `load` gives what it holds."""

    def __init__(self, stream: Stream, calls: Calls, budget: Budget) -> None:
        self.stream, self.calls, self.budget = stream, calls, budget
        self.stack: list[object] = []
        self.below: list[list[object]] = []
        self.memo: dict[int, object] = {}

    def load(self) -> object:
        """What the pickle holds. Raises Unreadable where it is damaged, unfolds too far, or has something called."""
        start = self.stream.position
        try:
            for operation, argument, _ in genops(self.stream):  # type: ignore[arg-type]  # read, readline and tell are all it uses
                self.budget.step()
                name = operation.name
                if name in PUSHED:
                    self.stack.append(argument)
                elif name == "STOP":
                    return self._pop()
                elif name in HANDLERS:
                    HANDLERS[name](self, argument)
                else:
                    raise Unreadable(f"its pickle has the operation {name}, which no checkpoint needs")
        except (ValueError, OverflowError) as error:  # how genops tells bytes that are no pickle
            if self.stream.short:
                raise truncated(self.stream.size) from error
            raise damaged(f"at byte {self.stream.position} of its pickle at {start}") from error
        raise damaged("its pickle never ends")

    def _pop(self) -> object:
        if not self.stack:
            raise damaged("its pickle takes what it never put down")
        return self.stack.pop()

    def _marked(self) -> list[object]:
        """What was put down since the last mark."""
        if not self.below:
            raise damaged("its pickle takes what it never put down")
        found, self.stack = self.stack, self.below.pop()
        return found

    def _top(self) -> object:
        if not self.stack:
            raise damaged("its pickle fills what it never put down")
        return self.stack[-1]

    def mark(self, _: object) -> None:
        """MARK"""
        self.below.append(self.stack)
        self.stack = []

    def pop(self, _: object) -> None:
        """POP: takes a mark away where nothing lies on it."""
        if self.stack:
            self.stack.pop()
        else:
            self._marked()

    def pop_mark(self, _: object) -> None:
        """POP_MARK"""
        self._marked()

    def repeat(self, _: object) -> None:
        """DUP"""
        self.stack.append(self._top())

    def put(self, index: object) -> None:
        """PUT and its kin. A number that is larger than the file has bytes is no memo of an honest pickle."""
        if not isinstance(index, int) or not 0 <= index <= self.stream.size:
            raise damaged("its pickle numbers more values than it has bytes")
        self.memo[index] = self._top()

    def memoize(self, _: object) -> None:
        """MEMOIZE"""
        self.memo[len(self.memo)] = self._top()

    def get(self, index: object) -> None:
        """GET and its kin."""
        if not isinstance(index, int) or index not in self.memo:
            raise damaged("its pickle recalls a value that it never kept")
        self.stack.append(self.memo[index])

    def frame(self, length: object) -> None:
        """FRAME: says how long a part is; nothing is allocated for it."""
        if not isinstance(length, int) or length > self.stream.size - self.stream.position:
            raise truncated(self.stream.size)

    def append(self, _: object) -> None:
        """APPEND"""
        self._extend([self._pop()])

    def appends(self, _: object) -> None:
        """APPENDS"""
        self._extend(self._marked())

    def add_items(self, _: object) -> None:
        """ADDITEMS"""
        found, target = self._marked(), self._top()
        if isinstance(target, set):
            target.update(hashable(value) for value in found)
        else:
            self._extend(found)

    def _extend(self, found: list[object]) -> None:
        target = self._top()
        if isinstance(target, InertObject):
            target.items += found
        elif isinstance(target, list):
            target += found
        else:
            raise damaged(f"its pickle appends to a {type(target).__name__}")

    def set_item(self, _: object) -> None:
        """SETITEM"""
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def set_items(self, _: object) -> None:
        """SETITEMS"""
        self._update(self._marked())

    def _update(self, found: list[object]) -> None:
        target = self._top()
        if isinstance(target, InertObject):
            target.items += pairs(found)
        elif isinstance(target, dict):
            target.update((hashable(key), value) for key, value in pairs(found))
        else:
            raise damaged(f"its pickle puts items into a {type(target).__name__}")

    def name(self, argument: object) -> None:
        """GLOBAL"""
        module, _, name = str(argument).partition(" ")
        self.stack.append(self.calls.find(module, name))

    def stack_name(self, _: object) -> None:
        """STACK_GLOBAL"""
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise damaged("its pickle refers to a name that is no text")
        self.stack.append(self.calls.find(module, name))

    def reduce(self, _: object) -> None:
        """REDUCE: a call."""
        args, found = self._pop(), self._pop()
        self.stack.append(self.calls.call(found, args))

    def new(self, _: object) -> None:
        """NEWOBJ: an instance that nobody has initialised."""
        args, found = self._pop(), self._pop()
        self.stack.append(self.calls.new(found, args))

    def new_with_names(self, _: object) -> None:
        """NEWOBJ_EX: the same with named arguments."""
        named, args, found = self._pop(), self._pop(), self._pop()
        if not isinstance(named, dict) or not isinstance(args, tuple):
            raise damaged("its pickle makes an instance of arguments that are none")
        self.stack.append(self.calls.new(found, (*args, named) if named else args))

    def old_instance(self, argument: object) -> None:
        """INST: as classes of Python 2 were written."""
        args = tuple(self._marked())
        self.name(argument)
        found = self._pop()
        self.stack.append(self.calls.call(found, args) if args else self.calls.new(found, args))

    def old_object(self, _: object) -> None:
        """OBJ: the same, the class on the stack."""
        found, *args = self._marked() or [None]
        self.stack.append(self.calls.call(found, tuple(args)) if args else self.calls.new(found, ()))

    def build(self, _: object) -> None:
        """BUILD: a state is kept, or fills numbers; no attribute of anything is set."""
        state, target = self._pop(), self._top()
        if isinstance(target, InertObject):
            target.state = state
        elif isinstance(target, np.ndarray):
            fill_array(target, state, self.budget)
        elif isinstance(target, NumberType):
            target.fill(state)
        elif not isinstance(target, dict):  # what an ordered table carries beside its items: versions of modules
            raise Unreadable(f"its pickle sets the state of a {type(target).__name__}, which no checkpoint needs")

    def persistent(self, argument: object) -> None:
        """PERSID"""
        self.stack.append(self.calls.stored(argument))

    def persistent_value(self, _: object) -> None:
        """BINPERSID"""
        self.stack.append(self.calls.stored(self._pop()))

    def constant(self, value: object) -> None:
        """NONE, NEWTRUE, NEWFALSE and the empty containers."""
        self.stack.append(value)

    def gather(self, kind: Callable[[list[object]], object]) -> None:
        """LIST, TUPLE, DICT, FROZENSET: a container of what lies on the mark."""
        found = kind(self._marked())  # first: it changes which stack is on top
        self.stack.append(found)

    def few(self, count: int) -> None:
        """TUPLE1 to TUPLE3"""
        found = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(found)))


PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
HANDLERS: dict[str, Callable[[Machine, object], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": Machine.frame,
    **{name: Machine.put for name in ("PUT", "BINPUT", "LONG_BINPUT")},
    **{name: Machine.get for name in ("GET", "BINGET", "LONG_BINGET")},
    "MEMOIZE": Machine.memoize,
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.pop_mark,
    "DUP": Machine.repeat,
    "NONE": lambda machine, _: machine.constant(None),
    "NEWTRUE": lambda machine, _: machine.constant(True),
    "NEWFALSE": lambda machine, _: machine.constant(False),
    "EMPTY_LIST": lambda machine, _: machine.constant([]),
    "EMPTY_DICT": lambda machine, _: machine.constant({}),
    "EMPTY_TUPLE": lambda machine, _: machine.constant(()),
    "EMPTY_SET": lambda machine, _: machine.constant(set()),
    "LIST": lambda machine, _: machine.gather(list),
    "TUPLE": lambda machine, _: machine.gather(tuple),
    "FROZENSET": lambda machine, _: machine.gather(lambda found: frozenset(map(hashable, found))),
    "DICT": lambda machine, _: machine.gather(table),
    "TUPLE1": lambda machine, _: machine.few(1),
    "TUPLE2": lambda machine, _: machine.few(2),
    "TUPLE3": lambda machine, _: machine.few(3),
    "APPEND": Machine.append,
    "APPENDS": Machine.appends,
    "ADDITEMS": Machine.add_items,
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": Machine.stack_name,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.new,
    "NEWOBJ_EX": Machine.new_with_names,
    "INST": Machine.old_instance,
    "OBJ": Machine.old_object,
    "BUILD": Machine.build,
    "PERSID": Machine.persistent,
    "BINPERSID": Machine.persistent_value,
}
"""All operations but those that refer to the process that reads: extension codes of copyreg, buffers given beside."""
