"""Requests for features of images, and for the comparison of three sets of them. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from preimage.harness.errors import UsageError
from preimage.harness.requests import Images, ModelKey, Request, Samples, Split

if TYPE_CHECKING:
    from preimage.harness.rows import Block
    from preimage.harness.world import World


@dataclass(frozen=True, kw_only=True)
class Features(Request):
    """One feature vector per image, little-endian float32 in the row's code: of a split, or of the model's own samples.

    extractor: a backbone's name; extractor_identity: the hash of its weights, preprocessing and resize rule. Features
    of a split belong to no model: their `model` is the extractor itself, so that all models share them. A sample's
    label is uniform, its code from the stream of its index, as in a recovery of the model's samples.
    """

    kind: ClassVar[str] = "features"
    images: Images
    extractor: str
    extractor_identity: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.images, Split):
            object.__setattr__(self, "model", ModelKey(self.extractor, self.extractor_identity))

    def evaluations(self, images: int) -> int:
        return images if isinstance(self.images, Samples) else 0

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.features import measure_features

        return measure_features(self, block, world)


@dataclass(frozen=True, kw_only=True)
class FeatureComparison(Request):
    """The distances and shares between features of generated, training and validation images, so many of each.

    Row 0 has the values of all images; row g those without the g-th of ``groups`` groups of every set: image i is of
    group i mod ``groups``. Intervals are a delete-a-group jackknife of them. k: of the nearest-neighbour balls.
    size: images of each of the three sets.
    """

    kind: ClassVar[str] = "feature-comparison"
    generated: Features
    train: Features
    val: Features
    size: int
    k: int = 5
    groups: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("k", 1), ("groups", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"`{name}` is {getattr(self, name)}; it must be at least {least}")
        if self.size < self.least_size(self.k, self.groups):
            raise UsageError(
                f"`size` is {self.size}; {self.groups} groups and k = {self.k} need at least "
                f"{self.least_size(self.k, self.groups)} images of each set"
            )

    @staticmethod
    def least_size(k: int, groups: int) -> int:
        """The fewest images of a set: two in each group, and more than k with a group left out."""
        return max(2 * groups, 2 * k + 2)

    @property
    def rows(self) -> int:
        """How many rows it has: one with all images, one without each group."""
        return 1 + self.groups

    def needs(self) -> tuple[tuple[Request, int | None], ...]:
        return tuple((features, self.size) for features in (self.generated, self.train, self.val))

    def evaluations(self, images: int) -> int:
        return 0

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.feature_comparison import measure_comparison

        return measure_comparison(self, block, world)
