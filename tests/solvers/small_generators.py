"""Generators small enough to know everything about, for the tests of this folder."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from preimage.harness.cards import ImageSpec
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.priors import Prior, StandardNormal
from preimage.harness.solvers.interface import Value


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Linear(Generator):
    """``G(z) = W z + b`` with W [D, dim] of a given condition number, a matrix per class where there are classes."""

    def __init__(self, dim: int, pixels: int, *, condition: float = 10.0, classes: int = 0, seed: int = 0) -> None:
        super().__init__()
        spectrum = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), dim)
        self.weights = torch.stack(
            [
                2
                * torch.linalg.qr(numbers(pixels, dim, seed=seed + 2 * c))[0]
                @ torch.diag(spectrum)
                @ torch.linalg.qr(numbers(dim, dim, seed=seed + 2 * c + 1))[0]
                for c in range(max(1, classes))
            ]
        )
        self.bias = torch.rand(pixels, generator=torch.Generator().manual_seed(seed))
        self.spaces = {"z": LatentSpace("z", dim, StandardNormal())}
        self.image, self.num_classes = ImageSpec(1, 1, pixels), classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        weight = self.weights[torch.zeros(len(code), dtype=torch.int64) if label is None else label]
        return (torch.bmm(weight, code.unsqueeze(2)).squeeze(2) + self.bias).view(len(code), 1, 1, -1)

    def least_squares(self, target: Tensor, label: int = 0) -> Tensor:
        """The smallest mean squared error of each target, [n] float64."""
        weight = self.weights[label].double()
        residual = target.flatten(1).double() - self.bias
        best = torch.linalg.lstsq(weight, residual.T).solution
        return ((weight @ best).T - residual).square().mean(dim=1)


class Network(Generator):
    """Any network from codes to images of one row."""

    def __init__(
        self, net: nn.Module | Callable[[Tensor], Tensor], dim: int, pixels: int, prior: Prior | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.spaces = {"z": LatentSpace("z", dim, prior or StandardNormal())}
        self.image, self.num_classes = ImageSpec(1, 1, pixels), 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        return self.net(code).view(len(code), *self.image)


def smooth_network(dim: int = 6, pixels: int = 40, seed: int = 0) -> Network:
    """A tanh network of one hidden layer."""
    first, second = numbers(dim, 30, seed=seed) / dim**0.5, numbers(30, pixels, seed=seed + 1) / 30**0.5
    return Network(lambda code: torch.tanh(code @ first) @ second, dim, pixels)


class Formula:
    """An energy from a formula of code [n, dim] (and data [n, ...]) to [n]; counts its calls. No generator."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor], data: Tensor, floor: float = -math.inf) -> None:
        self.formula, self.data, self.floor, self.preconditioner = formula, data, floor, None
        self.widths: list[int] = []

    def __call__(self, code: Tensor) -> Value:
        self.widths.append(len(code))
        leaf = code.detach().requires_grad_()
        energy = self.formula(leaf, self.data)
        (gradient,) = torch.autograd.grad(energy.sum(), leaf)
        return Value(energy.detach(), gradient)

    def select(self, index: Tensor) -> Formula:
        chosen = Formula(self.formula, self.data[index], self.floor)
        chosen.widths = self.widths
        return chosen


def rosenbrock(code: Tensor, data: Tensor) -> Tensor:
    """Rosenbrock's valley in pairs of coordinates, shifted per image; 0 at ``1 + data``."""
    x = code - data
    return (100 * (x[:, 1::2] - x[:, ::2].square()).square() + (1 - x[:, ::2]).square()).sum(dim=1)
