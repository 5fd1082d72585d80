"""Typical sets: is the mean log-likelihood of a set of images what it is of sets that the model draws?

Nalisnick et al., "Detecting out-of-distribution inputs to deep generative models using typicality", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from preimage.harness.statistics import bootstrap

if TYPE_CHECKING:
    from preimage.harness.rows import Estimate, Floats

LEVEL = 0.95
"""The share of bootstrap sets of generated images that are typical."""


@dataclass(frozen=True)
class TypicalSets:
    """Sets of ``size`` images, typical if ``|mean log p + H| <= epsilon``, H and epsilon from generated images.

    sets: how many bootstrap sets (with replacement) of generated images epsilon is the 95 % quantile of. trials: how
    many sets of distinct images are tested. seed: of both. Whichever images there are, the same places of their list
    make up a set, so every resample of a bootstrap is judged as the sample is.
    """

    generated: Floats
    """log p of each generated image, [g] nats."""
    size: int
    trials: int = 100
    sets: int = 1000
    seed: int = 0

    def epsilon(self) -> Estimate:
        """The threshold, nats, with its bootstrap interval over generated images."""
        return bootstrap(lambda generated, axis: self._threshold(generated), self.generated)

    def share_generated(self) -> Estimate:
        """The share of sets of generated images that are typical; the same images gave H and epsilon."""
        places = self._distinct(len(self.generated))
        return bootstrap(lambda generated, axis: self._share(generated, generated, places), self.generated)

    def share(self, group: Floats) -> Estimate:
        """The share of sets of a group's images that are typical, with its bootstrap interval over images of both.

        group: log p of each, [n] nats, n at least ``size``.
        """
        places = self._distinct(len(group))
        return bootstrap(
            lambda generated, group, axis: self._share(generated, group, places), self.generated, np.asarray(group)
        )

    def _share(self, generated: Floats, group: Floats, places: Floats) -> Floats:
        means = group @ places.T
        apart = np.abs(means - generated.mean(axis=-1, keepdims=True))
        return np.asarray((apart <= self._threshold(generated)[..., np.newaxis]).mean(axis=-1))

    def _threshold(self, generated: Floats) -> Floats:
        means = generated @ self._drawn.T
        return np.asarray(np.quantile(np.abs(means - generated.mean(axis=-1, keepdims=True)), LEVEL, axis=-1))

    @cached_property
    def _drawn(self) -> Floats:
        """The share of each generated image in each bootstrap set, [sets, g]."""
        pool = len(self.generated)
        rng = np.random.default_rng([self.seed, self.size, 0])
        return rng.multinomial(self.size, np.full(pool, 1 / pool), size=self.sets) / self.size

    def _distinct(self, pool: int) -> Floats:
        """The share of each image of a pool in each set that is tested, [trials, pool]."""
        rng = np.random.default_rng([self.seed, self.size, 1])
        one = np.zeros(pool)
        one[: self.size] = 1 / self.size
        return rng.permuted(np.tile(one, (self.trials, 1)), axis=1)
