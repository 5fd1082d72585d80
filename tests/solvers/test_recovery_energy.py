"""The energy of recovery: distance, penalty and gradient, against formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from small_generators import Linear, Network, numbers, smooth_network
from torch import Tensor

from preimage.harness.distances import L2, SquaredL2
from preimage.harness.errors import GeneratorError, PluginError
from preimage.harness.generator import LatentSpace
from preimage.harness.priors import Uniform
from preimage.harness.solvers.energy import RecoveryEnergy


class Blurred:
    """A distance in an embedding that is not the pixels: differences of neighbours, squared or not."""

    name = "blurred"

    def __init__(self, squared: bool) -> None:
        self.squared, self.embedded = squared, 0

    def embed(self, x: Tensor) -> Tensor:
        self.embedded += len(x)
        return x.flatten(1).diff(dim=1)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squares = (self.embed(x) - self.embed(y)).square().sum(dim=1)
        return squares if self.squared else squares.sqrt()


@pytest.fixture
def generator() -> Network:
    return smooth_network()


@pytest.mark.parametrize("distance", [SquaredL2(), L2(), Blurred(True), Blurred(False)], ids=lambda d: d.name)
def test_energy_is_the_distance_and_its_gradient_points_uphill(generator: Network, distance: SquaredL2) -> None:
    target, code = generator.decode(numbers(5, 6, seed=3)), numbers(5, 6, seed=4)
    energy = RecoveryEnergy(generator, target, distance)
    value = energy(code)
    torch.testing.assert_close(value.energy, distance(generator.decode(code), target))
    step = 1e-2 * numbers(5, 6, seed=5)
    change = energy(code + step).energy.double() - energy(code - step).energy.double()
    torch.testing.assert_close((2 * (value.gradient * step).sum(dim=1)).double(), change, rtol=2e-2, atol=1e-4)


def test_the_target_is_embedded_once(generator: Network) -> None:
    distance = Blurred(True)
    energy = RecoveryEnergy(generator, generator.decode(numbers(5, 6)), distance)
    for _ in range(3):
        energy(numbers(5, 6, seed=1))
    assert distance.embedded == 5 + 3 * 5


def test_a_distance_of_zero_has_a_finite_gradient(generator: Network) -> None:
    code = numbers(4, 6)
    for distance in (L2(), Blurred(False)):
        value = RecoveryEnergy(generator, generator.decode(code), distance)(code)
        assert value.energy.tolist() == [0] * 4
        assert value.gradient.abs().max() == 0


def test_penalty_is_the_published_formula(generator: Network) -> None:
    target, code, beta = generator.decode(numbers(5, 6)), numbers(5, 6, seed=1), 0.01
    plain = RecoveryEnergy(generator, target, SquaredL2())(code)
    penalised = RecoveryEnergy(generator, target, SquaredL2(), beta=beta)(code)
    log_p = -0.5 * code.square().sum(dim=1) - 3 * math.log(2 * math.pi)
    torch.testing.assert_close(penalised.energy, plain.energy - beta / 6 * log_p)
    torch.testing.assert_close(penalised.gradient, plain.gradient + beta / 6 * code)
    assert RecoveryEnergy(generator, target, SquaredL2(), beta=beta).floor == -math.inf


def test_penalty_outside_the_support_is_passed_on(generator: Network) -> None:
    generator.spaces = {"z": LatentSpace("z", 6, Uniform())}
    energy = RecoveryEnergy(generator, torch.zeros(2, 1, 1, 40), SquaredL2(), beta=1.0)
    assert torch.isinf(energy(torch.full((2, 6), 1.5)).energy).all()


def test_penalty_needs_a_prior(generator: Network) -> None:
    generator.spaces = {"w": LatentSpace("w", 6, None)}
    with pytest.raises(GeneratorError, match=r"'w' has no prior.*beta=0"):
        RecoveryEnergy(generator, torch.zeros(2, 1, 1, 40), SquaredL2(), space="w", beta=0.1)


def test_operator_acts_on_both_sides(generator: Network) -> None:
    target, code = generator.decode(numbers(3, 6)), numbers(3, 6, seed=1)

    def half(images: Tensor) -> Tensor:
        return images[..., :20]

    energy = RecoveryEnergy(generator, target, SquaredL2(), operator=half)
    torch.testing.assert_close(energy(code).energy, SquaredL2()(generator.decode(code)[..., :20], target[..., :20]))


def test_select_narrows_everything() -> None:
    generator = Linear(4, 20, classes=3)
    label = torch.tensor([0, 1, 2, 1, 0])
    target, code = generator.decode(numbers(5, 4), label), numbers(5, 4, seed=1)
    for distance in (SquaredL2(), Blurred(True)):
        energy = RecoveryEnergy(generator, target, distance, label)
        index = torch.tensor([3, 0])
        whole, part = energy(code), energy.select(index)(code[index])
        torch.testing.assert_close(part.energy, whole.energy[index])
        torch.testing.assert_close(part.gradient, whole.gradient[index])


def test_a_constant_generator_has_gradient_zero() -> None:
    constant = Network(lambda code: torch.ones(len(code), 7) + 0 * code[:, :1], 3, 7)
    value = RecoveryEnergy(constant, torch.zeros(2, 1, 1, 7), SquaredL2())(numbers(2, 3))
    assert value.energy.tolist() == [1, 1]
    assert value.gradient.abs().max() == 0


@pytest.mark.parametrize(
    "decode", [lambda code: torch.ones(len(code), 7), lambda code: code.detach().repeat(1, 3)[:, :7]]
)
def test_images_that_autograd_cannot_follow_are_an_error(decode: Callable[[Tensor], Tensor]) -> None:
    energy = RecoveryEnergy(Network(decode, 3, 7), torch.zeros(2, 1, 1, 7), SquaredL2())
    with pytest.raises(GeneratorError, match="must not detach and must not run under no_grad"):
        energy(numbers(2, 3))


def test_non_finite_values_are_passed_on() -> None:
    generator = Network(lambda code: code.log(), 3, 3)
    value = RecoveryEnergy(generator, torch.zeros(2, 1, 1, 3), SquaredL2())(torch.tensor([[1.0, 2, 3], [1, -1, 2]]))
    assert torch.isfinite(value.energy).tolist() == [True, False]


def test_broken_generators_are_named() -> None:
    target = torch.zeros(2, 1, 1, 7)
    wide = Network(lambda code: torch.ones(len(code), 7), 3, 7)
    with pytest.raises(GeneratorError, match=r"the target.*\(2, 1, 1, 8\)"):
        RecoveryEnergy(wide, torch.zeros(2, 1, 1, 8), SquaredL2())
    double = Network(lambda code: code.double().repeat(1, 3)[:, :7], 3, 7)
    with pytest.raises(GeneratorError, match="float64"):
        RecoveryEnergy(double, target, SquaredL2())(numbers(2, 3))
    short = Network(lambda code: code.repeat(1, 3)[:, :7], 3, 7)
    short.decode = lambda code, label=None, *, space="z": code.view(-1, 1, 1, 3)  # type: ignore[method-assign]
    with pytest.raises(GeneratorError, match=r"\(2, 1, 1, 3\)"):
        RecoveryEnergy(short, target, SquaredL2())(numbers(2, 3))


def test_floor_is_the_same_error_in_both_units() -> None:
    generator = Linear(4, 100)
    target = torch.zeros(2, 1, 1, 100)
    squared, norm = (RecoveryEnergy(generator, target, d).floor for d in (SquaredL2(), L2()))
    assert norm == pytest.approx((squared * 100) ** 0.5)


class Broken(Blurred):
    """A stranger's distance whose call or embedding is changed by ``breaks``."""

    def __init__(self, breaks: Callable[[Tensor], object], embeds: bool) -> None:
        super().__init__(True)
        self.breaks, self.embeds = breaks, embeds

    def embed(self, x: Tensor) -> Tensor:
        return self.breaks(super().embed(x)) if self.embeds else None  # type: ignore[return-value]  # strangers may

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.breaks((x - y).square().flatten(1))  # type: ignore[return-value]  # strangers may


