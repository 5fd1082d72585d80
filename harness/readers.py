"""Readers of a user's own data: .npz and idx files, and what ``-d PATH`` means. Folders are in ``folder_reader.py``."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import Dataset, check_pixels, known_indices, known_split, to_float
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache, hash_file
from preimage.harness.folder_reader import SPLITS, holds_images
from preimage.harness.folder_reader import FolderDataset as FolderDataset
from preimage.harness.image_files import Crop, Resize
from preimage.harness.stored_arrays import StoredArray, idx_array, npz_arrays

NpzSource: TypeAlias = str | Path | tuple[str | Path, str] | tuple[str | Path, str, str | None]
"""A file; or the file and the name of its images; or these and the name of its labels (None: no labels)."""

IMAGE_KEYS = ("{split}_images", "{split}_x", "images_{split}", "x_{split}", "images", "x", "data", "arr_0")
LABEL_KEYS = ("{split}_labels", "{split}_y", "labels_{split}", "y_{split}", "labels", "y", "targets", "arr_1")

_IDX_NAME = re.compile(r"(?P<split>train|test|val|t10k)-images(?P<point>[-.])idx\d-ubyte(\.gz)?")


@dataclass(frozen=True)
class _Split:
    images: StoredArray
    labels: NDArray[np.int64]
    label_source: StoredArray | None
    spec: ImageSpec
    channels_last: bool


class _ArrayFiles:
    """A data set whose splits are stored arrays. Order is kept; images are read from disk when they are asked for."""

    def __init__(
        self,
        name: str,
        splits: Mapping[str, tuple[StoredArray, StoredArray | None]],
        num_classes: int | None,
        cache: Path | None,
    ) -> None:
        if not splits:
            raise DatasetError(f"data set {name!r} has no split; give at least 'test' and its file")
        self.name = name
        self._cache = default_cache() if cache is None else Path(cache)
        self._splits = {split: _described(images, labels) for split, (images, labels) in splits.items()}
        self._opened: dict[str, NDArray[Any]] = {}
        self._fingerprints: dict[str, str] = {}
        specs = {split: part.spec for split, part in self._splits.items()}
        if len(set(specs.values())) != 1:
            said = ", ".join(f"{split} {spec}" for split, spec in specs.items())
            raise DatasetError(f"data set {name!r}: its splits have images of different shapes: {said}")
        self.image = next(iter(specs.values()))
        seen = max(int(part.labels.max(initial=-1)) for part in self._splits.values()) + 1
        self.num_classes = seen if num_classes is None else num_classes
        if seen > self.num_classes:
            raise DatasetError(f"data set {name!r}: label {seen - 1} seen, but num_classes is {self.num_classes}")

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._splits)

    def size(self, split: str) -> int:
        return self._splits[known_split(self, split)].images.shape[0]

    def fingerprint(self, split: str) -> str:
        """A hash of the split's files (sha256, remembered by size and times) and of which arrays of them are read."""
        split = known_split(self, split)
        if split not in self._fingerprints:
            self._fingerprints[split] = self._hashed(self._splits[split])
        return self._fingerprints[split]

    def _hashed(self, part: _Split) -> str:
        digest = hashlib.sha256(b"stored arrays 1")
        for source in (part.images, part.label_source):
            told = "none" if source is None else f"{hash_file(source.path, self._cache)}\0{source.member}"
            digest.update(f"\n{told}".encode())
        return digest.hexdigest()

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See ``Dataset``. Raises DatasetError for an index outside the split and for pixels outside [0, 1]."""
        split = known_split(self, split)
        chosen = known_indices(self, split, indices)
        part = self._splits[split]
        if split not in self._opened:
            self._opened[split] = part.images.open(self._cache)
        values = np.array(self._opened[split][chosen])
        if values.ndim == 3:
            values = values[:, None]
        images = to_float(values.transpose(0, 3, 1, 2) if part.channels_last else values).contiguous()
        return check_pixels(images, self.image, str(part.images)), torch.from_numpy(part.labels[chosen])

    def __getstate__(self) -> dict[str, object]:
        return {
            **self.__dict__,
            "_opened": {},
            "_fingerprints": {},
        }  # else a map is pickled as all its values


class NpzDataset(_ArrayFiles):
    """A data set in .npz files: ``NpzDataset(name, {"train": "train.npz", "test": ("all.npz", "faces", "ids")})``.

    Images: float in [0, 1] or uint8, [n, h, w], [n, c, h, w] or [n, h, w, c] with 1 or 3 channels (where both could be
    meant: [n, c, h, w]). Labels: whole numbers, [n] or [n, 1]. Where no name is given, the images of split ``train``
    are the first there is of ``train_images``, ``train_x``, ``images_train``, ``x_train``, ``images``, ``x``, ``data``,
    ``arr_0``; labels likewise (``labels``, ``y``, ``targets``, ``arr_1``), so one file may hold all splits. Order is
    kept.

    Arrays saved by ``np.savez`` are mapped into memory where they lie; those of ``np.savez_compressed`` are
    decompressed once into ``cache`` (default ``~/.cache/preimage``) when first read. Nothing is ever unpickled.
    num_classes: the largest label + 1 unless given. Raises DatasetError.
    """

    def __init__(
        self, name: str, splits: Mapping[str, NpzSource], *, num_classes: int | None = None, cache: Path | None = None
    ) -> None:
        arrays = {split: _npz_split(split, source) for split, source in splits.items()}
        super().__init__(name, arrays, num_classes, cache)


class IdxDataset(_ArrayFiles):
    """A data set in idx files, plain or gzipped: ``IdxDataset(name, {"train": (images, labels), "test": ...})``.

    labels may be None. Images of bytes or floats in [0, 1], [n, h, w] or as for ``NpzDataset``. Order is kept. Gzipped
    images are decompressed once into ``cache`` (default ``~/.cache/preimage``) when they are first read.
    num_classes: the largest label + 1 unless given. Raises DatasetError.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, tuple[str | Path, str | Path | None]],
        *,
        num_classes: int | None = None,
        cache: Path | None = None,
    ) -> None:
        arrays = {
            split: (idx_array(Path(images)), None if labels is None else idx_array(Path(labels)))
            for split, (images, labels) in splits.items()
        }
        super().__init__(name, arrays, num_classes, cache)


