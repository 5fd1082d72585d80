"""Encoded images in parquet files. Their bytes are laid out once in the cache, so that any image is read alone."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import hash_file

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IMAGE_COLUMNS = ("image", "img", "picture", "png", "jpg")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")

_ROWS = 256  # read at a time


class _Part(NamedTuple):
    """One file: where its images' bytes lie, image k at ``ends[k - 1]`` to ``ends[k]``; labels; number of classes."""

    path: Path
    sha256: str
    column: str
    packed: Path
    ends: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int


class ParquetSplit:
    """The images of some parquet files, in an order that mixes them, fixed by the numbers of files and rows."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        rows = [(k, row) for k, part in enumerate(parts) for row in range(len(part.labels))]
        self._rows = sorted(rows, key=lambda row: hashlib.blake2b(b"%d/%d" % row, digest_size=8).digest())
        self.labels = np.array([parts[k].labels[row] for k, row in self._rows], dtype=np.int64)
        self.num_classes = max(part.num_classes for part in parts)

    def source(self, index: int) -> tuple[BytesIO, str]:
        k, row = self._rows[index]
        part = self._parts[k]
        start = int(part.ends[row - 1]) if row else 0
        try:
            with part.packed.open("rb") as file:
                file.seek(start)
                blob = file.read(int(part.ends[row]) - start)
        except OSError as error:
            raise DatasetError(f"cannot read {str(part.packed)!r}: {error.strerror or error}") from error
        return BytesIO(blob), f"of row {row} of {str(part.path)!r}"

    def digest(self) -> str:
        said = "\n".join(f"{part.sha256} {part.column}" for part in self._parts)
        return hashlib.sha256(f"parquet 1\n{said}".encode()).hexdigest()


def parquet_split(files: Sequence[Path], label: str | None, cache: Path) -> ParquetSplit:
    """The images of the files. label: the column of labels; None: the first there is of LABEL_COLUMNS, else none.

    Raises DatasetError: pyarrow is not installed, no parquet file, no column of images, none of that label, no rows.
    """
    split = ParquetSplit([_part(file, label, cache) for file in files])
    if not len(split.labels):
        raise DatasetError(f"there is no row in {', '.join(repr(str(file)) for file in files)}")
    return split


def _part(path: Path, label: str | None, cache: Path) -> _Part:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"{str(path)!r} is a parquet file; reading it needs the package pyarrow. "
            "Type pip install 'preimage[parquet]'"
        ) from error
    sha256 = hash_file(path, cache)
    try:
        with ParquetFile(path) as file:
            column = _image_column(file, path)
            labels, num_classes = _labels(file, path, label)
            packed, ends = _packed(file, column, path, cache / "images" / f"{sha256[:40]}-{column.partition('.')[0]}")
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"cannot read {str(path)!r}: {type(error).__name__}: {error}. Fetch it again") from error
    return _Part(path, sha256, column, packed, ends, labels, num_classes)


def _image_column(file: ParquetFile, path: Path) -> str:
    """The column of encoded images: bytes, or a record with a field ``bytes``, as the Hub writes them."""
    from pyarrow import types

    schema = file.schema_arrow

    def leaf(name: str) -> str | None:
        kind = schema.field(name).type
        if types.is_struct(kind) and "bytes" in {kind.field(k).name for k in range(kind.num_fields)}:
            return f"{name}.bytes"
        return name if types.is_binary(kind) or types.is_large_binary(kind) else None

    known = [name for name in IMAGE_COLUMNS if name in schema.names]
    for name in (*known, *schema.names):
        if (found := leaf(name)) is not None:
            return found
    raise DatasetError(
        f"{str(path)!r} has no column of encoded images: it has "
        f"{', '.join(f'{name} ({schema.field(name).type})' for name in schema.names)}"
    )


def _labels(file: ParquetFile, path: Path, label: str | None) -> tuple[NDArray[np.int64], int]:
    """Labels, -1 where there is none, and how many classes there are: as the Hub's notes say, else as are seen."""
    from pyarrow import types

    schema = file.schema_arrow
    names = (label,) if label is not None else LABEL_COLUMNS
    name = next((n for n in names if n in schema.names and types.is_integer(schema.field(n).type)), None)
    if name is None:
        if label is not None:
            whole = [n for n in schema.names if types.is_integer(schema.field(n).type)]
            raise DatasetError(
                f"{str(path)!r} has no column {label!r} of whole numbers; it has {', '.join(whole) or 'none at all'}"
            )
        return np.full(file.metadata.num_rows, -1, dtype=np.int64), 0
    values = file.read([name]).column(0).fill_null(-1).to_numpy().astype(np.int64)
    if values.min(initial=-1) < -1:
        raise DatasetError(f"{str(path)!r}: label {values.min()} seen in {name!r}; labels are 0, 1, ... (-1: none)")
    try:
        noted: Any = json.loads((schema.metadata or {})[b"huggingface"])
        named = len(noted["info"]["features"][name]["names"])
    except (KeyError, TypeError, ValueError):  # no such notes, or in another form
        named = 0
    return values, max(named, int(values.max(initial=-1)) + 1)


def _packed(file: ParquetFile, column: str, path: Path, packed: Path) -> tuple[Path, NDArray[np.int64]]:
    """The file of all images' bytes, one after another, and where each ends; written when it is first needed."""
    ends_file = packed.with_name(packed.name + ".npy")
    if ends_file.is_file() and packed.is_file():
        ends: NDArray[np.int64] = np.load(ends_file)
        if packed.stat().st_size == (int(ends[-1]) if len(ends) else 0):
            return packed, ends
    try:
        packed.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=packed.parent, prefix=".") as folder:
            draft = Path(folder) / "images"
            with draft.open("wb") as target:
                sizes = [target.write(blob) for blob in _blobs(file, column, path)]
            ends = np.cumsum(sizes, dtype=np.int64)
            np.save(Path(folder) / "ends.npy", ends)
            draft.replace(packed)
            (Path(folder) / "ends.npy").replace(ends_file)
    except OSError as error:
        raise DatasetError(
            f"the images of {str(path)!r} cannot be laid out in {str(packed.parent)!r}: {error.strerror or error}. "
            "Free the space"
        ) from error
    return packed, ends


def _blobs(file: ParquetFile, column: str, path: Path) -> Iterator[bytes]:
    name, _, inner = column.partition(".")
    row = 0
    for batch in file.iter_batches(_ROWS, columns=[column]):
        images = batch.column(0)
        for value in (images.field(inner) if inner else images).to_pylist():
            if value is None:
                raise DatasetError(f"{str(path)!r}, row {row}: {name!r} has no bytes; the image lies elsewhere")
            yield value
            row += 1
