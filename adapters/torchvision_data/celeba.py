"""CelebA, aligned and cropped faces (Liu, Luo, Wang and Tang, ICCV 2015), read one by one from its folder of JPEGs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preimage.adapters.torchvision_data.fetching import data_root, fetched
from preimage.harness.cards import ImageSpec
from preimage.harness.encoded_images import Cut, EncodedDataset
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache, hash_files

PARTITION = "list_eval_partition.txt"
IMAGES = "img_align_celeba"
SPLITS = ("train", "val", "test")
"""By their numbers in the list of the partition."""


class Files:
    """Files of a folder, in the order given, without labels."""

    def __init__(self, folder: Path, names: Sequence[str], cache: Path) -> None:
        self._folder, self._names, self._cache = folder, names, cache
        self.labels = np.full(len(names), -1, dtype=np.int64)

    def source(self, index: int) -> tuple[Path, str]:
        file = self._folder / self._names[index]
        return file, repr(str(file))

    def digest(self) -> str:
        digest = hashlib.sha256()
        for name, (_, sha256) in zip(
            self._names, hash_files((self._folder / name for name in self._names), self._cache), strict=True
        ):
            digest.update(f"{name}\0{sha256}\n".encode())
        return digest.hexdigest()


def open_dataset(*, offline: bool = False, root: Path | None = None, cache: Path | None = None) -> EncodedDataset:
    """The data set ``celeba``, in the order of the list of its partition."""
    root = data_root() if root is None else root
    folder = root / "celeba"

    def make(download: bool) -> None:
        if download:
            from torchvision.datasets import CelebA

            CelebA(root, split="all", download=True)
        for needed in (folder / PARTITION, folder / IMAGES):
            if not needed.exists():
                raise RuntimeError(f"{needed.name} not found")

    by_hand = f"{PARTITION} and the folder {IMAGES} into {str(folder)!r}"
    fetched("celeba", make, root=root, offline=offline, by_hand=by_hand)
    splits = {
        split: Files(folder / IMAGES, names, default_cache() if cache is None else cache)
        for split, names in _partition(folder / PARTITION).items()
    }
    return EncodedDataset("celeba", splits, 0, Cut(ImageSpec(3, 64, 64)))


def _partition(file: Path) -> dict[str, list[str]]:
    """The files of each split; a split without any is left out."""
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, line in enumerate(file.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        match line.split():
            case [name, ("0" | "1" | "2") as split]:
                names[SPLITS[int(split)]].append(name)
            case _:
                raise DatasetError(
                    f"{str(file)!r}, line {number}: {line[:80]!r} is no file name with 0, 1 or 2. Fetch the file again"
                )
    if not any(names.values()):
        raise DatasetError(f"{str(file)!r} is empty. Fetch the file again")
    return {split: found for split, found in names.items() if found}
