"""The likelihood of a code: ``log p(x | G(z))`` under Gaussian noise, and its gradient in a chart's coordinates."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from preimage.harness.errors import GeneratorError, UsageError
from preimage.harness.generator import Generator, check_images
from preimage.harness.samplers.charts import PlainChart, chart_of


class Likelihood:
    """``log p(x | u) = -||G(code(Q u)) - x||^2 / (2 sigma2) - (D / 2) log(2 pi sigma2)`` for each of n images.

    Positions are [n, chains, dim], in the frame of ``rotation``: Q [dim, dim] for all images, [n, dim, dim] for each
    its own, None: the identity. Images and chains never interact. ``evaluations`` counts, [n] int64 in all chains.

    generator: prepared. target: [n, c, h, w] float32. label: [n] int64 or None. sigma2: noise variance per pixel.
    Raises UsageError where sigma2 is not a finite number above 0, Refused where the space has no density.
    """

    def __init__(
        self, generator: Generator, target: Tensor, sigma2: float, label: Tensor | None = None, *, space: str = "z"
    ) -> None:
        if not 0 < sigma2 < math.inf:
            raise UsageError(f"sigma2 is {sigma2}; the noise variance per pixel must be above 0, e.g. sigma2=0.01")
        check_images(target, len(target), generator.image, "the target")
        self.generator, self.target, self.label, self.sigma2 = generator, target, label, float(sigma2)
        self.space = generator.space(space)
        self.chart = chart_of(self.space)
        self.rotation: Tensor | None = None
        self.evaluations = torch.zeros(len(target), dtype=torch.int64)
        self.constant = -0.5 * target[0].numel() * math.log(2 * math.pi * self.sigma2) if len(target) else 0.0

    def rotated(self, rotation: Tensor | None) -> Likelihood:
        """The same likelihood in another frame, counting into the same ``evaluations``."""
        turned = object.__new__(type(self))
        turned.__dict__.update(self.__dict__)
        turned.rotation = rotation
        return turned

    def __len__(self) -> int:
        return len(self.target)

    def to_chart(self, position: Tensor) -> Tensor:
        """Positions of the frame [n, chains, dim] as coordinates of the chart, Q c."""
        return position if self.rotation is None else position @ self.rotation.mT

    def to_frame(self, u: Tensor) -> Tensor:
        """Coordinates of the chart [n, chains, dim] as positions of the frame, Q^T u."""
        return u if self.rotation is None else u @ self.rotation

    def __call__(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihoods [n, chains] float64 and gradients [n, chains, dim]; non-finite ones are passed on."""
        n, chains, dim = position.shape
        with torch.enable_grad():
            leaf = self.to_chart(position).detach().reshape(n * chains, dim).requires_grad_()
            images = self._decode(leaf, chains)
        away = images.detach().reshape(n, chains, -1) - self.target.reshape(n, 1, -1)
        pull = (away * (-1 / self.sigma2)).reshape(images.shape)  # of the log-likelihood on the image
        (slope,) = torch.autograd.grad(images, leaf, pull)
        self.evaluations += chains
        squares = away.square_().sum(dim=2, dtype=torch.float64)
        return self.constant - squares / (2 * self.sigma2), self.to_frame(slope.reshape(n, chains, dim))

    def log_prior(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """The chart's log density at positions, [n, chains] float64, and its gradient in the frame."""
        n, chains, dim = position.shape
        if not isinstance(self.chart, PlainChart):  # N(0, I) looks the same in every frame
            density, gradient = self.chart.log_prior(position.reshape(n * chains, dim))
            return density.reshape(n, chains), gradient.reshape(n, chains, dim)
        density, gradient = self.chart.log_prior(self.to_chart(position).reshape(n * chains, dim))
        return density.reshape(n, chains), self.to_frame(gradient.reshape(n, chains, dim))

    def images(self, position: Tensor) -> Tensor:
        """The images of positions, [n, chains, c, h, w], with no gradient; one evaluation each."""
        n, chains, dim = position.shape
        with torch.no_grad():
            images = self._decode(self.to_chart(position).reshape(n * chains, dim), chains)
        self.evaluations += chains
        return images.reshape(n, chains, *images.shape[1:])

    def _decode(self, u: Tensor, chains: int) -> Tensor:
        """The images of coordinates [n chains, dim], which autograd can follow where the coordinates ask for it."""
        label = None if self.label is None else self.label.repeat_interleave(chains)
        images = self.generator.decode(self.chart.code(u), label, space=self.space.name)
        check_images(images, len(u), self.generator.image, type(self.generator).__name__)
        if u.requires_grad and not images.requires_grad:
            raise GeneratorError(
                f"{type(self.generator).__name__}: autograd cannot follow its images back to their codes. "
                "decode must not detach and must not run under no_grad"
            )
        return images
