"""Data sets made from others: resized to another shape, or inverted. Their names are in ``derived_names.py``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import Dataset
from preimage.harness.derived_names import INVERTED

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in a grey level, ITU-R 601."""


@runtime_checkable
class AnyShape(Protocol):
    """A data set that can be made in any shape, so that its images are drawn in it and not resized."""

    def at(self, image: ImageSpec) -> Dataset:
        """The same images in another shape."""
        ...


def in_shape(source: Dataset, image: ImageSpec) -> Dataset:
    """The data set in another shape: drawn in it where it can be, resized where not."""
    if source.image == image:
        return source
    return source.at(image) if isinstance(source, AnyShape) else Resized(source, image)


class _Derived:
    """Another data set's images, changed; labels, splits and order are its own."""

    def __init__(self, source: Dataset, name: str, image: ImageSpec) -> None:
        self.name = name
        self.image = image
        self.num_classes = source.num_classes
        self._source = source

    @property
    def splits(self) -> Sequence[str]:
        return self._source.splits

    def size(self, split: str) -> int:
        return self._source.size(split)


class Resized(_Derived):
    """A data set's images in another shape; labels, splits and order are its own.

    Bilinear, antialiased where the images become smaller, aspect not kept. One channel is repeated into three; three
    become one by luminance, ``0.299 R + 0.587 G + 0.114 B`` (ITU-R 601).
    """

    version = 1

    def __init__(self, source: Dataset, image: ImageSpec) -> None:
        super().__init__(source, f"{source.name}@{image}", image)

    def fingerprint(self, split: str) -> str:
        """A hash of the source's fingerprint and of how its images are resized."""
        return _derived_fingerprint(self._source, split, f"resized bilinear antialiased {self.version} {self.image}")

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        images, labels = self._source.read(split, indices)
        return resized(images, self.image), labels


class Inverted(_Derived):
    """A data set with every pixel x replaced by ``1 - x``; labels, splits and order are its own."""

    version = 1

    def __init__(self, source: Dataset) -> None:
        super().__init__(source, INVERTED + source.name, source.image)

    def fingerprint(self, split: str) -> str:
        """A hash of the source's fingerprint and of the inversion."""
        return _derived_fingerprint(self._source, split, f"inverted {self.version}")

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        images, labels = self._source.read(split, indices)
        return 1 - images, labels

    def at(self, image: ImageSpec) -> Dataset:
        """The source in another shape, inverted."""
        return Inverted(in_shape(self._source, image))


def resized(images: Tensor, image: ImageSpec) -> Tensor:
    """Images [n, c, h, w] in [0, 1] in another shape, see ``Resized``."""
    if image.channels == 1 and images.shape[1] == 3:
        images = (images * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if images.shape[2:] != image[1:] and len(images):
        images = torch.nn.functional.interpolate(
            images, (image.height, image.width), mode="bilinear", align_corners=False, antialias=True
        )
    elif not len(images):
        images = images.new_empty((0, images.shape[1], image.height, image.width))
    return images.expand(-1, image.channels, -1, -1).clamp(0, 1).contiguous()


def _derived_fingerprint(source: Dataset, split: str, how: str) -> str:
    return hashlib.sha256(f"{how}\n{source.fingerprint(split)}".encode()).hexdigest()