def dataset_from(
    path: str | Path,
    *,
    image: ImageSpec | None = None,
    resize: Resize | None = None,
    crop: Crop = "center",
    cache: Path | None = None,
) -> Dataset:
    """The data set that ``-d PATH`` means: an .npz file, a folder of idx files, or a folder of images.

    It is called by the path's stem. image: the size and channels wanted; None takes them from the data (a folder's
    from its first image). resize, crop: see ``FolderDataset``; by default images are resized where ``image`` is given,
    and must all have one size where it is not. Arrays are never resized. Raises DatasetError that says what was seen.
    """
    path = Path(path).expanduser()
    name = path.resolve().name if path.is_dir() else path.stem
    if path.is_file() and path.suffix.lower() == ".npz":
        return _of_size(NpzDataset(name, dict.fromkeys(_npz_splits(path), path), cache=cache), image)
    if path.is_dir():
        if idx := _idx_splits(path):
            return _of_size(IdxDataset(name, idx, cache=cache), image)
        if holds_images(path):
            rule = resize or ("bilinear" if image else "none")
            return FolderDataset(name, path, image=image, resize=rule, crop=crop, cache=cache)
    raise DatasetError(
        f"{str(path)!r} {_seen(path)}. Give a folder of images (a sub-folder per class, under train/ "
        "and test/ where there are splits), an .npz file, or a folder of idx files"
    )


