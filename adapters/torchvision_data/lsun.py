"""LSUN scenes (Yu et al. 2015), read one by one from their LMDB databases. Nothing downloads them.

The databases are read directly: torchvision's reader leaves a pickle of the keys in the folder where one happens to be.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from preimage.adapters.torchvision_data import SCENES
from preimage.adapters.torchvision_data.fetching import data_root
from preimage.harness.cards import ImageSpec
from preimage.harness.encoded_images import Cut, EncodedDataset
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache, hash_file

if TYPE_CHECKING:
    import lmdb

SPLITS = {"train": "train", "test": "val"}
"""Ours and theirs: their own test set has no classes."""


class Database:
    """The images of an LMDB database in the order of their keys, which are hashes: classes and sources are mixed."""

    def __init__(self, environment: lmdb.Environment, folder: Path, cache: Path) -> None:
        self._environment, self._folder, self._cache = environment, folder, cache
        with environment.begin() as transaction:
            self._keys = list(transaction.cursor().iternext(keys=True, values=False))
        self.labels = np.full(len(self._keys), -1, dtype=np.int64)

    def source(self, index: int) -> tuple[BytesIO, str]:
        key = self._keys[index]
        with self._environment.begin() as transaction:
            return BytesIO(transaction.get(key) or b""), f"{key.decode('ascii', 'replace')!r} of {str(self._folder)!r}"

    def digest(self) -> str:
        return hash_file(self._folder / "data.mdb", self._cache)


def open_dataset(name: str, *, root: Path | None = None, cache: Path | None = None) -> EncodedDataset:
    """The data set ``lsun-NAME``, of the splits that are there.

    Raises DatasetError: no database (it says what to fetch), lmdb is not installed, not a database.
    """
    root = (data_root() if root is None else root) / "lsun"
    cache = default_cache() if cache is None else cache
    scene = SCENES[name]
    folders = {split: root / f"{scene}_{theirs}_lmdb" for split, theirs in SPLITS.items()}
    found = {split: folder for split, folder in folders.items() if (folder / "data.mdb").is_file()}
    if not found:
        raise DatasetError(
            f"data set 'lsun-{name}' is not in {str(root)!r}, and cannot be downloaded for you. Fetch it with the "
            f"authors' script (github.com/fyu/lsun: python download.py -c {scene}) and unzip it, so that there are "
            f"{' and '.join(repr(str(folder / 'data.mdb')) for folder in folders.values())}; PREIMAGE_DATA names "
            "another folder"
        )
    splits = {split: _database(folder, cache) for split, folder in found.items()}
    return EncodedDataset(f"lsun-{name}", splits, 0, Cut(ImageSpec(3, 64, 64)))


def _database(folder: Path, cache: Path) -> Database:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"{str(folder)!r} is an LMDB database; reading it needs the package lmdb. Type pip install 'preimage[lsun]'"
        ) from error
    try:
        database = Database(_environment(str(folder)), folder, cache)
    except lmdb.Error as error:
        raise DatasetError(f"{str(folder)!r} is no LMDB database: {error}. Fetch it again") from error
    if not len(database.labels):
        raise DatasetError(f"the LMDB database {str(folder)!r} is empty. Fetch it again")
    return database


@lru_cache
def _environment(folder: str) -> lmdb.Environment:
    """The database, opened once: LMDB allows no second time in a process."""
    import lmdb

    return lmdb.open(folder, readonly=True, lock=False, readahead=False, max_readers=1)
