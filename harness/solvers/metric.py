"""The model's metric: how far, on average over the prior, an image moves when its code does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from preimage.harness.distances import Distance, embedded
from preimage.harness.errors import NotFiniteJacobian
from preimage.harness.generator import Generator, check_images

DRAWS = 64
"""Prior draws that the metric is the mean over."""

DAMPING = 0.003
"""What the preconditioner adds to every eigenvalue, as a share of the largest; 0.001 to 0.01 does about as well."""

Products = Callable[[Tensor, Tensor], Tensor]
"""Codes and tangents, both [n, dim], to the products J t of each image's Jacobian, [n, k]."""


class Metric(NamedTuple):
    """``A = mean over draws of J^T J / D``, D the number of outputs (1 for the embedding of a squared distance).

    matrix: [dim, dim] float64, symmetric. outputs: D, or 1. squared: of the distance; of a distance that is not, A
    belongs to its square. embedded: whether J is of the distance's embedding, not of the image. evaluations: generator
    evaluations spent. products: how J t was taken.
    """

    matrix: Tensor
    outputs: int
    squared: bool
    embedded: bool
    evaluations: int
    products: Literal["forward", "double backward"]


def measure_metric(
    generator: Generator,
    distance: Distance,
    codes: Tensor,
    label: Tensor | None = None,
    *,
    space: str = "z",
    operator: Callable[[Tensor], Tensor] | None = None,
    width: int = 128,
    who: str | None = None,
) -> Metric:
    """The metric of a model in a space, under a distance.

    codes: draws from the prior, [m, dim] float32 (``DRAWS`` of them). label: [m] int64 or None. ``J`` is the Jacobian
    of the distance's embedding of the (operated) image, of the image's pixels where the distance has none. It takes
    dim forward-mode products per draw, each counted as one generator evaluation; ``width`` of them are made at once.
    A network with an operation that has no forward-mode derivative gets the same products by differentiating ``J^T w``
    in w. who: what errors call the generator; its class where not said. Raises NotFiniteJacobian.
    """
    has_embedding = False

    def outputs(code: Tensor, chosen: Tensor | None) -> Tensor:
        nonlocal has_embedding
        images = check_images(generator.decode(code, chosen, space=space), len(code), generator.image, "the metric")
        if operator is not None:
            images = operator(images)
        embedding = embedded(distance, images)
        has_embedding = embedding is not None
        if embedding is not None:
            return embedding
        return images.flatten(1) * (1 / math.sqrt(images[0].numel()))

    products: Literal["forward", "double backward"] = "forward"
    count, dim = codes.shape
    total = torch.zeros(dim, dim, dtype=torch.float64, device=codes.device)
    tangents = torch.eye(dim, dtype=codes.dtype, device=codes.device)
    size = 0
    for i in range(count):

        def at(code: Tensor, row: int = i) -> Tensor:
            return outputs(code, None if label is None else label[row].expand(len(code)))

        try:
            jacobian = _jacobian(at, codes[i], tangents, width, _forward if products == "forward" else _double_backward)
        except (NotImplementedError, RuntimeError):  # torch raises either where an operation has no such derivative
            products = "double backward"
            jacobian = _jacobian(at, codes[i], tangents, width, _double_backward)
        size = jacobian.shape[1]
        for part in torch.split(jacobian, 1 << 16, dim=1):  # float64 of a part of the outputs at a time
            total += part.double() @ part.double().T
    squared = distance.squared or not has_embedding
    divisor = 1 if squared else size
    matrix = total / (count * divisor)
    if not torch.isfinite(matrix).all():
        raise NotFiniteJacobian(
            f"the Jacobian of {who or type(generator).__name__} is not finite at draws from its prior "
            f"({count} were taken). Run `preimage check` on the model, or use a solver or "
            "sampler that needs no metric"
        )
    return Metric((matrix + matrix.T) / 2, divisor, squared, has_embedding, count * dim, products)


def _jacobian(
    outputs: Callable[[Tensor], Tensor],
    code: Tensor,
    tangents: Tensor,
    width: int,
    products: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor],
) -> Tensor:
    """The transposed Jacobian at one code [dim], [dim, k]: ``width`` rows at a time."""
    return torch.cat([products(outputs, code.expand(len(part), -1), part) for part in torch.split(tangents, width)])


