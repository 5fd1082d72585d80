"""Folders of image files as a data set: a folder per split, a folder per class."""

from __future__ import annotations

import copy
import errno
import hashlib
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import known_indices, known_split, to_float
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache, hash_files
from preimage.harness.image_files import Crop, Resize, decoded, natural_shape

SPLITS = ("train", "val", "test")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")


class FolderDataset:
    """A data set in a folder of image files, read one by one as they are asked for.

    root: where it has sub-folders called ``train``, ``val`` or ``test`` (in any case), these are the splits, and no
    other images may lie beside them; else root itself is the one split ``test``. A mapping ``{"train": folder, ...}``
    names the folders outright. A split holds either a sub-folder per class (all images under it, at any depth) or
    images directly, without labels (-1). Classes are the sub-folders' names, over all splits, sorted as text ("10"
    before "2"): label k is ``classes[k]``. Hidden files and folders, files that are no images (by their ending), and
    links to a folder that contains them are skipped; other links are followed.

    Order: by the BLAKE2b hash of the path below the split's folder. So it is a permutation fixed by the names alone,
    the first N are a fair sample of all classes, and adding images leaves the others in the order they had.

    image: channels and size; None takes those of the first image. Pixels become RGB (3 channels) or luma (1; ITU-R
    601); what is transparent is laid over white, 16-bit levels are rounded to 8, orientation tags and colour profiles
    are ignored. resize, crop: an image of another size is resized by Pillow's filter, which is antialiased, its aspect
    kept, to the smallest size that covers the wanted one (the shorter side becomes the wanted size), then the centre is
    cut out. ``crop="none"`` resizes to the wanted size outright, aspect or not; ``resize="none"`` refuses another size.
    cache: where hashes of files are remembered; default ``~/.cache/preimage``.
    Raises DatasetError: no folder, no images, a mixed folder, a file that cannot be read (named), another size.
    """

    def __init__(
        self,
        name: str,
        root: str | Path | Mapping[str, str | Path],
        *,
        image: ImageSpec | None = None,
        resize: Resize = "bilinear",
        crop: Crop = "center",
        cache: Path | None = None,
    ) -> None:
        for option, value, known in (("resize", resize, get_args(Resize)), ("crop", crop, get_args(Crop))):
            if value not in known:
                raise DatasetError(f"data set {name!r}: {option}={value!r} is unknown; give one of {', '.join(known)}")
        self.name = name
        self._resize, self._crop = resize, crop
        self._cache = default_cache() if cache is None else Path(cache)
        folders = root.items() if isinstance(root, Mapping) else _split_folders(Path(root)).items()
        self._folders = {split: Path(folder) for split, folder in folders}
        self._paths = {split: _in_order(split, folder) for split, folder in self._folders.items()}
        if not self._paths:
            raise DatasetError(f"data set {name!r} has no split; give at least {{'test': folder}}")
        self.classes = tuple(sorted({_class_of(path) for paths in self._paths.values() for path in paths} - {""}))
        self.num_classes = len(self.classes)
        number = {"": -1} | {name: k for k, name in enumerate(self.classes)}
        self._labels = {
            split: np.array([number[_class_of(path)] for path in paths], dtype=np.int64)
            for split, paths in self._paths.items()
        }
        first = next(iter(self._paths))
        file = self._folders[first] / self._paths[first][0]
        self.image = natural_shape(file, repr(str(file))) if image is None else image
        if self.image.channels not in (1, 3):
            raise DatasetError(f"data set {name!r}: images have 1 or 3 channels, not {self.image.channels}")
        self._fingerprints: dict[str, str] = {}

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._paths)

    def size(self, split: str) -> int:
        return len(self._paths[known_split(self, split)])

    def fingerprint(self, split: str) -> str:
        """A hash of path, label, size and sha256 of every file, in order, and of how they are made into images.

        Reads every file the first time; later only those that changed (see ``file_hashes.py``).
        """
        split = known_split(self, split)
        if split not in self._fingerprints:
            paths, folder = self._paths[split], self._folders[split]
            digest = hashlib.sha256(f"folder 1\n{self.image}\n{self._resize}\n{self._crop}\n".encode())
            hashes = hash_files((folder / path for path in paths), self._cache)
            for path, label, (size, sha256) in zip(paths, self._labels[split].tolist(), hashes, strict=True):
                digest.update(_encoded(path) + f"\0{label}\0{size}\0{sha256}\n".encode())
            self._fingerprints[split] = digest.hexdigest()
        return self._fingerprints[split]

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        split = known_split(self, split)
        chosen = known_indices(self, split, indices)
        images = np.empty((len(chosen), *self.image), dtype=np.uint8)
        for k, index in enumerate(chosen.tolist()):
            file = self._folders[split] / self._paths[split][index]
            images[k] = decoded(file, repr(str(file)), self.image, self._resize, self._crop)
        return to_float(images), torch.from_numpy(self._labels[split][chosen])

    def at(self, image: ImageSpec) -> FolderDataset:
        """The same files in another shape: cut as these are, resized by the same filter (bilinearly where by none)."""
        other = copy.copy(self)
        other.name, other.image, other._fingerprints = f"{self.name}@{image}", image, {}
        other._resize = "bilinear" if self._resize == "none" else self._resize
        return other


