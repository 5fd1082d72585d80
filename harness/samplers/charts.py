"""Charts: coordinates u of a latent space in which its prior is N(0, I), so that one sampler serves every prior."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from preimage.harness.errors import Refused
from preimage.harness.generator import LatentSpace
from preimage.harness.priors import Prior, SphereUniform, StandardNormal, TruncatedNormal, Uniform
from preimage.harness.streams import Streams

EDGE = 2.0**-26
"""Half the distance of two neighbouring uniform draws: how near to the edge of its box a code is taken to lie."""


class Chart(Protocol):
    """A map from coordinates u to codes that carries the law of u to the prior.

    ``p(x) = E[p(x | decode(code(u)))]`` over u whichever chart is used, so Jacobians need never be added.
    """

    def code(self, u: Tensor) -> Tensor:
        """Coordinates to codes, [m, dim] -> [m, dim] float32; differentiable."""
        ...

    def lift(self, code: Tensor, streams: Streams) -> Tensor:
        """Coordinates of codes [n, dim] that were drawn from the prior: a draw of u given its code."""
        ...

    def draw(self, streams: Streams, count: int, dim: int) -> Tensor:
        """Independent draws of u, [n, count, dim]."""
        ...

    def log_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The log density of u [m, dim], [m] float64, and its gradient [m, dim] float32."""
        ...


class NormalChart:
    """A chart whose u ~ N(0, I); this one is the identity. Subclasses say what the code of u is."""

    def code(self, u: Tensor) -> Tensor:
        return u

    def lift(self, code: Tensor, streams: Streams) -> Tensor:
        return code

    def draw(self, streams: Streams, count: int, dim: int) -> Tensor:
        return streams.normal(count, dim)

    def log_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        squares = u.square().sum(dim=1, dtype=torch.float64)
        return -0.5 * (squares + u.shape[1] * math.log(2 * math.pi)), -u


class BoxChart(NormalChart):
    """``code = low + (high - low) Phi(u)``: a uniform prior."""

    def __init__(self, prior: Uniform) -> None:
        self.low, self.width = prior.low, prior.high - prior.low

    def code(self, u: Tensor) -> Tensor:
        share: Tensor = torch.special.ndtr(u.double())
        return (self.low + self.width * share).float()

    def lift(self, code: Tensor, streams: Streams) -> Tensor:
        share = ((code.double() - self.low) / self.width).clamp(EDGE, 1 - EDGE)
        u: Tensor = torch.special.ndtri(share)
        return u.float()


class TruncatedChart(NormalChart):
    """``code = Phi^-1(Phi(-b) + (1 - 2 Phi(-b)) Phi(u))``: a normal prior cut to [-b, b].

    ndtri's derivative is written out, ``phi(u) (1 - 2 Phi(-b)) / phi(code)``, with the signs split so that the upper
    tail has the lower one's precision.
    """

    def __init__(self, prior: TruncatedNormal) -> None:
        self.bound = prior.bound
        self.tail = 0.5 * math.erfc(prior.bound / math.sqrt(2))

    def code(self, u: Tensor) -> Tensor:
        below = torch.special.ndtr(-u.double().abs())
        lower = torch.special.ndtri(self.tail + (1 - 2 * self.tail) * below)
        code: Tensor = torch.where(u > 0, -lower, lower)
        return code.float()

    def lift(self, code: Tensor, streams: Streams) -> Tensor:
        below = (torch.special.ndtr(-code.double().abs()) - self.tail) / (1 - 2 * self.tail)
        lower = torch.special.ndtri(below.clamp_min(EDGE))
        u: Tensor = torch.where(code > 0, -lower, lower)
        return u.float()


class SphereChart(NormalChart):
    """``code = radius u / ||u||``: the direction of a normal u is uniform on the sphere, its length is free of it."""

    def __init__(self, prior: SphereUniform) -> None:
        self.radius = prior.radius

    def code(self, u: Tensor) -> Tensor:
        length: Tensor = u.norm(dim=1, keepdim=True)
        return u * (self.radius / length.clamp_min(1e-12))

    def lift(self, code: Tensor, streams: Streams) -> Tensor:
        length: Tensor = streams.normal(code.shape[1]).norm(dim=1, keepdim=True)  # the chi law, whatever the direction
        return code * (length / self.radius)


class PlainChart(NormalChart):
    """The identity under a prior of somebody else's, whose own density is the law of u."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    def draw(self, streams: Streams, count: int, dim: int) -> Tensor:
        return torch.stack([self.prior.sample(streams, dim) for _ in range(count)], dim=1)

    def log_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            density = self.prior.log_prob(leaf)
            (gradient,) = torch.autograd.grad(density.sum(), leaf)
        return density.detach().double(), gradient


def chart_of(space: LatentSpace) -> Chart:
    """The chart of a latent space. Raises Refused where the space has no density."""
    match space.prior:
        case None:
            raise Refused(
                f"space {space.name!r} has no prior, so images have no likelihood there; "
                "choose a space with a density, e.g. --set space=z"
            )
        case StandardNormal():
            return NormalChart()
        case TruncatedNormal():
            return TruncatedChart(space.prior)
        case Uniform():
            return BoxChart(space.prior)
        case SphereUniform():
            return SphereChart(space.prior)
        case _:
            return PlainChart(space.prior)
