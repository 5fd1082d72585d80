"""Priors of models whose codes were learned with them: what is known of the law of a code is the training codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from preimage.harness.errors import WeightsError
from preimage.harness.priors import Prior
from preimage.harness.streams import Streams

CODES = "codes"
"""What a file calls the codes of the training images, [n, dim] in their order, beside the network's tensors."""


def training_codes(weights: Mapping[str, Tensor], dim: int) -> Tensor | None:
    """The codes of the training images, [n, dim] float32, where the weights have them. Raises WeightsError."""
    codes = weights.get(CODES)
    if codes is None:
        return None
    if codes.ndim != 2 or codes.shape[1] != dim or not bool(torch.isfinite(codes).all()):
        raise WeightsError(
            f"the weights' `{CODES}` are {list(codes.shape)}, {int((~torch.isfinite(codes)).sum())} of their values "
            f"not finite; the codes of training images are [n, {dim}]"
        )
    return codes.float().clone()


class FittedGaussian(Prior):
    """N(mean, covariance) of training codes [n, dim]. Plausible: ``m^2 <= d + 3 sqrt(2 d)``, m Mahalanobis' distance.

    Raises WeightsError where the codes span no volume.
    """

    def __init__(self, codes: Tensor) -> None:
        count, dim = codes.shape
        self.mean: Tensor = codes.double().mean(dim=0)
        centred = codes.double() - self.mean
        factor, failed = torch.linalg.cholesky_ex(centred.T @ centred / max(count - 1, 1))
        if count <= dim or bool(failed) or not bool((factor.diagonal() > 1e-8 * factor.diagonal().max()).all()):
            raise WeightsError(
                f"{count} training codes of {dim} values span no volume, so they have no density. Choose another "
                "`prior` in the card's config"
            )
        self.factor: Tensor = factor  # lower triangular: factor @ factor.T is the covariance

    def sample(self, streams: Streams, dim: int) -> Tensor:
        return self._code(streams.normal(dim))

    def log_prob(self, code: Tensor) -> Tensor:
        white = self._whitened(code)
        log_volume = self.factor.diagonal().log().sum().to(code.device)
        density: Tensor = -0.5 * (white.square() + math.log(2 * math.pi)).sum(dim=1) - log_volume
        return density

    def project(self, code: Tensor) -> Tensor:
        """Nearest by Mahalanobis' distance."""
        white, dim = self._whitened(code), code.shape[1]
        radius = math.sqrt(dim + 3 * math.sqrt(2 * dim))
        norm = white.norm(dim=1, keepdim=True)
        nearest = self._code(white * (radius / norm.clamp_min(1e-30)))
        return torch.where(norm > radius * (1 + 1e-6), nearest, code)

    def _code(self, white: Tensor) -> Tensor:
        """Codes [n, dim] float32 of whitened ones."""
        factor, mean = self.factor.to(white.device), self.mean.to(white.device)
        code: Tensor = mean + white.double() @ factor.T
        return code.float()

    def _whitened(self, code: Tensor) -> Tensor:
        """Codes [n, dim] float64 whose law is N(0, I)."""
        centred = code.double() - self.mean.to(code.device)
        white: Tensor = torch.linalg.solve_triangular(self.factor.to(code.device), centred.T, upper=False).T
        return white


class GaussianInBall(FittedGaussian):
    """N(mean, covariance) of training codes that were kept in the unit ball, which is the plausible set.

    The Gaussian is not cut to the ball: Bojanowski et al. draw from it as it is, and where training codes lie on the
    sphere half of the draws lie outside.
    """

    plausible_draws: ClassVar[bool] = False

    def project(self, code: Tensor) -> Tensor:
        return into_ball(code)


class UniformInBall(Prior):
    """Uniform in the unit ball, which is the plausible set."""

    def sample(self, streams: Streams, dim: int) -> Tensor:
        direction = streams.normal(dim)
        radius: Tensor = streams.uniform(1).double() ** (1 / dim)
        code: Tensor = direction * (radius / direction.double().norm(dim=1, keepdim=True))
        return code.float()

    def log_prob(self, code: Tensor) -> Tensor:
        dim = code.shape[1]
        log_volume = 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim + 1)
        inside = code.double().norm(dim=1) <= 1 + 1e-6
        density = -log_volume + 0.0 * code.double().sum(dim=1)
        return torch.where(inside, density, torch.full_like(density, -math.inf))

    def project(self, code: Tensor) -> Tensor:
        return into_ball(code)


def into_ball(code: Tensor) -> Tensor:
    """``z / max(||z||, 1)``: the nearest code of the unit ball."""
    length: Tensor = code.norm(dim=1, keepdim=True).clamp_min(1)
    return code / length
