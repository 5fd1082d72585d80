"""The model's metric against explicit Jacobians, and the preconditioner against dense inverses."""

from __future__ import annotations

import pytest
import torch
from small_generators import Linear, Network, numbers, smooth_network
from torch import Tensor
from torch.func import jacrev

from preimage.harness.distances import L2, Distance, SquaredL2
from preimage.harness.errors import GeneratorError
from preimage.harness.solvers.metric import DAMPING, Metric, MetricPreconditioner, measure_metric


class Warped:
    """A distance in a nonlinear embedding."""

    name, squared = "warped", True

    def embed(self, x: Tensor) -> Tensor:
        return torch.sin(x.flatten(1)).cumsum(dim=1)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.embed(x) - self.embed(y)).square().sum(dim=1)


class Opaque(SquaredL2):
    """A distance without an embedding."""

    def embed(self, x: Tensor) -> None:  # type: ignore[override]
        return None


class Halved(torch.autograd.Function):
    """``x / 2``, without a forward-mode derivative."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x / 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient / 2


def explicit(generator: Network, distance: Distance, codes: Tensor, divisor: float) -> Tensor:
    """``mean of J^T J / divisor`` with J by reverse mode, in float64."""
    total = torch.zeros(codes.shape[1], codes.shape[1], dtype=torch.float64)
    for code in codes:
        jacobian = jacrev(lambda z: distance.embed(generator.decode(z[None]))[0])(code).double()  # type: ignore[index]
        total += jacobian.T @ jacobian / divisor
    return total / len(codes)


@pytest.mark.parametrize(
    ("distance", "divisor"), [(SquaredL2(), 1), (L2(), 40), (Warped(), 1)], ids=["mse", "l2", "warped"]
)
def test_metric_is_the_mean_of_explicit_jacobians(distance: Distance, divisor: float) -> None:
    generator, codes = smooth_network(), numbers(10, 6, seed=7)
    metric = measure_metric(generator, distance, codes, width=4)
    assert metric.matrix.dtype == torch.float64
    assert torch.equal(metric.matrix, metric.matrix.T)
    torch.testing.assert_close(metric.matrix, explicit(generator, distance, codes, divisor), rtol=1e-4, atol=1e-6)
    assert (metric.evaluations, metric.products, metric.embedded) == (60, "forward", True)
    assert (metric.outputs, metric.squared) == (divisor, distance.squared)


def test_metric_of_a_distance_without_embedding_is_that_of_the_pixels() -> None:
    generator, codes = smooth_network(), numbers(10, 6, seed=7)
    opaque, plain = (measure_metric(generator, d, codes) for d in (Opaque(), SquaredL2()))
    torch.testing.assert_close(opaque.matrix, plain.matrix)
    assert not opaque.embedded
    assert opaque.squared


def test_metric_without_forward_mode_is_the_same() -> None:
    generator, codes = smooth_network(), numbers(10, 6, seed=7)
    halved = Network(lambda code: Halved.apply(2 * generator.net(code)), 6, 40)
    forward, backward = measure_metric(generator, SquaredL2(), codes), measure_metric(halved, SquaredL2(), codes)
    assert backward.products == "double backward"
    assert backward.evaluations == forward.evaluations
    torch.testing.assert_close(backward.matrix, forward.matrix, rtol=1e-5, atol=1e-8)


def test_metric_of_a_linear_generator_per_label() -> None:
    generator = Linear(5, 30, classes=2)
    for label in (0, 1):
        metric = measure_metric(generator, SquaredL2(), numbers(3, 5), torch.full((3,), label))
        weight = generator.weights[label].double()
        torch.testing.assert_close(metric.matrix, weight.T @ weight / 30, rtol=1e-5, atol=1e-7)


def test_metric_of_an_operated_image() -> None:
    generator = Linear(5, 30)
    metric = measure_metric(generator, SquaredL2(), numbers(3, 5), operator=lambda images: images[..., :10])
    weight = generator.weights[0, :10].double()
    torch.testing.assert_close(metric.matrix, weight.T @ weight / 10, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "net",
    [
        lambda code: torch.ones(len(code), 7),
        lambda code: 0 * code.sum(dim=1, keepdim=True).expand(-1, 7),
        lambda code: Halved.apply(code.sign()).sum(dim=1, keepdim=True).expand(-1, 7),
    ],
    ids=["unconnected", "zero", "sign"],
)
def test_a_constant_generator_preconditions_with_the_identity(net: torch.nn.Module) -> None:
    metric = measure_metric(Network(net, 3, 7), SquaredL2(), numbers(4, 3))
    assert metric.matrix.abs().max() == 0
    preconditioner, vector = MetricPreconditioner([metric]), numbers(4, 3, seed=1)
    for product in (preconditioner.inverse, preconditioner.colour, preconditioner.adjoint):
        torch.testing.assert_close(product(vector), vector)


def test_one_latent_dimension() -> None:
    generator = Linear(1, 8)
    metric = measure_metric(generator, SquaredL2(), numbers(4, 1))
    expected = 1 / (2 * metric.matrix.item() * (1 + DAMPING))
    torch.testing.assert_close(MetricPreconditioner([metric]).inverse(torch.ones(2, 1)), torch.full((2, 1), expected))


def test_a_jacobian_that_is_not_finite_is_refused() -> None:
    with pytest.raises(GeneratorError, match=r"not finite.*preimage check"):
        measure_metric(Network(lambda code: code.sqrt(), 3, 3), SquaredL2(), numbers(4, 3))


def skewed(seed: int, squared: bool = True) -> Metric:
    root = numbers(5, 5, seed=seed).double() * torch.tensor([1, 0.3, 0.1, 0.03, 0.01])
    return Metric(root @ root.T, 1 if squared else 12, squared, True, 0, "forward")


def test_preconditioner_is_the_dense_inverse_of_each_image() -> None:
    metrics, which = [skewed(0), skewed(1), skewed(2)], torch.tensor([2, 0, 0, 1])
    preconditioner, vector = MetricPreconditioner(metrics, which), numbers(4, 5, seed=3)
    for kept in (torch.arange(4), torch.tensor([3, 1])):
        part = preconditioner.select(kept)
        for i, image in enumerate(kept.tolist()):
            matrix = metrics[int(which[image])].matrix
            largest = torch.linalg.eigvalsh(matrix)[-1]
            inverse = torch.linalg.inv(2 * (matrix + DAMPING * largest * torch.eye(5))).float()
            torch.testing.assert_close(part.inverse(vector[kept])[i], inverse @ vector[image], rtol=1e-4, atol=1e-4)
            spread = inverse * (5 / inverse.trace())
            torch.testing.assert_close(
                part.colour(part.adjoint(vector[kept]))[i], spread @ vector[image], rtol=1e-4, atol=1e-4
            )


def test_colour_is_not_its_own_transpose() -> None:
    preconditioner = MetricPreconditioner([skewed(0)])
    colour = preconditioner.colour(torch.eye(5)).T
    torch.testing.assert_close(preconditioner.adjoint(torch.eye(5)).T, colour.T)
    assert not torch.allclose(colour, colour.T, atol=0.05)


def test_scale_of_a_norm_is_that_of_its_gauss_newton_hessian() -> None:
    generator, code = Linear(5, 30, condition=3), numbers(4, 5)
    target = generator.decode(numbers(4, 5, seed=1)) + 3
    preconditioner = MetricPreconditioner([measure_metric(generator, L2(), code)], damping=0.0)
    residual = generator.decode(code) - target
    hessian = (generator.weights[0].T @ generator.weights[0]) / residual.flatten(1).norm(dim=1)[:, None, None]
    vector = numbers(4, 5, seed=2)
    inverse = preconditioner.scale(L2()(generator.decode(code), target))[:, None] * preconditioner.inverse(vector)
    torch.testing.assert_close(torch.bmm(hessian, inverse[:, :, None])[:, :, 0], vector, rtol=1e-3, atol=1e-4)