def _seen(path: Path) -> str:
    if path.is_dir():
        kinds = Counter("folders" if entry.is_dir() else _ending(entry) + " files" for entry in path.iterdir())
        return f"holds no images: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common(5)) or 'it is empty'}"
    if path.exists():
        return f"is a file ({_ending(path)})"
    return "does not exist (for a data set that is installed, give its name: `preimage list datasets`)"


def _ending(path: Path) -> str:
    return path.suffix or "without ending"


def _of_size(dataset: Dataset, image: ImageSpec | None) -> Dataset:
    if image is not None and image != dataset.image:
        raise DatasetError(
            f"data set {dataset.name!r} has images of {dataset.image}; {image} is asked. Arrays are not "
            "resized: save them in that size, or as a folder of images"
        )
    return dataset


def _idx_splits(folder: Path) -> dict[str, tuple[Path, Path | None]]:
    found: dict[str, tuple[Path, Path | None]] = {}
    for file in sorted(folder.iterdir(), reverse=True):  # a plain file comes after its .gz and is preferred
        if match := _IDX_NAME.fullmatch(file.name):
            stem = f"{match['split']}-labels{match['point']}idx1-ubyte"
            labels = [folder / (stem + ending) for ending in ("", ".gz") if (folder / (stem + ending)).is_file()]
            found[match["split"].replace("t10k", "test")] = (file, labels[0] if labels else None)
    return {split: found[split] for split in SPLITS if split in found}


def _npz_splits(path: Path) -> list[str]:
    keys = npz_arrays(path)
    own = [key for key in IMAGE_KEYS if "{split}" in key]
    return [split for split in SPLITS if any(key.format(split=split) in keys for key in own)] or ["test"]


def _npz_split(split: str, source: NpzSource) -> tuple[StoredArray, StoredArray | None]:
    path, *keys = source if isinstance(source, tuple) else (source,)
    arrays = npz_arrays(Path(str(path)))

    def first(names: Sequence[str]) -> StoredArray:
        for name in names:
            if name in arrays:
                return arrays[name]
        raise DatasetError(
            f"{str(path)!r} has no array {' or '.join(names)} for split {split!r}; it has "
            f"{', '.join(arrays) or 'none'}. Give (path, name of images, name of labels or None)"
        )

    images = first([str(keys[0])] if keys else [key.format(split=split) for key in IMAGE_KEYS])
    if len(keys) > 1:
        return images, None if keys[1] is None else first([keys[1]])
    usual = [key.format(split=split) for key in LABEL_KEYS]
    return images, first(usual) if any(key in arrays for key in usual) else None


def _described(images: StoredArray, labels: StoredArray | None) -> _Split:
    shape, dtype = images.shape, images.dtype
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise DatasetError(f"{images}: images are {dtype}; save floats in [0, 1] or uint8")
    if len(shape) == 3:
        spec, last = ImageSpec(1, *shape[1:]), False
    elif len(shape) == 4 and shape[1] in (1, 3):
        spec, last = ImageSpec(*shape[1:]), False
    elif len(shape) == 4 and shape[3] in (1, 3):
        spec, last = ImageSpec(shape[3], *shape[1:3]), True
    else:
        raise DatasetError(
            f"{images}: images have shape {shape}; save [n, height, width], [n, channels, height, "
            "width] or [n, height, width, channels] with 1 or 3 channels"
        )
    if labels is None:
        return _Split(images, np.full(shape[0], -1, dtype=np.int64), None, spec, last)
    count = shape[0]
    if labels.shape not in ((count,), (count, 1)) or not np.issubdtype(labels.dtype, np.integer):
        raise DatasetError(
            f"{labels}: labels are {labels.dtype} of shape {labels.shape}; {count} whole numbers are "
            f"needed, one for each image of {images}"
        )
    values = labels.load().reshape(count).astype(np.int64)
    if values.min(initial=-1) < -1:
        raise DatasetError(f"{labels}: label {int(values.min())} seen; labels are 0, 1, ... (-1: none)")
    return _Split(images, values, labels, spec, last)
