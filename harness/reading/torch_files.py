"""Files that torch.save wrote, in both of its formats: tensors and tables of them, beside inert records.

A zip archive holds a pickle `data.pkl` and each storage as a member; the older format is five pickles in a row, then
the storages. Neither is unpacked to a disk, and no storage is allocated before its bytes are known to be there.
"""

from __future__ import annotations

import codecs
import struct
import zipfile
from io import BytesIO
from typing import BinaryIO

from preimage.harness.reading.arrays import NUMPY
from preimage.harness.reading.bounds import Budget, Stream, Unreadable, damaged, natural, truncated
from preimage.harness.reading.calling import Calls
from preimage.harness.reading.containers import CONTAINERS
from preimage.harness.reading.machine import Machine
from preimage.harness.reading.tensors import TENSORS, Storage, StorageType, allocated, raw_bytes

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # as every pickle of protocol 2 or later writes that number
PROTOCOL = 1001
MOST_MEMBERS = 100_000
MOST_DIRECTORY = 1 << 24  # bytes, of all names and places of members
codecs.lookup("cp437")  # of zip archives: a module, which would else be imported in the middle of somebody's file
NAMES: dict[tuple[str, str], object] = {**CONTAINERS, **NUMPY, **TENSORS}


class _Storages:
    """The storages of a file by key, allocated when they are first referred to."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.by_key: dict[str, Storage] = {}

    def held(self, key: str) -> int:
        """Bytes that the file can have for the storage."""
        raise NotImplementedError

    def refer(self, identity: object) -> Storage:
        """The storage of a persistent id: ("storage", type, key, location, count, ...). The location is no matter."""
        match identity:
            case ("storage", StorageType() as kind, str(key), _, int(count), *rest) if natural(count):
                if rest not in ([], [None]):
                    raise Unreadable("it holds views of storages, as torch wrote them before 0.4", "Save it again")
                if key not in self.by_key:
                    self.by_key[key] = allocated(kind, count, self.held(key), self.budget)
                found = self.by_key[key]
                if found.numbers.dtype != kind.dtype or len(found.numbers) != count:
                    found = self.seen_as(found, kind, count)
                return found
            case ("module", *_):
                raise Unreadable("it holds a whole module with the text of its class", "Save its state_dict()")
            case _:
                raise damaged("its pickle refers to data by a persistent id that torch does not write")

    def seen_as(self, found: Storage, kind: StorageType, count: int) -> Storage:
        """One storage as numbers of another type, which torch writes for tensors that share bytes."""
        if found.numbers.nbytes != count * kind.dtype.itemsize:
            raise damaged("two tensors of it share a storage and disagree on its size")
        return Storage(found.numbers.view(kind.dtype))


class _Streamed(_Storages):
    """Storages that follow the pickles of the older format."""

    def __init__(self, stream: Stream, budget: Budget) -> None:
        super().__init__(budget)
        self.stream, self.left = stream, stream.size

    def held(self, key: str) -> int:
        return self.stream.size - self.stream.position

    def fill(self, keys: object) -> None:
        """Read every storage, in the order of the keys. Raises Unreadable where one is missing or of another size."""
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(self.by_key):
            raise damaged("the list of its storages is not the one that its tensors refer to")
        for key in map(str, keys):
            storage = self.by_key[key]
            head = self.stream.read(8)
            if len(head) < 8:
                raise truncated(self.stream.size)
            if struct.unpack("<q", head)[0] not in (len(storage.numbers), storage.numbers.nbytes):
                raise damaged("a storage of it has another size than its tensors say")
            self.stream.fill(raw_bytes(storage))


def legacy(stream: Stream, budget: Budget) -> object:
    """What a file of the older format holds. Raises Unreadable where it cannot be read as data."""
    storages = _Streamed(stream, budget)
    calls = Calls(NAMES, budget, storages.refer)

    def following() -> object:
        return Machine(stream, calls, budget).load()

    if following() != MAGIC or following() != PROTOCOL:
        raise damaged("it begins like a file of torch and goes on otherwise")
    system = following()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Unreadable("it was written on a machine with another order of bytes", "Save it again on a common one")
    held = following()
    storages.fill(following())
    return honest(held, calls)


def honest(held: object, calls: Calls) -> object:
    """What a file without networks holds. Raises Unreadable where calls of code were recorded on the way."""
    if calls.tolerated is not None:
        raise Unreadable(
            "it holds objects beside tensors, and no code of a checkpoint is run: it calls "
            f"{calls.tolerated} and holds no network of an official snapshot"
        )
    return held


class _Directory:
    """A file whose directory of members is read; one that is longer than any checkpoint needs is not."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes."""
        if count > MOST_DIRECTORY:
            raise Unreadable(f"the directory of its archive has {count} bytes, more than any checkpoint needs")
        return self.file.read(count if count >= 0 else MOST_DIRECTORY)


