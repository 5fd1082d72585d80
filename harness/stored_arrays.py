"""Arrays in .npz and idx files, mapped into memory; compressed ones are decompressed once, into the cache."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import struct
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import hash_file

Array: TypeAlias = NDArray[Any]

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK = 1 << 22  # bytes decompressed at a time
PARSING = threading.Lock()  # numpy parses a header with ast, which CPython 3.11 may not do in two threads at once


@dataclass(frozen=True)
class StoredArray:
    """Where an array lies and what it is, as its header says; no value has been read yet."""

    path: Path
    member: str  # of a .npz; "" in an idx file
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool  # the first index runs fastest
    skip: int  # bytes before the first value: in the file or, if compressed, in the decompressed stream
    compressed: bool

    @property
    def nbytes(self) -> int:
        """The bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{str(self.path)!r}" + (f", array {self.member!r}" if self.member else "")

    def open(self, cache: Path) -> Array:
        """The array, read-only, its values read from disk as they are used.

        cache: the folder that a compressed array is decompressed into, once; its files are named by content, so they
        are never out of date, and written whole or not at all. Raises DatasetError.
        """
        if self.nbytes == 0:
            return np.empty(self.shape, self.dtype)
        file, offset = (self._decompressed(cache), 0) if self.compressed else (self.path, self.skip)
        with _reading(self):
            return np.memmap(file, self.dtype, "r", offset, self.shape, order="F" if self.fortran else "C")

    def load(self) -> Array:
        """The array, whole, in memory: for labels. Raises DatasetError."""
        with _reading(self), self._values() as stream:
            blob = stream.read(self.nbytes + (1 if self.compressed else 0))  # the rest of a plain file was measured
        if len(blob) != self.nbytes:
            raise self._wrong_length(len(blob))
        return np.frombuffer(blob, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")

    @contextmanager
    def _values(self) -> Iterator[IO[bytes]]:
        member = self.member if self.compressed else ""
        with _opened(self.path, member, gzipped=self.compressed and not member) as stream:
            stream.seek(self.skip)
            yield stream

    def _decompressed(self, cache: Path) -> Path:
        key = hashlib.sha256(f"{hash_file(self.path, cache)}\0{self.member}\0{self.skip}".encode()).hexdigest()
        file = cache / "arrays" / key[:40]
        if not (file.is_file() and file.stat().st_size == self.nbytes):
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                target = tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False)  # noqa: SIM115  # it is renamed
            except OSError as error:
                raise self._no_room(file.parent, error) from error
            try:
                with target:
                    self._decompress_into(target)
                Path(target.name).replace(file)
            finally:
                Path(target.name).unlink(missing_ok=True)
        return file

    def _decompress_into(self, target: IO[bytes]) -> None:
        left = self.nbytes
        with _reading(self), self._values() as stream:
            while chunk := stream.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    break
                try:
                    target.write(chunk)
                    target.flush()
                except OSError as error:
                    raise self._no_room(Path(target.name).parent, error) from error
        if left != 0:
            raise self._wrong_length(self.nbytes - left)

    def _no_room(self, folder: Path, error: OSError) -> DatasetError:
        return DatasetError(
            f"{self} is compressed; its {self.nbytes:,} bytes cannot be written into {str(folder)!r}: "
            f"{error.strerror or error}. Free the space, or give another folder: cache=..."
        )

    def _wrong_length(self, seen: int) -> DatasetError:
        fault = f"it is cut short after {seen:,}" if seen < self.nbytes else "it holds more"
        return DatasetError(
            f"{self} should hold {self.nbytes:,} bytes for an array of shape {self.shape}; {fault}. "
            "Fetch the file again"
        )


def npz_arrays(path: Path) -> Mapping[str, StoredArray]:
    """The arrays of an .npz file by name. Raises DatasetError where it is no .npz file, or holds pickled objects."""
    arrays = {}
    with _reading(f"{str(path)!r}"), zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            compressed = info.compress_type != zipfile.ZIP_STORED
            with archive.open(info) as stream:
                dtype, shape, fortran = _npy_header(stream, f"{str(path)!r}, array {info.filename!r}")
                header = stream.tell()
            skip = header + (0 if compressed else _first_byte(raw, info.header_offset))
            name = info.filename.removesuffix(".npy")
            array = StoredArray(path, info.filename, dtype, shape, fortran, skip, compressed)
            if array.nbytes != info.file_size - header:
                raise array._wrong_length(info.file_size - header)
            arrays[name] = array
    return arrays


def idx_array(path: Path) -> StoredArray:
    """The array of an idx file, plain or gzipped (the format of LeCun's MNIST page, values big-endian).

    Raises DatasetError for another kind of file, and for a plain one longer or shorter than its header says; a gzipped
    one shows its length when it is read.
    """
    with _reading(f"{str(path)!r}"):
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        with _opened(path, gzipped=compressed) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or magic[3] == 0:
                raise DatasetError(
                    f"{str(path)!r} is no idx file: it starts with {magic.hex() or 'nothing'}; an idx "
                    "file starts with 0000, a type (08: bytes) and the number of dimensions: 00000803"
                )
            sizes = stream.read(4 * magic[3])
            if len(sizes) < 4 * magic[3]:
                raise DatasetError(f"{str(path)!r} ends within its header. Fetch the file again")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    array = StoredArray(path, "", np.dtype(IDX_TYPES[magic[2]]), shape, False, 4 + 4 * magic[3], compressed)
    seen = path.stat().st_size - array.skip
    if not compressed and seen != array.nbytes:
        raise array._wrong_length(seen)
    return array


@contextmanager
def _reading(what: object) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
    ) as error:
        raise DatasetError(f"cannot read {what}: {error}") from error


@contextmanager
def _opened(path: Path, member: str = "", *, gzipped: bool = False) -> Iterator[IO[bytes]]:
    if member:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream
    elif gzipped:
        with gzip.open(path) as unzipped:
            yield cast(IO[bytes], unzipped)  # which it is, but for its declaration
    else:
        with path.open("rb") as stream:
            yield stream


def _npy_header(stream: IO[bytes], what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise DatasetError(f"{what} is in version {version} of the .npy format; save it as a plain array")
    with PARSING:
        shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise DatasetError(f"{what} holds pickled Python objects, which are never loaded; save an array of numbers")
    return dtype, shape, fortran


def _first_byte(raw: IO[bytes], header: int) -> int:
    raw.seek(header)
    name, extra = struct.unpack("<26xHH", raw.read(30))  # a zip entry's local header ends with these two lengths
    return header + 30 + int(name) + int(extra)