def holds_images(folder: Path) -> bool:
    """Whether an image file lies in the folder or anywhere under it."""
    return next(_images_under(folder), None) is not None


def _split_folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise DatasetError(f"there is no folder {str(root)!r}; give a folder of images, or of train/ and test/")
    entries = [entry for entry in sorted(root.iterdir()) if not entry.name.startswith(".")]
    folders = {entry.name.casefold(): entry for entry in entries if entry.is_dir()}
    splits = {split: folders[split] for split in SPLITS if split in folders}
    others = [
        entry.name
        for entry in entries
        if entry not in splits.values() and (holds_images(entry) if entry.is_dir() else _is_image(entry.name))
    ]
    if splits and others:
        raise DatasetError(
            f"{str(root)!r} has the split {' and '.join(splits)}, and images in {', '.join(others[:5])} "
            "beside it: splits or classes? Move them, or name the folders: {'test': folder, ...}"
        )
    return splits or {"test": root}


def _in_order(split: str, folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {str(folder)!r} for split {split!r}")
    paths = sorted(_images_under(folder), key=lambda path: (hashlib.blake2b(_encoded(path)).digest(), path))
    if not paths:
        raise DatasetError(f"the folder {str(folder)!r} of split {split!r} holds no image: no {', '.join(ENDINGS)}")
    direct = next((path for path in paths if "/" not in path), None)
    nested = next((path for path in paths if "/" in path), None)
    if direct is not None and nested is not None:
        raise DatasetError(
            f"{str(folder)!r} holds images ({direct}) and folders of images ({nested}): give every "
            "image a class, or none"
        )
    return paths


def _class_of(path: str) -> str:
    return path.partition("/")[0] if "/" in path else ""


def _encoded(path: str) -> bytes:
    """The same bytes for one name whether its accents were stored composed (Linux) or apart (macOS)."""
    return unicodedata.normalize("NFC", path).encode("utf-8", "surrogateescape")


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(ENDINGS)


def _images_under(folder: Path) -> Iterator[str]:
    """Paths of the images under a folder, relative to it, in no particular order; links are followed."""
    above = {*folder.absolute().parents, *folder.resolve().parents}
    return _walk(folder, "", frozenset(_identity(parent) for parent in above))


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        identity = _identity(folder)
        if identity in above:
            return
        with os.scandir(folder) as entries:
            listed = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"cannot list the folder {str(folder)!r}: {error.strerror or error}") from error
    for entry in listed:
        kind = _kind(entry)
        if kind == "folder":
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", above | {identity})
        elif _is_image(entry.name):
            if kind == "lost":
                raise DatasetError(f"{entry.path!r} is a link that leads nowhere; fetch the image or remove the link")
            if kind == "file":
                yield prefix + entry.name


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "lost", "other"]:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return "lost" if entry.is_symlink() and not Path(entry.path).exists() else "other"
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return "other"
        raise DatasetError(f"cannot read {entry.path!r}: {error.strerror or error}") from error
