"""Requests for the likelihood of images under a generator, and for what is fixed before. Nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from preimage.harness.errors import UsageError
from preimage.harness.requests import LabelRule, Recovery, Request, Split

if TYPE_CHECKING:
    from preimage.harness.rows import Block
    from preimage.harness.samplers.interface import Sampler
    from preimage.harness.world import World


@dataclass(frozen=True)
class Simulated:
    """Draws from the model as a density, ``x = G(z) + noise``: image i from the stream ``(seed, "simulated", i)``, its
    label uniform, a mixture's part by the parts' weights. Their codes are known, so log p(x) has an upper bound too."""

    seed: int = 0


@dataclass(frozen=True)
class FixedNoise:
    """A variance of the noise per pixel, images in [0, 1], as it was asked for."""

    sigma2: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma2 < math.inf:
            raise UsageError(
                f"`sigma2` is {self.sigma2}; the noise variance per pixel must be above 0, e.g. --set 'sigma2=[0.01]'"
            )


@dataclass(frozen=True, kw_only=True)
class FittedNoise:
    """The mean squared recovery error per pixel of so many training images: the maximum-likelihood variance."""

    recovery: Recovery
    images: int


Noise: TypeAlias = FixedNoise | FittedNoise


def needs_of_noise(noise: Noise) -> tuple[tuple[Request, int | None], ...]:
    """What must be recovered before the noise is known."""
    return ((noise.recovery, noise.images),) if isinstance(noise, FittedNoise) else ()


@dataclass(frozen=True, kw_only=True)
class Curvature(Request):
    """``A = mean over prior draws of J^T J / D`` in coordinates in which the prior is N(0, I), one row per label.

    ``J`` is the derivative of the image by these coordinates (see ``samplers/charts.py``). ``A D / sigma^2`` is the
    mean curvature of the log-likelihood: mass matrix and schedule of the samplers follow from it (METHODS 13).
    """

    kind: ClassVar[str] = "curvature"
    space: str
    dim: int
    labels: int
    """How many labels, or parts of a mixture: 0 for another unconditional model, which has one matrix."""
    draws: int = 64
    block: int = 1

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return max(1, self.labels)

    def evaluations(self, images: int) -> int:
        return images * self.draws * self.dim

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.curvature import measure_curvature

        return measure_curvature(self, block, world)


@dataclass(frozen=True, kw_only=True)
class Tuning(Request):
    """What a sampler fixes for a model before anything is measured: one row of named numbers, steps among them.

    They are chosen on images simulated from the model, with streams of their own, so the chains that are measured
    later have no part in them and their bounds stay bounds (METHODS 13).
    """

    kind: ClassVar[str] = "tuning"
    space: str
    noise: Noise
    sampler: Sampler
    curvature: Curvature | None
    dim: int
    labels: int
    images: int = 4
    block: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images < 2:
            raise UsageError(f"`tuning_images` is {self.images}; steps are chosen on at least 2 simulated images")

    def needs(self) -> tuple[tuple[Request, int | None], ...]:
        return (*needs_of_noise(self.noise), *_rows_of(self.curvature))

    def evaluations(self, images: int) -> int:
        return self.images + self.sampler.tuning_cost(self.dim, self.images)

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.tuning import measure_tuning

        return measure_tuning(self, block, world)


@dataclass(frozen=True, kw_only=True)
class Likelihood(Request):
    """log p(x) of images under ``x = G(z) + noise``, ``noise ~ N(0, sigma^2 I)``, by annealed importance sampling.

    A lower bound; of simulated images an upper bound beside it (METHODS 9, 13). label: under which label images are
    annealed; those that were simulated have their own. Rows hold the log-weights that the bounds are computed from.

    Of a mixture an image is annealed in every part (see ``measurements/parts.py``).
    """

    kind: ClassVar[str] = "likelihood"
    images: Split | Simulated
    label: LabelRule
    space: str
    noise: Noise
    sampler: Sampler
    curvature: Curvature | None
    tuning: Tuning | None
    dim: int
    labels: int
    block: int = 16

    def needs(self) -> tuple[tuple[Request, int | None], ...]:
        tuning: tuple[tuple[Request, int | None], ...] = () if self.tuning is None else ((self.tuning, 1),)
        return (*needs_of_noise(self.noise), *_rows_of(self.curvature), *tuning)

    @property
    def bounded(self) -> bool:
        """Whether the images' own codes are known, so that they have an upper bound too."""
        return isinstance(self.images, Simulated) and self.label != "every"

    def evaluations(self, images: int) -> int:
        others = self.labels - 1 if self.label in ("every", "part") else 0  # passes with a lower bound only
        made = images if isinstance(self.images, Simulated) else 0
        return images * (self.sampler.cost(self.dim, upper=self.bounded) + others * self.sampler.cost(self.dim)) + made

    def measure(self, block: int, world: World) -> Block:
        from preimage.harness.measurements.likelihood import measure_likelihood

        return measure_likelihood(self, block, world)


def _rows_of(curvature: Curvature | None) -> tuple[tuple[Request, int | None], ...]:
    return () if curvature is None else ((curvature, curvature.rows),)
