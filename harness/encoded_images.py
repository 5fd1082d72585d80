"""A data set of encoded images, wherever their bytes lie: decoded one by one as they are asked for."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import known_indices, known_split, to_float
from preimage.harness.image_files import Crop, Resize, decoded, natural_shape


class EncodedSplit(Protocol):
    """Encoded images (PNG, JPEG, ...) in an order, and their labels, [n] int64 (-1: none)."""

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def source(self, index: int) -> tuple[Path | BytesIO, str]:
        """Where the image is decoded from, and what to call it in errors."""
        ...

    def digest(self) -> str:
        """A hash of all images in their order, without decoding them."""
        ...


class Cut(NamedTuple):
    """How images of any size come to have one; None takes the first image's shape, which all must then have.

    By default the shorter side is resized bilinearly (Pillow, antialiased) and the centre cut out.
    """

    image: ImageSpec | None = None
    resize: Resize = "bilinear"
    crop: Crop = "center"


class EncodedDataset:
    """A data set of encoded images. In another shape they are cut anew from the originals, by the same rule."""

    def __init__(self, name: str, splits: Mapping[str, EncodedSplit], num_classes: int, cut: Cut) -> None:
        self.name = name
        self.num_classes = num_classes
        self._splits = dict(splits)
        self._cut = cut if cut.image is not None else cut._replace(resize="none")
        self.image = natural_shape(*next(iter(self._splits.values())).source(0)) if cut.image is None else cut.image
        self._fingerprints: dict[str, str] = {}

    def at(self, image: ImageSpec) -> EncodedDataset:
        """The same images in another shape."""
        other = copy.copy(self)
        other.name, other.image, other._fingerprints = f"{self.name}@{image}", image, {}
        if self._cut.resize == "none":
            other._cut = self._cut._replace(resize="bilinear")
        return other

    @property
    def splits(self) -> Sequence[str]:
        return tuple(self._splits)

    def size(self, split: str) -> int:
        return len(self._splits[known_split(self, split)].labels)

    def fingerprint(self, split: str) -> str:
        """A hash of the encoded images in their order, of their labels, and of how they are made into images."""
        split = known_split(self, split)
        if split not in self._fingerprints:
            images = self._splits[split]
            how = f"encoded images 1\n{self.image}\n{self._cut.resize}\n{self._cut.crop}\n{images.digest()}\n"
            digest = hashlib.sha256(how.encode())
            digest.update(np.ascontiguousarray(images.labels, dtype="<i8").data)
            self._fingerprints[split] = digest.hexdigest()
        return self._fingerprints[split]

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        split = known_split(self, split)
        chosen = known_indices(self, split, indices)
        encoded = self._splits[split]
        images = np.empty((len(chosen), *self.image), dtype=np.uint8)
        for k, index in enumerate(chosen.tolist()):
            source, what = encoded.source(index)
            images[k] = decoded(source, what, self.image, self._cut.resize, self._cut.crop)
        return to_float(images), torch.from_numpy(encoded.labels[chosen])
