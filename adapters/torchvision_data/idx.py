"""MNIST and Fashion-MNIST, from the idx files that torchvision fetches, mapped into memory.

LeCun, Bottou, Bengio and Haffner 1998; Xiao, Rasul and Vollgraf 2017.
"""

from __future__ import annotations

from pathlib import Path

from preimage.adapters.torchvision_data.fetching import data_root, fetched
from preimage.harness.readers import IdxDataset

STEMS = {"train": "train", "test": "t10k"}


def mnist(*, offline: bool = False, root: Path | None = None) -> IdxDataset:
    """The data set ``mnist``."""
    return _opened("mnist", "MNIST", data_root() if root is None else root, offline)


def fashion_mnist(*, offline: bool = False, root: Path | None = None) -> IdxDataset:
    """The data set ``fashion-mnist-full``."""
    return _opened("fashion-mnist-full", "FashionMNIST", data_root() if root is None else root, offline)


def _opened(name: str, folder: str, root: Path, offline: bool) -> IdxDataset:
    raw = root / folder / "raw"
    files = {
        split: (raw / f"{stem}-images-idx3-ubyte", raw / f"{stem}-labels-idx1-ubyte") for split, stem in STEMS.items()
    }
    missing = [file for pair in files.values() for file in pair if not file.is_file()]

    def make(download: bool) -> None:
        if download:
            import torchvision

            getattr(torchvision.datasets, folder)(root, download=True)
        elif missing:
            raise RuntimeError(f"{missing[0].name} not found")

    by_hand = f"{', '.join(file.name for pair in files.values() for file in pair)} into {str(raw)!r}"
    fetched(name, make, root=root, offline=offline, by_hand=by_hand)
    return IdxDataset(name, files, num_classes=10)
