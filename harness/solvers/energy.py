"""The energy of recovery: how far the decoded code is from its target, plus what the prior says of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from preimage.harness.distances import L2, Distance, SquaredL2, embedding_of
from preimage.harness.errors import GeneratorError, PluginError
from preimage.harness.generator import Generator, check_images
from preimage.harness.solvers.interface import Preconditioner, Value

EXACT = 1e-13
"""A mean squared error below this is float32 rounding of images in [0, 1]."""


class RecoveryEnergy:
    """``energy(z) = distance(phi(decode(z, y)), phi(x)) - (beta / dim) log p(z)`` for each of a batch of targets x.

    Images never interact: the gradient of the summed energies is the stack of the images' gradients (Creswell and
    Bharath, TNNLS 2018, eqs 2-4; the penalty is their section III). Non-finite values are passed on.

    generator: prepared. target: [n, c, h, w] float32. label: [n] int64 or None. space: where the codes live.
    beta: weight of the penalty, 0 for none (else the space needs a prior). operator: phi, or None.
    preconditioner: the model's metric for these images, where the solver asks for it.
    Raises GeneratorError for a target, or an image decoded later, that is not what the generator's spec says, and
    PluginError for a distance that is not per image or whose embedding is none.
    """

    def __init__(
        self,
        generator: Generator,
        target: Tensor,
        distance: Distance,
        label: Tensor | None = None,
        *,
        space: str = "z",
        beta: float = 0.0,
        operator: Callable[[Tensor], Tensor] | None = None,
        preconditioner: Preconditioner | None = None,
    ) -> None:
        check_images(target, len(target), generator.image, "the target")
        self.generator, self.distance, self.label = generator, distance, label
        self.space, self.beta, self.operator = generator.space(space), beta, operator
        self.preconditioner = preconditioner
        if beta and self.space.prior is None:
            raise GeneratorError(f"space {space!r} has no prior, so it has no penalty: set beta=0, not {beta}")
        with torch.no_grad():
            self.target = target if operator is None else operator(target)
            pixels = isinstance(distance, SquaredL2 | L2)  # where an embedding saves nothing
            self.embedding = None if pixels else embedding_of(distance, self.target)

    @property
    def floor(self) -> float:
        """The energy of a mean squared error of ``EXACT`` where the distance is pixelwise; ``-inf`` with a penalty."""
        if self.beta:
            return -math.inf
        if not isinstance(self.distance, SquaredL2 | L2):
            return 0.0
        return EXACT if self.distance.squared else float((EXACT * self.target[0].numel()) ** 0.5)

    def __call__(self, code: Tensor) -> Value:
        """Energies [n] and their gradients [n, dim] at the codes [n, dim]; one forward and one backward pass."""
        with torch.enable_grad():
            leaf = code.detach().requires_grad_()
            energies = self._energies(leaf)
            (gradient,) = torch.autograd.grad(energies.sum(), leaf)
        return Value(energies.detach(), gradient)

    def select(self, index: Tensor) -> RecoveryEnergy:
        """The energy of the images at [k] indices."""
        chosen = object.__new__(RecoveryEnergy)
        chosen.__dict__.update(self.__dict__)
        chosen.target = self.target[index]
        chosen.label = None if self.label is None else self.label[index]
        chosen.embedding = None if self.embedding is None else self.embedding[index]
        chosen.preconditioner = None if self.preconditioner is None else self.preconditioner.select(index)
        return chosen

    def images(self, code: Tensor) -> Tensor:
        """The decoded images, [n, c, h, w], checked, before the operator."""
        images = self.generator.decode(code, self.label, space=self.space.name)
        return check_images(images, len(code), self.generator.image, type(self.generator).__name__)

    def _energies(self, code: Tensor) -> Tensor:
        images = self.images(code)
        if torch.is_grad_enabled() and not images.requires_grad:
            raise GeneratorError(
                f"{type(self.generator).__name__}: autograd cannot follow its images back to their codes. "
                "decode must not detach and must not run under no_grad (a truly constant image is written "
                "`image + 0 * code.sum()`)"
            )
        if self.operator is not None:
            images = self.operator(images)
        energies = self._distances(images).float()
        if self.beta and self.space.prior is not None:
            energies = energies - (self.beta / self.space.dim) * self.space.prior.log_prob(code).float()
        return energies

    def _distances(self, images: Tensor) -> Tensor:
        """``distance(images, target)``, with the target embedded once and for all."""
        embedding = None if self.embedding is None else self.distance.embed(images)
        if self.embedding is None or embedding is None:
            return _per_image(self.distance, images, self.target)
        squares = (embedding - self.embedding).square().sum(dim=1)
        if self.distance.squared:
            return squares
        apart = squares > 0
        return torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)


def _per_image(distance: Distance, images: Tensor, target: Tensor) -> Tensor:
    """The distance of each image, [n]. Raises PluginError for anything else."""
    found: object = distance(images, target)
    if isinstance(found, Tensor) and found.shape == (len(images),):
        return found
    seen = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
    raise PluginError(
        f"distance {distance.name!r} gave {seen} for {len(images)} pairs of images; it must give a tensor, one number "
        f"per pair, [{len(images)}]. Correct its __call__"
    )
