"""Distances between images: differentiable, per image, on unclamped images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Distance(Protocol):
    """``distance(x, y) -> [n]`` for images [n, c, h, w].

    Where the distance is Euclidean in an embedding e, ``embed(x)`` gives e(x), [n, k]; the distance is then
    ``||e(x) - e(y)||^2`` if ``squared`` and ``||e(x) - e(y)||`` if not. Elsewhere ``embed`` gives None.
    """

    name: str
    squared: bool

    def __call__(self, x: Tensor, y: Tensor) -> Tensor: ...

    def embed(self, x: Tensor) -> Tensor | None: ...


class SquaredL2:
    """The mean squared difference over the D values of an image (METHODS 1): ``l2`` squared, over D."""

    name = "squared-l2"
    squared = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().flatten(1).mean(dim=1)

    def embed(self, x: Tensor) -> Tensor | None:
        flat = x.flatten(1)
        scaled: Tensor = flat * float(flat.shape[1]) ** -0.5
        return scaled


class L2:
    """The Euclidean norm of the difference over all D values of an image; its gradient is 0 where the difference is."""

    name = "l2"
    squared = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        import torch

        squares = (x - y).square().flatten(1).sum(dim=1)
        apart = squares > 0
        return torch.where(
            apart, torch.where(apart, squares, torch.ones_like(squares)).sqrt(), torch.zeros_like(squares)
        )

    def embed(self, x: Tensor) -> Tensor | None:
        return x.flatten(1)


def distance(name: str) -> Distance:
    """The registered distance of that name, e.g. ``distance("squared-l2")``. Raises UnknownName."""
    from preimage.harness.plugins import installed

    return installed().distance(name)
