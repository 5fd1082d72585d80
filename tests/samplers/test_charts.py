"""Charts: they carry N(0, I) to the prior, and the likelihood that a sampler finds through them is the integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from exact_models import Network, numbers, simulated, streams
from scipy import stats
from torch import Tensor

from preimage.harness.errors import Refused
from preimage.harness.generator import LatentSpace
from preimage.harness.priors import Prior, SphereUniform, StandardNormal, TruncatedNormal, Uniform
from preimage.harness.samplers.anneal import anneal
from preimage.harness.samplers.bounds import lower_bound
from preimage.harness.samplers.charts import PlainChart, chart_of
from preimage.harness.samplers.hmc import Hmc
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.schedules import sigmoid_schedule
from preimage.harness.samplers.stepping import AdaptedSteps
from preimage.harness.streams import Streams

BOXES: list[Prior] = [StandardNormal(), TruncatedNormal(), TruncatedNormal(0.7), Uniform(), Uniform(0.25, 3.0)]
EVERY = [*BOXES, SphereUniform(), SphereUniform(2.5)]


class Shifted(Prior):
    """N(1.5, 1): a law that no chart is written for."""

    def sample(self, streams: Streams, dim: int) -> Tensor:
        return streams.normal(dim) + 1.5

    def log_prob(self, code: Tensor) -> Tensor:
        return StandardNormal().log_prob(code - 1.5)


@pytest.mark.parametrize("prior", BOXES, ids=str)
def test_the_density_carried_over_is_the_priors(prior: Prior) -> None:
    chart = chart_of(LatentSpace("z", 3, prior))
    u = (numbers(500, 3) * 1.3).requires_grad_()
    code = chart.code(u)
    (slope,) = torch.autograd.grad(code.sum(), u)  # entry by entry, so the Jacobian is diagonal
    carried = chart.log_prior(u.detach())[0] - slope.double().log().sum(dim=1)
    torch.testing.assert_close(carried, prior.log_prob(code.detach()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("prior", EVERY, ids=str)
def test_codes_of_draws_follow_the_prior_and_lift_back(prior: Prior) -> None:
    dim, count = 3, 4000
    chart = chart_of(LatentSpace("z", dim, prior))
    carried = chart.code(chart.draw(streams("u", 1), count, dim)[0])
    drawn = prior.sample(streams("z", count), dim)
    for i in range(dim):
        assert stats.ks_2samp(carried[:, i].numpy(), drawn[:, i].numpy()).pvalue > 1e-3
    u = chart.lift(drawn, streams("lift", count))
    torch.testing.assert_close(chart.code(u), drawn, rtol=1e-4, atol=1e-4)
    for i in range(dim):
        assert stats.kstest(u[:, i].numpy(), stats.norm().cdf).pvalue > 1e-3


@pytest.mark.parametrize("prior", EVERY, ids=str)
def test_far_out_a_chart_stays_finite(prior: Prior) -> None:
    chart = chart_of(LatentSpace("z", 2, prior))
    u = torch.tensor([[8.0, -8.0], [30.0, 0.1], [1e-3, -30.0]], requires_grad=True)
    code = chart.code(u)
    (slope,) = torch.autograd.grad(code.sum(), u)
    assert torch.isfinite(code).all() and torch.isfinite(slope).all()
    edges = torch.tensor([[-1.0, 1.0], [0.25, 3.0], [2.0, -2.0]])
    assert torch.isfinite(chart.lift(prior.project(edges), streams("lift", 3))).all()


def _bend(code: Tensor) -> Tensor:
    return torch.stack([code.sum(dim=1), (2 * code[:, 0]).sin(), code[:, -1].square()], dim=1) * 0.5


def _integral(prior: Prior, x: Tensor, sigma2: float) -> Tensor:
    """log p(x) of the two-dimensional model by a fine grid over codes, not over the chart's coordinates."""
    if isinstance(prior, SphereUniform):
        angle = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)[:-1]
        codes = prior.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        cell = 2 * math.pi * prior.radius / 20000
        density = torch.full((20000,), -math.log(2 * math.pi * prior.radius), dtype=torch.float64)
    else:
        low, high = {Uniform: (-1.0, 1.0), TruncatedNormal: (-2.0, 2.0)}.get(type(prior), (-6.0, 8.0))
        side = torch.linspace(low, high, 1401, dtype=torch.float64)
        side = (side[1:] + side[:-1]) / 2
        codes = torch.cartesian_prod(side, side)
        cell = ((high - low) / 1400) ** 2
        density = prior.log_prob(codes)
    away = (_bend(codes).unsqueeze(0) - x.flatten(1).double().unsqueeze(1)).square().sum(dim=2)
    joint = density - away / (2 * sigma2) - 1.5 * math.log(2 * math.pi * sigma2)
    return torch.logsumexp(joint, dim=1) + math.log(cell)


@pytest.mark.parametrize(
    "prior",
    [StandardNormal(), TruncatedNormal(), Uniform(), SphereUniform(1.5), Shifted()],
    ids=lambda p: type(p).__name__,
)
def test_annealing_finds_the_integral_under_every_prior(prior: Prior) -> None:
    sigma2 = 0.1
    likelihood, made = simulated(Network(_bend, 2, 3, prior), sigma2, 6)
    path = Path(likelihood, sigmoid_schedule(100), torch.full((2,), 5.0))
    run = anneal(path, Hmc(2, 0.5), AdaptedSteps(first=0.3, most=0.8), streams("chains", 6), 1000)
    truth = _integral(prior, made.image, sigma2)
    torch.testing.assert_close(lower_bound(run.log_weight), truth, rtol=0, atol=0.2)
    assert (lower_bound(run.log_weight) - truth).abs().mean() < 0.08


def test_the_slope_of_a_foreign_prior_is_autograds() -> None:
    density, slope = PlainChart(Shifted()).log_prior(numbers(5, 2))
    torch.testing.assert_close(slope, 1.5 - numbers(5, 2))
    np.testing.assert_allclose(density.numpy(), stats.norm(1.5).logpdf(numbers(5, 2).numpy()).sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize("prior", [StandardNormal(), Shifted()], ids=lambda p: type(p).__name__)
def test_a_prior_is_the_same_in_every_frame(prior: Prior) -> None:
    likelihood, _ = simulated(Network(_bend, 2, 3, prior), 0.1, 4)
    turned = likelihood.rotated(torch.tensor([[0.8, -0.6], [0.6, 0.8]]))
    u = numbers(4, 5, 2)
    density, slope = likelihood.log_prior(u)
    found, found_slope = turned.log_prior(turned.to_frame(u))
    torch.testing.assert_close(found, density, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(turned.to_chart(found_slope), slope, rtol=1e-5, atol=1e-5)


def test_a_space_without_a_density_is_refused() -> None:
    with pytest.raises(Refused, match=r"space 'w' has no prior.*--set space=z"):
        chart_of(LatentSpace("w", 3, None))
