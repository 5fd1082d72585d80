"""What a file names and nobody here knows: kept as a record of names and data, never imported and never called.

A file may *hold* any name and any instance: those are data. A file that has something *called* is refused, unless it is
of the discriminators of projected GANs, whose snapshots carry calls that never mattered to their generators.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from preimage.harness.reading.bounds import Unreadable, shown

RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "UserDict": "collections", "exceptions": "builtins"}
"""Modules as Python 2 named them."""

TOLERATED = {
    *(("builtins", name) for name in ("getattr", "setattr")),
    *(("dill._dill", name) for name in ("_create_function", "_create_code", "_create_cell", "_load_type")),
}
"""Calls that whole snapshots of StyleGAN-XL hold, in their discriminators. Nothing of them reaches a network that is
asked for, and a file without networks is refused for them."""

PACKAGES = ("timm", "pg_modules", "feature_networks", "torch.nn", "torch.ao")
"""Packages of those discriminators: what they build is recorded."""

PLAIN = {
    *(("builtins", name) for name in ("object", "range", "slice")),
    *(("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(("argparse", "Namespace"), ("types", "SimpleNamespace"), ("functools", "partial"), ("collections", "deque")),
}
"""Classes of the standard library that settings of a training are made of: they hold data and run nothing."""


@dataclass(frozen=True, eq=False)
class InertGlobal:
    """A name that a file refers to. Nothing is imported for it."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}", 160)

    @property
    def tolerated(self) -> bool:
        """Whether calls of it are recorded although they run something where the file was written."""
        return (self.module, self.name) in TOLERATED

    @property
    def library(self) -> bool:
        """Whether it is of Python itself."""
        return self.module.split(".")[0] in sys.stdlib_module_names


@dataclass(eq=False, repr=False, slots=True)
class InertObject:
    """An instance of a class that nobody here knows, as data: its arguments, its state, what was put into it."""

    of: InertGlobal
    args: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.of}, inert>"


def refused(found: InertGlobal) -> Unreadable:
    """The error of a file that has something called."""
    return Unreadable(
        f"it holds objects beside tensors, and no code of a checkpoint is run: it calls {found}",
        "Do not open it with anything that does run it. Give a .safetensors file, or one that holds tensors alone",
    )


def called(found: InertGlobal, args: tuple[object, ...]) -> InertObject:
    """What stands for the result of a call. Raises Unreadable, naming the global, where calls of it are refused."""
    if found.tolerated:
        for value in args if found.module == "builtins" else ():  # a way to everything that Python has
            if isinstance(value, InertGlobal) and value.library and not value.tolerated:
                raise refused(value)
        return InertObject(found, args)
    inside = any(found.module == package or found.module.startswith(f"{package}.") for package in PACKAGES)
    if inside or (found.module, found.name) in PLAIN:
        return InertObject(found, args)
    raise refused(found)


def instance(found: InertGlobal, args: tuple[object, ...]) -> InertObject:
    """What stands for an instance that is filled afterwards, as pickles hold objects. Raises Unreadable for classes of
    Python itself, other than the plain ones: a checkpoint has no honest use for them."""
    if found.library and (found.module, found.name) not in PLAIN:
        raise refused(found)
    return InertObject(found, args)
