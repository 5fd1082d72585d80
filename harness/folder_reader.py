"""Folders of image files as a data set: a folder per split, a folder per class."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import known_indices, known_split, to_float
from preimage.harness.errors import DatasetError
from preimage.harness.file_hashes import default_cache, hash_files

Resize: TypeAlias = Literal["none", "box", "bilinear", "bicubic", "lanczos"]
Crop: TypeAlias = Literal["center", "none"]

SPLITS = ("train", "val", "test")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")

_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


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
        self.image = _spec_of(self._folders[first] / self._paths[first][0]) if image is None else image
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
            images[k] = self._pixels(self._folders[split] / self._paths[split][index])
        return to_float(images), torch.from_numpy(self._labels[split][chosen])

    def _pixels(self, file: Path) -> NDArray[np.uint8]:
        channels, height, width = self.image
        try:
            with Image.open(file) as opened:
                image = _converted(opened, channels, file)
        except DatasetError:
            raise
        except Exception as error:  # Pillow's decoders raise anything at all on a broken file
            raise _unreadable(file, error) from error
        if image.size != (width, height):
            if self._resize == "none":
                raise DatasetError(
                    f"{str(file)!r} is {image.height}x{image.width}, data set {self.name!r} is "
                    f"{height}x{width}. Give the size and resize='bilinear', or leave the image out"
                )
            image = _fitted(image, height, width, _FILTERS[self._resize], self._crop)
        return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


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


def _spec_of(file: Path) -> ImageSpec:
    try:
        with Image.open(file) as opened:
            grey = opened.mode in ("1", "L", "LA", "La") or opened.mode.startswith("I;16")
            return ImageSpec(1 if grey else 3, opened.height, opened.width)
    except Exception as error:  # as above
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DatasetError:
    return DatasetError(f"cannot read the image {str(file)!r}: {type(error).__name__}: {error}. Repair it or remove it")


def _converted(image: Image.Image, channels: int, file: Path) -> Image.Image:
    """8-bit RGB (3 channels) or luma (1)."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise DatasetError(
            f"{str(file)!r} has pixels of mode {image.mode} (32 bits), whose range is unknown; save it "
            "with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert(mode)


def _fitted(image: Image.Image, height: int, width: int, resample: Image.Resampling, crop: Crop) -> Image.Image:
    if crop == "none":
        return image.resize((width, height), resample)
    if image.width * height <= image.height * width:  # the width is the tighter side
        size = (width, max(height, math.floor(width * image.height / image.width)))
    else:
        size = (max(width, math.floor(height * image.width / image.height)), height)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.resize(size, resample).crop((left, top, left + width, top + height))
