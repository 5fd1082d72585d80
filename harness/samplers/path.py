"""Annealing paths: from a law q0 that can be drawn from to the joint ``p(u) p(x | u)``, geometrically."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.streams import Streams


class Value(NamedTuple):
    """What a position is worth: none of it depends on the temperature, so one evaluation serves all of them.

    start: log q0 [n, chains] float64; ratio: log p(u) p(x | u) - log q0; slopes: their gradients [n, chains, dim].
    """

    start: Tensor
    start_slope: Tensor
    ratio: Tensor
    ratio_slope: Tensor

    def log_density(self, t: Tensor) -> Tensor:
        """log q0^(1 - t) (p p(x | .))^t, [n, chains] float64."""
        return self.start + t * self.ratio

    def slope(self, t: Tensor) -> Tensor:
        """Its gradient, [n, chains, dim]."""
        return self.start_slope + t * self.ratio_slope


class Gaussian(NamedTuple):
    """``N(mean, diag(precision)^-1)`` in the frame, one per image: mean, precision [n, 1, dim] float32.

    peak: log density at the mean, [n, 1] float64.
    """

    mean: Tensor
    precision: Tensor
    peak: Tensor

    @classmethod
    def at(cls, mean: Tensor, precision: Tensor) -> Gaussian:
        """The law of a mean and a precision."""
        narrow = precision.float()
        peak = 0.5 * (narrow.double() / (2 * math.pi)).log().sum(dim=2)
        return cls(mean.float(), narrow, peak)


class Path(NamedTuple):
    """``Q_t = q0^(1 - t) (p(u) p(x | u))^t`` at the temperatures ``t_0 = 0, ..., t_T = 1``.

    likelihood: in the frame in which the mass matrix is diagonal. start: q0, None: the prior; then ``Q_t`` is the
    prior times ``p(x | u)^t``. temperatures: [T + 1] float64, one schedule for all images; or [T + 1, n], each its own.
    mass: diagonal mass matrix at t is ``1 + (b0 + t (1 - b0)) eigenvalues``; eigenvalues [dim] or [n, 1, dim].
    """

    likelihood: Likelihood
    temperatures: Tensor
    eigenvalues: Tensor
    start: Gaussian | None = None
    b0: float = 0.0

    def draw(self, streams: Streams, chains: int) -> Tensor:
        """Exact draws from q0, [n, chains, dim]."""
        like = self.likelihood
        if self.start is None:
            return like.to_frame(like.chart.draw(streams, chains, like.space.dim))
        noise = streams.normal(chains, like.space.dim)
        return self.start.mean + noise * self.start.precision.rsqrt()

    def value(self, position: Tensor) -> Value:
        """One gradient evaluation per image and chain."""
        likelihood, slope = self.likelihood(position)
        prior, prior_slope = self.likelihood.log_prior(position)
        if self.start is None:
            return Value(prior, prior_slope, likelihood, slope)
        away = position - self.start.mean
        pull = away * self.start.precision
        start = self.start.peak - 0.5 * (away * pull).sum(dim=2, dtype=torch.float64)
        return Value(start, -pull, prior + likelihood - start, prior_slope + slope + pull)

    def spread(self, k: int) -> Tensor:
        """``mass^-1/2`` at temperature k: what a white step is multiplied by; broadcasts to [n, chains, dim]."""
        t = self.at(k)
        return (1 + (self.b0 + t * (1 - self.b0)) * self.eigenvalues).rsqrt().float()

    def at(self, k: int) -> Tensor:
        """Temperature k, [] or [n, 1, 1] float64."""
        t = self.temperatures[k]
        return t if t.dim() == 0 else t.reshape(-1, 1, 1)