class _Members(_Storages):
    """Storages that are members of a zip archive."""

    def __init__(self, file: BinaryIO, archive: zipfile.ZipFile, root: str, budget: Budget) -> None:
        super().__init__(budget)
        self.file, self.archive, self.root = file, archive, root

    def held(self, key: str) -> int:
        return self._member(key).file_size

    def refer(self, identity: object) -> Storage:
        before = len(self.by_key)
        found = super().refer(identity)
        if len(self.by_key) > before:
            key, storage = next(reversed(self.by_key.items()))
            member(self.file, self._member(key), self.budget.size).fill(raw_bytes(storage))
        return found

    def _member(self, key: str) -> zipfile.ZipInfo:
        try:
            return self.archive.getinfo(f"{self.root}data/{key}")
        except KeyError as error:
            raise damaged(f"its archive has no member {key[:80]!r}, which a tensor refers to") from error


def zipped(file: BinaryIO, size: int, budget: Budget) -> object:
    """What a zip archive of torch.save holds. Raises Unreadable where it is another archive, or not read as data."""
    try:
        archive = zipfile.ZipFile(_Directory(file))
    except Unreadable:
        raise
    except Exception as error:  # damaged archives raise a dozen kinds of error
        raise Unreadable(
            f"it begins like a zip archive and is truncated or damaged ({type(error).__name__})", "Fetch it again"
        ) from error
    root = checked(archive.infolist(), size)
    for info in archive.infolist():
        if info.filename == f"{root}byteorder" and member(file, info, size).read(3) == b"big":
            raise Unreadable("it was written on a machine with another order of bytes", "Save it again on a common one")
    storages = _Members(file, archive, root, budget)
    calls = Calls(NAMES, budget, storages.refer)
    inside = member(file, archive.getinfo(f"{root}data.pkl"), size)
    pickled = Stream(BytesIO(inside.read(inside.size)), inside.size)  # apart: storages are read in the middle of it
    return honest(Machine(pickled, calls, budget).load(), calls)


def checked(members: list[zipfile.ZipInfo], size: int) -> str:
    """The folder of the archive's data.pkl. Raises Unreadable for archives that are encrypted, compressed, unfold, name
    files elsewhere, or are none of torch."""
    if len(members) > MOST_MEMBERS:
        raise Unreadable(f"its archive has {len(members)} members, more than any checkpoint needs")
    for info in members:
        if info.flag_bits & 0x1:
            raise Unreadable("it is an encrypted zip archive", "Unpack it with its password, and give the file inside")
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or info.filename.startswith(("/", "\\")) or ":" in parts[0]:
            raise Unreadable(f"its archive has a member {info.filename[:80]!r}, a path that leads out of it")
    roots = [info.filename.removesuffix("data.pkl") for info in members if info.filename.endswith("/data.pkl")]
    if not roots or len({info.filename for info in members}) < len(members):
        names = ", ".join(repr(info.filename[:40]) for info in members[:4])
        raise Unreadable(f"it is a zip archive of something else than torch.save, with {names or 'nothing in it'}")
    if any(info.filename.startswith(f"{roots[0]}code/") for info in members):
        raise Unreadable("it is a TorchScript archive, a program with its weights", "Save the module's state_dict()")
    packed = next((info for info in members if info.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None or sum(info.file_size for info in members) > size:
        raise Unreadable("it is a compressed zip archive, which torch does not write: it could unfold without end")
    return roots[0]


def member(file: BinaryIO, info: zipfile.ZipInfo, size: int) -> Stream:
    """A member of an archive as it lies in the file. Raises Unreadable where it does not lie there."""
    within = 0 <= info.header_offset < size
    file.seek(info.header_offset if within else size)
    head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise damaged(f"the member {info.filename[:80]!r} of its archive is not where it should be")
    start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
    if start + info.file_size > size:
        raise truncated(size)
    file.seek(start)
    return Stream(file, info.file_size)
