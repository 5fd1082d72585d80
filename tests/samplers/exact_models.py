"""Models of which log p(x) is known, and transitions that can be counted, for the tests of this folder."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from preimage.harness.cards import ImageSpec
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import Prior, StandardNormal
from preimage.harness.samplers.curvature import Curvature, chart_metric, curvature_of
from preimage.harness.samplers.interface import Exact
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.simulate import Simulated, simulate
from preimage.harness.streams import Streams, seed_of


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Linear(Generator):
    """``G(z) = W z + b``, so ``x ~ N(b, W W^T + sigma2 I)``; it counts the codes that it decodes under autograd."""

    def __init__(self, W: Tensor, b: Tensor, prior: Prior | None = None) -> None:
        super().__init__()
        self.W, self.b, self.differentiated = W, b, 0
        self.spaces = {
            "z": LatentSpace("z", W.shape[1], prior or StandardNormal()),
            "w": LatentSpace("w", W.shape[1], None),
        }
        self.image, self.num_classes = ImageSpec(1, 1, len(b)), 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        self.differentiated += len(code) if torch.is_grad_enabled() else 0
        return torch.addmm(self.b, code, self.W.T).reshape(-1, *self.image)

    def log_density(self, x: Tensor, sigma2: float) -> Tensor:
        """log p(x) in closed form, [n] float64."""
        W = self.W.double()
        cov = W @ W.T + sigma2 * torch.eye(len(W), dtype=torch.float64)
        law = torch.distributions.MultivariateNormal(self.b.double(), cov)
        density: Tensor = law.log_prob(x.flatten(1).double())
        return density

    def tempered(self, x: Tensor, sigma2: float, beta: float) -> tuple[Tensor, Tensor]:
        """Mean [n, dim] and covariance [dim, dim] of ``p(z) p(x | z)^beta``, float64."""
        W = self.W.double()
        cov = torch.linalg.inv(torch.eye(W.shape[1], dtype=torch.float64) + beta / sigma2 * W.T @ W)
        return beta / sigma2 * (x.flatten(1).double() - self.b) @ W @ cov, cov


@functools.cache
def linear(dim: int, pixels: int = 64, *, condition: float = 10.0, prior: Prior | None = None, seed: int = 0) -> Linear:
    """A linear generator whose singular values fall from 2 by the condition number."""
    left = torch.linalg.qr(numbers(pixels, dim, seed=seed))[0]
    right = torch.linalg.qr(numbers(dim, dim, seed=seed + 1))[0]
    spectrum = torch.logspace(0, -math.log10(condition), dim) if dim > 1 else torch.ones(1)
    return Linear(2 * left @ torch.diag(spectrum) @ right, numbers(pixels, seed=seed + 2) * 0.1, prior)


class Network(Generator):
    """Any function of codes as a generator of one row of pixels."""

    def __init__(self, net: Callable[[Tensor], Tensor], dim: int, pixels: int, prior: Prior | None = None) -> None:
        super().__init__()
        self.net = net
        self.spaces = {"z": LatentSpace("z", dim, prior or StandardNormal())}
        self.image, self.num_classes = ImageSpec(1, 1, pixels), 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        return self.net(code).reshape(-1, *self.image)


def streams(name: str, images: int, seed: int = 0) -> Streams:
    return Streams([seed_of(seed, name, i) for i in range(images)])


def simulated(generator: Generator, sigma2: float, images: int, seed: int = 0) -> tuple[Likelihood, Simulated]:
    """Images drawn from the model, and their likelihood."""
    made = simulate(generator, streams("images", images, seed), sigma2)
    return Likelihood(generator, made.image, sigma2), made


def exactly(made: Simulated, seed: int = 0) -> Exact:
    return Exact(made.u, streams("back", len(made.u), seed))


def model_curvature(generator: Generator, u: Tensor, sigma2: float) -> Curvature:
    """The mean curvature over draws u, one for all images."""
    metric = chart_metric(generator, u)
    return curvature_of(metric.matrix.unsqueeze(0), math.prod(generator.image), sigma2)


class Fixed(NamedTuple):
    """What the frozen samplers need of a model."""

    curve: Curvature
    numbers: dict[str, float]


@functools.cache
def tuned(generator: Generator, sigma2: float, evaluations: int = 400) -> Fixed:
    """Measured on images of its own."""
    likelihood, made = simulated(generator, sigma2, 8, seed=900)
    curve = model_curvature(generator, made.u, sigma2)
    sampler = Laplace(evaluations, pilot_least=100)
    exact = Exact(made.u, streams("tuning back", 8))
    return Fixed(curve, sampler.tune(likelihood, curve, streams("tuning", 8), exact))