@pytest.mark.parametrize(
    ("breaks", "seen"),
    [
        (lambda v: v, r"shape \[5, \d+\] for 5 pairs"),
        (lambda v: v.mean(), r"shape \[\] for 5 pairs"),
        (lambda v: v.detach().numpy(), "ndarray for 5 pairs"),
    ],
)
def test_a_distance_that_is_not_per_image_is_told(
    generator: Network, breaks: Callable[[Tensor], object], seen: str
) -> None:
    energy = RecoveryEnergy(generator, generator.decode(numbers(5, 6, seed=3)), Broken(breaks, embeds=False))
    with pytest.raises(PluginError, match=rf"distance 'blurred' gave {seen} of images; .*Correct its __call__"):
        energy(numbers(5, 6, seed=4))


@pytest.mark.parametrize(
    ("breaks", "seen"),
    [
        (lambda v: v[:, None], r"as \[5, 1, \d+\]; it must be one row per image, \[5, k\]"),
        (lambda v: v.flatten(), r"as \[\d+\]; it must be one row per image"),
        (lambda v: v * math.nan, "that are not finite"),
    ],
)
def test_an_embedding_that_is_none_is_told(generator: Network, breaks: Callable[[Tensor], object], seen: str) -> None:
    with pytest.raises(PluginError, match=rf"distance 'blurred' embeds .*{seen}.*Correct its embed"):
        RecoveryEnergy(generator, generator.decode(numbers(5, 6, seed=3)), Broken(breaks, embeds=True))
