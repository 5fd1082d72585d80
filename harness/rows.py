"""Rows: what a measurement yields, one per image (per label where asked)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]


class Estimate(NamedTuple):
    """A population value estimated from n images, with a 95 % interval (None where there is none to give).

    replicates: the bootstrap's values that the interval was taken from, little-endian float64. Estimates of as many
    images are resampled alike, so the difference of two models' replicates is a paired bootstrap of their difference.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    replicates: bytes = b""


@dataclass(frozen=True)
class Block:
    """The rows of one block, as measured.

    image, label: [r]; label is the one used in decoding, -1 for none. values: named numbers, [r] each, all finite.
    outcome: one sentence's name per row. code: one byte string per row, or none. pixels: sha256 of the pixels read.
    evaluations: generator evaluations spent. pictures: named PNG strips.
    """

    image: Integers
    label: Integers
    values: Mapping[str, Floats]
    outcome: tuple[str, ...] = ()
    code: tuple[bytes, ...] = ()
    pixels: str = ""
    evaluations: int = 0
    seconds: float = 0.0
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Stored rows of a request, in the order of (image, label)."""

    image: Integers
    label: Integers
    values: Mapping[str, Floats]
    outcome: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, name: str) -> Floats:
        """The named value of every row, [r] float64."""
        return self.values[name]

    def table(self, name: str) -> Floats:
        """The named value as [images, labels], for rows that were measured under every label."""
        return self.values[name].reshape(len(set(self.image.tolist())), -1)
