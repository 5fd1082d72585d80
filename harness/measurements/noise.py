"""The variance of a likelihood's noise: as it was asked for, or from stored recoveries of training images."""

from __future__ import annotations

import numpy as np

from preimage.harness.errors import GeneratorError
from preimage.harness.likelihood_requests import FixedNoise, Noise
from preimage.harness.world import World


def sigma2_of(noise: Noise, world: World) -> float:
    """The noise variance per pixel: the mean of the training images' mean squared recovery errors (METHODS 9).

    Raises GeneratorError where these errors are 0: a model that recovers its training images exactly has no finite
    likelihood there.
    """
    if isinstance(noise, FixedNoise):
        return noise.sigma2
    rows, _ = world.rows(noise.recovery, noise.images)
    sigma2 = float(np.mean(rows["mse"]))
    if not sigma2 > 0:
        raise GeneratorError(
            f"model {noise.recovery.model.name!r}: its {noise.images} training images are recovered with an error of "
            f"{sigma2}, so sigma2 would be {sigma2}. Give the noise variance yourself, e.g. --set 'sigma2=[0.001]'"
        )
    return sigma2
