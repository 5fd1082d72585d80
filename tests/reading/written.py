"""Files as training writes them, and as somebody with bad intentions might: pickles, archives, snapshots."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

SOURCE = "raise RuntimeError('the text of a class was executed')"


@dataclass(frozen=True)
class Global:
    """A name in a file; it need not exist."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Call:
    """REDUCE: where a pickle is read as usual, this calls."""

    of: Any
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Instance:
    """NEWOBJ, then BUILD where there is a state."""

    of: Any
    args: tuple[Any, ...] = ()
    state: Any = None


@dataclass(frozen=True, eq=False)
class Built:
    """BUILD of a state on a value."""

    value: Any
    state: Any


@dataclass(frozen=True, eq=False)
class Raw:
    """Operations as they are; they leave one value."""

    operations: bytes


@dataclass(frozen=True, eq=False)
class Stored:
    """A persistent id."""

    identity: Any


class Writer(pickle._Pickler):  # type: ignore[name-defined,misc]  # of the standard library, in Python
    """Pickles with names that nobody can import."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def persistent_id(self, obj: Any) -> Any:
        return obj.identity if isinstance(obj, Stored) else None

    def named(self, found: Global) -> None:
        if self.proto >= 4:
            self.save(found.module)
            self.save(found.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{found.module}\n{found.name}\n".encode())
        self.memoize(found)

    def called(self, call: Call) -> None:
        self.save(call.of)
        self.save(call.args)
        self.write(pickle.REDUCE)
        self.memoize(call)

    def made(self, made: Instance) -> None:
        self.save(made.of)
        self.save(made.args)
        self.write(pickle.NEWOBJ)
        self.memoize(made)
        if made.state is not None:
            self.save(made.state)
            self.write(pickle.BUILD)

    def built(self, built: Built) -> None:
        self.save(built.value)
        self.save(built.state)
        self.write(pickle.BUILD)

    def raw(self, raw: Raw) -> None:
        self.write(raw.operations)

    dispatch |= {Global: named, Call: called, Instance: made, Built: built, Raw: raw}


def pickled(value: Any, protocol: int = 3) -> bytes:
    """A pickle of a value, whatever it names."""
    buffer = io.BytesIO()
    Writer(buffer, protocol).dump(value)
    return buffer.getvalue()


PERSISTENT = Global("torch_utils.persistence", "_reconstruct_persistent_obj")
EASY = Global("dnnlib.util", "EasyDict")


def network(name: str, tensors: dict[str, Any], modules: dict[str, Any] | None = None, **attributes: Any) -> Call:
    """A module as the official training pickles it. ``buffer.`` before a name: a buffer; ``passing.``: not kept."""
    split: dict[str, dict[str, Any]] = {"parameter": {}, "buffer": {}, "passing": {}}
    for key, value in tensors.items():
        kind, _, bare = key.rpartition(".")
        split[kind or "parameter"][bare] = value
    state = {
        "training": False,
        "_parameters": {k: None if v is None else torch.nn.Parameter(v) for k, v in split["parameter"].items()},
        "_buffers": split["buffer"] | split["passing"],
        "_non_persistent_buffers_set": set(split["passing"]),
        "_forward_hooks": {},
        "_modules": modules or {},
        **attributes,
    }
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": name, "state": state}
    return Call(PERSISTENT, (meta,))


def snapshot(**more: Any) -> dict[str, Any]:
    """A small snapshot with all that official ones are made of."""
    affine = network("Affine", {"weight": torch.arange(6.0).reshape(2, 3), "bias": None}, gain=np.float64(0.5))
    embed = Instance(
        Global("torch.nn.modules.sparse", "Embedding"),
        (),
        {"_parameters": {"weight": torch.nn.Parameter(torch.ones(2, 2))}, "_buffers": {}, "_modules": {}, "dim": 2},
    )
    tensors = {"w": torch.arange(4.0).reshape(2, 2).t(), "buffer.w_avg": torch.ones(2), "passing.f": torch.ones(1)}
    settings = {"_init_args": (3,), "_init_kwargs": Raw(pickled(Instance(EASY), 2)[2:-1])}
    generator = network(
        "Generator", tensors, {"affine": affine, "embed": embed, "empty": None}, size=np.array([36, 36]), **settings
    )
    return {"G": None, "G_ema": generator, "augment_pipe": None, "training_set_kwargs": Instance(EASY), **more}


@dataclass
class Archive:
    """A zip archive as torch.save writes it. members: beside data.pkl."""

    value: Any
    members: dict[str, bytes] = field(default_factory=dict)
    root: str = "archive/"
    pack: int = zipfile.ZIP_STORED

    def write(self, path: Path) -> Path:
        """The archive at a path."""
        with zipfile.ZipFile(path, "w", self.pack) as file:
            file.writestr(f"{self.root}data.pkl", pickled(self.value, 2))
            for name, content in {f"{self.root}version": b"3\n", **self.members}.items():
                file.writestr(name, content)
        return path


def storage_id(key: str, count: int, kind: str = "FloatStorage") -> Stored:
    """What refers to a storage of a file."""
    return Stored(("storage", Global("torch", kind), key, "cpu", count))


def tensor(key: str, count: int, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> Call:
    """A tensor of a file: a view of one of its storages."""
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, (storage_id(key, count), offset, sizes, strides, False, {}))


def legacy(value: Any, storages: dict[str, tuple[int, bytes]] | None = None) -> bytes:
    """A file as torch.save wrote it before 1.6, with any count said of each storage."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    found = storages or {}
    head = b"".join(pickled(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system, value, list(found)))
    return head + b"".join(struct.pack("<q", count) + content for count, content in found.values())
