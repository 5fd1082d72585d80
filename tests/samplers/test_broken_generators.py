"""Generators that are not finite here and there: rejections, weights of zero, borrowed curvatures, clear errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from exact_models import Network, exactly, linear, simulated, streams, tuned
from torch import Tensor

from preimage.harness.errors import GeneratorError, NotFiniteJacobian
from preimage.harness.samplers.anneal import anneal, check_alive
from preimage.harness.samplers.bounds import lower_bound
from preimage.harness.samplers.curvature import chart_metric
from preimage.harness.samplers.hmc import Hmc
from preimage.harness.samplers.interface import Estimate, Sampler
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.samplers.schedules import sigmoid_schedule
from preimage.harness.samplers.stepping import AdaptedSteps

SIGMA2 = 0.05
EVERY: list[Sampler] = [Published(100), PriorPath(100), Laplace(400, pilot_least=100)]


def _broken_above(z: Tensor, edge: float) -> Tensor:
    return torch.where(z > edge, torch.nan, z)


def test_what_is_not_finite_is_never_accepted_counted_and_worth_nothing() -> None:
    edge, sigma2 = 0.8, 0.3
    generator = Network(lambda z: _broken_above(z, edge), 1, 1)
    likelihood, _ = simulated(Network(lambda z: z, 1, 1), sigma2, 5)
    likelihood.generator = generator
    path = Path(likelihood, sigmoid_schedule(40), torch.ones(1))
    run = anneal(path, Hmc(2, 0.5), AdaptedSteps(first=0.5, most=1.0), streams("own", 5), 2000)
    alive = torch.isfinite(run.log_weight)
    assert torch.isfinite(run.position).all() and (run.position[alive] <= edge).all()
    assert (run.log_weight[~alive] == -math.inf).all() and 0.1 < (~alive).double().mean() < 0.4
    assert (run.non_finite > 0).all() and not run.dead.all(dim=1).any()
    assert torch.equal(run.dead, ~alive)
    grid = torch.linspace(-8, edge, 20001, dtype=torch.float64)
    x = likelihood.target.reshape(-1, 1).double()
    joint = -0.5 * grid**2 - (grid - x) ** 2 / (2 * sigma2) - math.log(2 * math.pi * math.sqrt(sigma2))
    truth = torch.logsumexp(joint, dim=1) + math.log(float(grid[1] - grid[0]))
    torch.testing.assert_close(lower_bound(run.log_weight), truth, rtol=0, atol=0.1)
    check_alive(run)


class Backless(torch.autograd.Function):
    """The identity, whose derivative is NaN."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope * torch.nan


@pytest.mark.parametrize("sampler", EVERY, ids=lambda s: s.name)
@pytest.mark.parametrize("net", [lambda z: z * torch.nan, Backless.apply], ids=["images", "gradients"])
def test_where_every_chain_dies_the_images_are_named(net: object, sampler: Sampler) -> None:
    fixed = tuned(linear(2, 2), SIGMA2)
    likelihood, made = simulated(Network(lambda z: z, 2, 2), SIGMA2, 3)
    likelihood.generator = Network(net, 2, 2)  # type: ignore[arg-type]  # a lambda or an autograd function
    message = r"every chain died on 3 of 3 images \(indices \[0, 1, 2\]\).*preimage check"
    with pytest.raises(GeneratorError, match=message):
        sampler.estimate(likelihood, fixed.curve, fixed.numbers, streams("own", 3))
    if sampler.needs_tuning:
        with pytest.raises(GeneratorError, match=message):
            sampler.tune(likelihood, fixed.curve, streams("own", 3), exactly(made))


class Forwardless(torch.autograd.Function):
    """The identity, whose forward-mode derivative alone is NaN: gradients are found, Jacobians are not."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return z.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * torch.nan


class Torn(Network):
    """A network that breaks off Jacobians where the label is 1."""

    num_classes = 2

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        whole: Tensor = super().decode(code)
        broken: Tensor = super().decode(Forwardless.apply(code))  # type: ignore[no-untyped-call]
        assert label is not None
        return torch.where(label.reshape(-1, 1, 1, 1) == 1, broken, whole)


def test_a_jacobian_that_is_not_finite_concerns_its_image_alone() -> None:
    whole = linear(3, 16)
    fixed = tuned(whole, SIGMA2)
    _, made = simulated(whole, SIGMA2, 4)
    torn = Torn(lambda z: whole.decode(z).flatten(1), 3, 16)
    torn.num_classes = 2

    def run(label: list[int]) -> Estimate:
        likelihood = Likelihood(torn, made.image, SIGMA2, torch.tensor(label))
        sampler = Laplace(300, pilot_least=60)
        return sampler.estimate(likelihood, fixed.curve, fixed.numbers, streams("own", 4), exactly(made))

    sound, torn_one = run([0, 0, 0, 0]), run([0, 1, 0, 0])
    assert not sound.borrowed.any() and torn_one.borrowed.tolist() == [False, True, False, False]
    others = torch.tensor([0, 2, 3])
    for value, beside in zip(sound, torn_one, strict=True):
        assert value is not None and beside is not None
        assert torch.equal(value[others], beside[others])
    truth = whole.log_density(made.image, SIGMA2)
    assert (torn_one.lower - truth).abs().max() < 1 and torn_one.lower[1] != sound.lower[1]
    assert torch.equal(sound.evaluations, torn_one.evaluations)


def test_a_start_that_no_chain_leaves_costs_the_mixture_its_share_and_no_error() -> None:
    """The measured chains of the image are dead, the pilot's are not."""
    whole = linear(3, 16)
    fixed = tuned(whole, SIGMA2)
    likelihood, made = simulated(whole, SIGMA2, 2)
    sampler = Laplace(600, pilot_least=300)
    calls = 0

    def failing(z: Tensor) -> Tensor:
        nonlocal calls
        calls += len(z) == 8 and torch.is_grad_enabled()
        return whole.decode(z).flatten(1) * (torch.nan if calls > 300 + 2 * sampler.descent else 1.0)

    likelihood.generator = Network(failing, 3, 16)
    found = sampler.estimate(likelihood, fixed.curve, fixed.numbers, streams("own", 2))
    assert found.dead.tolist() == [4, 4] and (found.log_weight == -math.inf).all()
    assert found.pilot_log_weight is not None
    torch.testing.assert_close(found.lower, lower_bound(found.pilot_log_weight) + math.log1p(-fixed.numbers["share"]))
    assert torch.isfinite(found.code).all()
    assert (found.lower - whole.log_density(made.image, SIGMA2)).abs().max() < 6


def test_a_model_whose_own_images_are_not_finite_is_told_so() -> None:
    torn = Network(lambda z: linear(3, 16).decode(z).flatten(1) / (z[:, :1] > 0), 3, 16)
    with pytest.raises(GeneratorError, match="of 32 images that Network makes of draws from its prior are not finite"):
        simulated(torn, SIGMA2, 32)


def test_a_jacobian_that_is_nowhere_finite_names_the_model() -> None:
    torn = Network(lambda z: linear(3, 16).decode(z).flatten(1) + 0 * (z - z).sum(dim=1, keepdim=True).sqrt(), 3, 16)
    with pytest.raises(NotFiniteJacobian, match="the Jacobian of Network is not finite"):
        chart_metric(torn, torch.zeros(2, 3))
