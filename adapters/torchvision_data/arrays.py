"""CIFAR-10 and SVHN, which torchvision checks by md5 and reads whole: a split is read when it is first needed.

Krizhevsky 2009; Netzer et al. 2011.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preimage.adapters.torchvision_data.fetching import data_root, fetched
from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import known_indices, known_split, to_float
from preimage.harness.file_hashes import default_cache, hash_files

Arrays: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images [n, 3, 32, 32] and labels [n]."""

SPLITS = ("train", "test")


class WholeArrays:
    """A data set whose splits are read whole, each when it is first needed. Its fingerprint is of the files."""

    image = ImageSpec(3, 32, 32)
    num_classes = 10
    splits: Sequence[str] = SPLITS

    def __init__(
        self, name: str, load: Callable[[str], Arrays], files: Mapping[str, Sequence[Path]], cache: Path | None = None
    ) -> None:
        self.name = name
        self._load = load
        self._files = files
        self._cache = default_cache() if cache is None else cache
        self._arrays: dict[str, Arrays] = {}
        self._fingerprints: dict[str, str] = {}

    def size(self, split: str) -> int:
        return len(self._split(split)[1])

    def fingerprint(self, split: str) -> str:
        """A hash of the split's files."""
        split = known_split(self, split)
        if split not in self._fingerprints:
            self._split(split)  # the files are there, and whole
            hashes = [sha256 for _, sha256 in hash_files(self._files[split], self._cache)]
            self._fingerprints[split] = hashlib.sha256("\n".join([f"{self.name} 1", *hashes]).encode()).hexdigest()
        return self._fingerprints[split]

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        images, labels = self._split(split)
        chosen = known_indices(self, split, indices)
        return to_float(images[chosen]), torch.from_numpy(labels[chosen])

    def _split(self, split: str) -> Arrays:
        split = known_split(self, split)
        if split not in self._arrays:
            self._arrays[split] = self._load(split)
        return self._arrays[split]


def cifar10(*, offline: bool = False, root: Path | None = None) -> WholeArrays:
    """The data set ``cifar10``."""
    from torchvision.datasets import CIFAR10

    folder = data_root() if root is None else root

    def load(split: str) -> Arrays:
        def make(download: bool) -> Arrays:
            whole = CIFAR10(folder, train=split == "train", download=download)
            return np.ascontiguousarray(whole.data.transpose(0, 3, 1, 2)), np.array(whole.targets, dtype=np.int64)

        by_hand = f"the contents of {CIFAR10.filename} into {str(folder)!r}"
        return fetched("cifar10", make, root=folder, offline=offline, by_hand=by_hand)

    batches = {"train": CIFAR10.train_list, "test": CIFAR10.test_list}
    files = {split: [folder / CIFAR10.base_folder / file for file, _ in batches[split]] for split in SPLITS}
    return WholeArrays("cifar10", load, files)


def svhn(*, offline: bool = False, root: Path | None = None) -> WholeArrays:
    """The data set ``svhn``: cropped digits; label k is the digit k."""
    from torchvision.datasets import SVHN

    folder = (data_root() if root is None else root) / "svhn"

    def load(split: str) -> Arrays:
        def make(download: bool) -> Arrays:
            whole = SVHN(folder, split=split, download=download)
            return np.ascontiguousarray(whole.data), np.asarray(whole.labels, dtype=np.int64)

        by_hand = f"{SVHN.split_list[split][1]} into {str(folder)!r}"
        return fetched("svhn", make, root=folder, offline=offline, by_hand=by_hand)

    return WholeArrays("svhn", load, {split: [folder / SVHN.split_list[split][1]] for split in SPLITS})