def _forward(outputs: Callable[[Tensor], Tensor], codes: Tensor, tangents: Tensor) -> Tensor:
    """J t by forward-mode differentiation at one code, of which ``codes`` are copies: the image is decoded once."""

    def product(tangent: Tensor) -> Tensor:
        pushed: Tensor = torch.func.jvp(lambda code: outputs(code.unsqueeze(0)).squeeze(0), (codes[0],), (tangent,))[1]
        return pushed

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns once that an operation of complex type loses its tangent
        result: Tensor = torch.func.vmap(product)(tangents)
        return result


def _double_backward(outputs: Callable[[Tensor], Tensor], codes: Tensor, tangents: Tensor) -> Tensor:
    """The same, exactly: ``J^T w`` is linear in w, and its derivative along t is ``J t``."""
    with torch.enable_grad():
        leaf = codes.detach().clone().requires_grad_()
        result = outputs(leaf)
        weights = torch.zeros_like(result, requires_grad=True)
        if not result.requires_grad:
            return torch.zeros_like(result)
        (pulled,) = torch.autograd.grad(result, leaf, weights, create_graph=True, allow_unused=True)
        if pulled is None or not pulled.requires_grad:
            return torch.zeros_like(result)
        (pushed,) = torch.autograd.grad(pulled, weights, tangents, allow_unused=True)
    return torch.zeros_like(result) if pushed is None else pushed.detach()


class MetricPreconditioner:
    """``H = (2 (A + damping lambda_max I))^-1``: the inverse of a squared distance's mean Gauss-Newton Hessian, damped.

    A distance f that is not squared, ``f^2 = F``, has along a step the Gauss-Newton Hessian ``D A / f``, so its H is
    that of F times ``2 f / D``: this is ``scale``. ``colour`` is ``L = Q c (lambda + damping lambda_max)^-1/2`` with
    ``trace(L L^T) = dim``, so that white steps and coloured steps are equally long on average.

    metrics: one per label (or just one), of one distance. which: for each image its metric, [n] int64; None: the first.
    A metric of zeros (a constant generator) preconditions with the identity.
    """

    def __init__(self, metrics: Sequence[Metric], which: Tensor | None = None, *, damping: float = DAMPING) -> None:
        values, vectors = torch.linalg.eigh(torch.stack([m.matrix for m in metrics]))
        largest = values[:, -1:].clamp_min(0.0)
        damped = torch.where(largest > 0, values.clamp_min(0.0) + damping * largest, 0.5)
        self._inverses = ((vectors / (2 * damped).unsqueeze(1)) @ vectors.mT).float()
        spread = damped.rsqrt()
        spread = spread / spread.square().mean(dim=1, keepdim=True).sqrt()
        self._colours = (vectors * spread.unsqueeze(1)).float()
        self._which = which if len(metrics) > 1 else None
        self._squared, self._outputs = metrics[0].squared, metrics[0].outputs

    def inverse(self, vector: Tensor) -> Tensor:
        """H v per image, up to ``scale``, [n, dim] -> [n, dim]."""
        return self._apply(self._inverses, vector)

    def scale(self, energy: Tensor) -> Tensor:
        """The factor on ``inverse`` at this energy, [n] -> [n]: 1 for squared distances."""
        return torch.ones_like(energy) if self._squared else energy * (2 / self._outputs)

    def colour(self, vector: Tensor) -> Tensor:
        """L v, [n, dim] -> [n, dim]."""
        return self._apply(self._colours.mT, vector)

    def adjoint(self, vector: Tensor) -> Tensor:
        """L^T v, [n, dim] -> [n, dim]."""
        return self._apply(self._colours, vector)

    def select(self, index: Tensor) -> MetricPreconditioner:
        """The preconditioner of the images at [k] indices."""
        chosen = object.__new__(MetricPreconditioner)
        chosen.__dict__.update(self.__dict__)
        chosen._which = None if self._which is None else self._which[index]
        return chosen

    def _apply(self, matrices: Tensor, vector: Tensor) -> Tensor:
        """Row vectors times each image's matrix."""
        if self._which is None:
            return vector @ matrices[0]
        return torch.bmm(vector.unsqueeze(1), matrices[self._which]).squeeze(1)
