"""Priors: the law a model draws its codes from. Codes are flat, [n, dim] float32; densities are in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from preimage.harness.streams import Streams


class Prior:
    """The law of a code. Subclass it for a law that is not here; all three methods are needed."""

    plausible_draws: ClassVar[bool] = True
    """Whether nearly all of its draws are plausible; where codes were kept in a set that it knows nothing of, not."""

    def sample(self, streams: Streams, dim: int) -> Tensor:
        """One draw per stream, [n, dim] float32."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to sample")

    def log_prob(self, code: Tensor) -> Tensor:
        """log p(code), [n] float64, nats; ``-inf`` outside the support. Differentiable inside it."""
        raise NotImplementedError(f"{type(self).__name__} does not give a density")

    def project(self, code: Tensor) -> Tensor:
        """The nearest code, [n, dim], in the set where plausible draws lie (ball, box or sphere)."""
        raise NotImplementedError(f"{type(self).__name__} does not say which codes are plausible")


@dataclass(frozen=True)
class StandardNormal(Prior):
    """N(0, I). Plausible: ``||z||^2 <= d + 3 sqrt(2 d)``, three standard deviations of the chi-squared law."""

    def sample(self, streams: Streams, dim: int) -> Tensor:
        return streams.normal(dim)

    def log_prob(self, code: Tensor) -> Tensor:
        return -0.5 * (code.double().square() + math.log(2 * math.pi)).sum(dim=1)

    def project(self, code: Tensor) -> Tensor:
        dim = code.shape[1]
        radius = math.sqrt(dim + 3 * math.sqrt(2 * dim))
        norm = code.norm(dim=1, keepdim=True)
        return torch.where(norm > radius, code * (radius / norm.clamp_min(1e-30)), code)


@dataclass(frozen=True)
class TruncatedNormal(Prior):
    """Independent N(0, 1) entries cut to [-bound, bound]. Plausible: the box."""

    bound: float = 2.0

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"TruncatedNormal: bound is {self.bound}; it must be above 0")

    def sample(self, streams: Streams, dim: int) -> Tensor:
        low = torch.special.ndtr(torch.tensor(-self.bound, dtype=torch.float64))
        u = low + (1 - 2 * low) * streams.uniform(dim).double()
        code: Tensor = torch.special.ndtri(u).float()
        return code.clamp(-self.bound, self.bound)

    def log_prob(self, code: Tensor) -> Tensor:
        mass = math.log(math.erf(self.bound / math.sqrt(2)))
        inside = (code.abs() <= self.bound).all(dim=1)
        density = -0.5 * (code.double().square() + math.log(2 * math.pi)).sum(dim=1) - mass * code.shape[1]
        return torch.where(inside, density, torch.full_like(density, -math.inf))

    def project(self, code: Tensor) -> Tensor:
        return code.clamp(-self.bound, self.bound)


@dataclass(frozen=True)
class Uniform(Prior):
    """Independent uniform entries on [low, high]. Plausible: the box."""

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"Uniform: [{self.low}, {self.high}] is empty; low must be below high")

    def sample(self, streams: Streams, dim: int) -> Tensor:
        return (self.low + (self.high - self.low) * streams.uniform(dim)).clamp(self.low, self.high)

    def log_prob(self, code: Tensor) -> Tensor:
        inside = ((code >= self.low) & (code <= self.high)).all(dim=1)
        density = -code.shape[1] * math.log(self.high - self.low) + 0.0 * code.double().sum(dim=1)
        return torch.where(inside, density, torch.full_like(density, -math.inf))

    def project(self, code: Tensor) -> Tensor:
        return code.clamp(self.low, self.high)


@dataclass(frozen=True)
class SphereUniform(Prior):
    """Uniform on the sphere of the given radius; the density is per area. Plausible: the sphere."""

    radius: float = 1.0

    def sample(self, streams: Streams, dim: int) -> Tensor:
        return self.project(streams.normal(dim))

    def log_prob(self, code: Tensor) -> Tensor:
        dim = code.shape[1]
        log_unit_area = math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)
        log_area = log_unit_area + (dim - 1) * math.log(self.radius)
        on_sphere = (code.double().norm(dim=1) / self.radius - 1).abs() < 1e-4
        density = -log_area + 0.0 * code.double().sum(dim=1)
        return torch.where(on_sphere, density, torch.full_like(density, -math.inf))

    def project(self, code: Tensor) -> Tensor:
        norm = code.double().norm(dim=1, keepdim=True)  # float64: the squares of small codes vanish in float32
        pole = torch.zeros_like(code)
        pole[:, 0] = self.radius  # every point of the sphere is as near to 0; this one is chosen
        return torch.where(norm > 0, (code * (self.radius / norm.clamp_min(1e-60))).to(code.dtype), pole)


def has_density(prior: Prior | None) -> bool:
    """Whether there is a prior, and it says what its density is."""
    return prior is not None and type(prior).log_prob is not Prior.log_prob
