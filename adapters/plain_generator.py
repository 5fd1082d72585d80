"""A generator that is one network: codes in, images in [-1, 1] out."""

from __future__ import annotations

from typing import Self, cast

from torch import Tensor, nn

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import Prior, StandardNormal


class PlainGenerator(Generator):
    """Unconditional: codes z [n, dim] of one space, N(0, I) unless another prior is given."""

    def __init__(self, network: nn.Module, dim: int, image: ImageSpec, prior: Prior | None = None) -> None:
        super().__init__()
        self.network = network
        self.spaces = {"z": LatentSpace("z", dim, prior or StandardNormal())}
        self.image = image
        self.num_classes = 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        check_codes(code, self.space(space))
        return (cast(Tensor, self.network(code)) + 1) * 0.5

    def frozen(self) -> Self:
        """Itself, in eval mode and without gradients of its weights."""
        return self.eval().requires_grad_(False)


def check_codes(code: Tensor, space: LatentSpace) -> None:
    """Raises GeneratorError unless the codes are flat and of the space's dimension."""
    if code.ndim != 2 or code.shape[1] != space.dim:
        raise GeneratorError(f"codes of space {space.name!r} are [n, {space.dim}], not {list(code.shape)}")
