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
from preimage.harness.samplers.anneal import anneal, anneal_back, anneal_beside
from preimage.harness.samplers.bounds import log_mean
from preimage.harness.samplers.curvature import Curvature, chart_metric, curvature_of, image_curvature
from preimage.harness.samplers.hmc import Hmc
from preimage.harness.samplers.interface import Exact
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.laplace_start import laplace_path
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.schedules import spectral_schedule
from preimage.harness.samplers.simulate import Simulated, simulate
from preimage.harness.samplers.stepping import FrozenSteps
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


class Labelled(Generator):
    """A linear generator for each of two labels."""

    def __init__(self, *parts: Linear) -> None:
        super().__init__()
        self.parts, self.num_classes = parts, len(parts)
        self.spaces, self.image = parts[0].spaces, parts[0].image

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        assert label is not None
        images = torch.stack([part.decode(code, space=space) for part in self.parts])
        return torch.where(label.reshape(-1, 1, 1, 1) == 0, *images)


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
def tuned(generator: Generator, sigma2: float) -> Fixed:
    """Measured on images of its own."""
    likelihood, made = simulated(generator, sigma2, 8, seed=900)
    curve = model_curvature(generator, made.u, sigma2)
    sampler = Laplace(250, pilot_least=60)
    exact = Exact(made.u, streams("tuning back", 8))
    return Fixed(curve, sampler.tune(likelihood, curve, streams("tuning", 8), exact))


class Bias(NamedTuple):
    """The mean of w / p(x) minus 1 (of p(x) / w for reverse chains) in standard errors; that error; their spread."""

    off: float
    error: float
    spread: float


class Short(NamedTuple):
    """A path of a few temperatures, exact codes [n, dim] of its images, and their log p(x), [n, 1]."""

    path: Path
    u: Tensor
    truth: Tensor


@functools.cache
def short_path(start: str, images: int) -> Short:
    """From the ``prior``, or from the ``laplace`` law at codes off the mode, which the weights must make up for."""
    generator = linear(2, 4, condition=2.0)
    likelihood, made = simulated(generator, 1.0, images)
    truth = generator.log_density(made.image, 1.0).unsqueeze(1)
    curve = model_curvature(generator, made.u, 1.0)
    if start == "prior":
        path = Path(likelihood.rotated(curve.rotation), spectral_schedule(6, curve.eigenvalues), curve.eigenvalues)
    else:
        off = generator.tempered(made.image, 1.0, 1.0)[0].float() + 0.3 * numbers(images, 2, seed=5)
        path = laplace_path(likelihood, off, image_curvature(likelihood, off, curve), 0.3, 5)
    return Short(path, made.u, truth)


def biases(
    start: str, persistence: float, shift: float, images: int, chains: int, *, resampled: bool = False
) -> tuple[Bias, Bias]:
    """How far the weights of short, far from equilibrated chains are from unbiased, forward and in reverse.

    resampled: chains in fours that are resampled after two of the transitions, and beside an exact chain.
    """
    path, u, truth = short_path(start, images)
    sampler, steps = Hmc(2, persistence, shift), FrozenSteps(torch.tensor([0.95]), 2)
    at = path.likelihood.to_frame(u.unsqueeze(1))
    own, exact = streams("forward", images), streams("back", images)
    if resampled:
        points = frozenset({1, 3})
        own, exact = streams("sets", images), streams("beside", images)
        sets = [anneal(path, sampler, steps, own, 4, points).log_weight for _ in range(chains)]
        beside = [anneal_beside(path, sampler, steps, exact, at, 4, points).log_weight for _ in range(chains)]
        lower, upper = (torch.stack([log_mean(w) for w in of], dim=1) for of in (sets, beside))
    else:
        lower = anneal(path, sampler, steps, own, chains).log_weight
        upper = anneal_back(path, sampler, steps, exact, at.expand(-1, chains, -1)).log_weight

    def bias(weights: Tensor) -> Bias:
        per_image = weights.mean(dim=1)  # images are independent draws; chains of one image share it
        error = float(per_image.std()) / math.sqrt(images)
        return Bias((float(per_image.mean()) - 1) / error, error, float(weights.std()))

    return bias((lower - truth).exp()), bias((truth - upper).exp())
