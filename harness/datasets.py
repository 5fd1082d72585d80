"""Data sets: images in [0, 1] with labels, by split and index. Readers of files are in ``readers.py``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import DatasetError


@runtime_checkable
class Dataset(Protocol):
    """Images by split and index. Label -1 means that an image has none."""

    @property
    def name(self) -> str: ...
    @property
    def image(self) -> ImageSpec: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def splits(self) -> Sequence[str]: ...

    def size(self, split: str) -> int:
        """How many images the split has."""
        ...

    def fingerprint(self, split: str) -> str:
        """A hash of the split's content (of its manifest where it is large): another content, another hash."""
        ...

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images [n, c, h, w] float32 in [0, 1] and labels [n] int64."""
        ...


class ArrayDataset:
    """A data set from arrays: ``ArrayDataset(name, {"train": (images, labels), "test": ...})``. Order is kept.

    images: [n, c, h, w] (or [n, h, w] for one channel), float in [0, 1] or uint8. labels: [n] whole numbers, or None.
    Raises DatasetError for another range, shape or number of labels.
    """

    def __init__(
        self, name: str, splits: Mapping[str, tuple[ArrayLike, ArrayLike | None]], *, num_classes: int | None = None
    ) -> None:
        if not splits:
            raise DatasetError(f"data set {name!r} has no split; give at least {{'test': (images, labels)}}")
        self.name = name
        self._images = {split: _checked_images(f"{name}/{split}", images) for split, (images, _) in splits.items()}
        self._labels = {
            split: _checked_labels(f"{name}/{split}", labels, len(self._images[split]))
            for split, (_, labels) in splits.items()
        }
        shapes = {array.shape[1:] for array in self._images.values()}
        if len(shapes) != 1:
            raise DatasetError(f"data set {name!r}: its splits have images of different shapes: {sorted(shapes)}")
        channels, height, width = shapes.pop()
        self.image = ImageSpec(int(channels), int(height), int(width))
        seen = max((int(labels.max(initial=-1)) for labels in self._labels.values()), default=-1) + 1
        self.num_classes = seen if num_classes is None else num_classes
        if seen > self.num_classes:
            raise DatasetError(f"data set {name!r}: label {seen - 1} seen, but num_classes is {self.num_classes}")
        self._fingerprints: dict[str, str] = {}

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._images)

    def size(self, split: str) -> int:
        return len(self._images[known_split(self, split)])

    def fingerprint(self, split: str) -> str:
        split = known_split(self, split)
        if split not in self._fingerprints:
            images, labels = self._images[split], self._labels[split]
            digest = hashlib.sha256(f"{images.dtype}{images.shape}".encode())
            digest.update(np.ascontiguousarray(images).data)
            digest.update(np.ascontiguousarray(labels).data)
            self._fingerprints[split] = digest.hexdigest()
        return self._fingerprints[split]

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        split = known_split(self, split)
        chosen = known_indices(self, split, indices)
        return to_float(self._images[split][chosen]), torch.from_numpy(self._labels[split][chosen])


def known_split(dataset: Dataset, split: str) -> str:
    """The split's name; ``val`` is ``test`` where a set has none. Raises DatasetError that lists the splits."""
    if split == "val" and "val" not in dataset.splits and "test" in dataset.splits:
        return "test"
    if split not in dataset.splits:
        raise DatasetError(f"data set {dataset.name!r} has no split {split!r}; it has {', '.join(dataset.splits)}")
    return split


def known_indices(dataset: Dataset, split: str, indices: Sequence[int]) -> NDArray[np.int64]:
    """The indices as an array. Raises DatasetError for one outside the split."""
    size = dataset.size(known_split(dataset, split))
    chosen = np.asarray(indices, dtype=np.int64)
    outside = chosen[(chosen < 0) | (chosen >= size)]
    if outside.size:
        raise DatasetError(f"data set {dataset.name!r}, split {split!r}: image {int(outside[0])} asked, it has {size}")
    return chosen


def to_float(images: NDArray[np.generic]) -> Tensor:
    """uint8 or float images as float32 in [0, 1]; uint8 levels are divided by 255."""
    if images.dtype == np.uint8:
        return torch.from_numpy(images.astype(np.float32) / np.float32(255.0))
    return torch.from_numpy(images.astype(np.float32))


def check_pixels(images: Tensor, spec: ImageSpec, what: str) -> Tensor:
    """The images, if they are what a data set promises: shape, float32, finite, in [0, 1]. Raises DatasetError."""
    if tuple(images.shape[1:]) != tuple(spec) or images.dtype != torch.float32:
        raise DatasetError(
            f"{what}: images are {tuple(images.shape[1:])} {images.dtype}; the data set says {spec} torch.float32"
        )
    if images.numel() and not bool(torch.isfinite(images).all()):
        raise DatasetError(f"{what}: some pixels are not finite")
    low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 1.0)
    if low < 0 or high > 1:
        raise DatasetError(
            f"{what}: pixels range over [{low:.4g}, {high:.4g}]; images are in [0, 1]: divide uint8 levels by "
            "255, or map [-1, 1] by (x + 1) / 2"
        )
    return images


def _checked_images(what: str, images: ArrayLike) -> NDArray[np.generic]:
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DatasetError(
            f"{what}: images have shape {array.shape}; give [n, channels, height, width] with 1 or 3 channels"
        )
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise DatasetError(f"{what}: images are {array.dtype}; give floats in [0, 1] or uint8")
        spec = ImageSpec(*(int(side) for side in array.shape[1:]))
        check_pixels(torch.from_numpy(array.astype(np.float32)), spec, what)
    return array


def _checked_labels(what: str, labels: ArrayLike | None, count: int) -> NDArray[np.int64]:
    if labels is None:
        return np.full(count, -1, dtype=np.int64)
    array = np.asarray(labels)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DatasetError(f"{what}: labels are {array.dtype} of shape {array.shape}; give {count} whole numbers")
    if array.size and array.min() < -1:
        raise DatasetError(f"{what}: label {int(array.min())} seen; labels are 0, 1, ... (-1: none)")
    return array.astype(np.int64)
