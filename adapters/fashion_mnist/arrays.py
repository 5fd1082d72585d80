"""The shipped Fashion-MNIST images, from the .npz beside this file that ``make.py`` makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from preimage.harness.datasets import ArrayDataset

FILE = Path(__file__).with_name("fashion-mnist.npz")
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def read_split(split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [n, 28, 28] and labels [n] of ``train`` (8,192) or ``test`` (1,024), in stored order."""
    with np.load(FILE) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"]


def read_indices(split: str) -> NDArray[np.int32]:
    """For each image of the split, its index in the original idx file, [n]."""
    with np.load(FILE) as arrays:
        indices: NDArray[np.int32] = arrays[f"{split}_indices"]
        return indices


def open_dataset() -> ArrayDataset:
    """The data set ``fashion-mnist``: splits ``train`` and ``test``, ten classes named by `CLASSES`."""
    from preimage.harness.datasets import ArrayDataset

    splits = {split: read_split(split) for split in ("train", "test")}
    return ArrayDataset("fashion-mnist", splits, num_classes=len(CLASSES))
