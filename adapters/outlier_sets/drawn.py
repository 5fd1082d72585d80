"""Images drawn from random streams, one per image: any image alone is the one that it is among others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from preimage.adapters.outlier_sets import NATURAL
from preimage.harness.cards import ImageSpec
from preimage.harness.datasets import known_indices, known_split
from preimage.harness.streams import Streams, seed_of

COUNT = 10_000


class Drawn:
    """Images of uniform noise: one value per channel (``constant``) or per pixel (``uniform-noise``). One split."""

    version = 1

    def __init__(self, name: Literal["constant", "uniform-noise"], image: ImageSpec = NATURAL) -> None:
        self.name = name if image == NATURAL else f"{name}@{image}"
        self.image = image
        self.num_classes = 0
        self.splits: Sequence[str] = ("test",)
        self._kind = name

    def at(self, image: ImageSpec) -> Drawn:
        """The same kind of images, drawn in another shape; a colour is the same in every size."""
        return Drawn(self._kind, image)

    def size(self, split: str) -> int:
        known_split(self, split)
        return COUNT

    def fingerprint(self, split: str) -> str:
        """A hash of what is drawn, in which shape, how often."""
        split = known_split(self, split)
        return hashlib.sha256(
            f"drawn {self.version}\n{self._kind}\n{self.image}\n{split}\n{COUNT}".encode()
        ).hexdigest()

    def read(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = known_indices(self, split, indices).tolist()
        streams = Streams([seed_of("drawn data set", self.version, self._kind, index) for index in chosen])
        channels = self.image.channels
        values = streams.uniform(channels, 1, 1) if self._kind == "constant" else streams.uniform(*self.image)
        images = values.expand(-1, *self.image).contiguous()
        return images, torch.full((len(chosen),), -1, dtype=torch.int64)


def constant() -> Drawn:
    """The data set ``constant``."""
    return Drawn("constant")


def uniform_noise() -> Drawn:
    """The data set ``uniform-noise``."""
    return Drawn("uniform-noise")
