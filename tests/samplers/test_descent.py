"""The search for the best code: it finds the mode, each image by itself, past plateaus that noise covers."""

from __future__ import annotations

import pytest
import torch
from exact_models import Network, linear, model_curvature, numbers, simulated
from torch import Tensor

from preimage.harness.samplers.curvature import Curvature
from preimage.harness.samplers.descent import Descents, best_mode, descend
from preimage.harness.samplers.likelihood import Likelihood

SIGMA2 = 0.01


def _plateaus(z: Tensor) -> Tensor:
    """Where a coordinate is large the image hardly depends on it: far away, the slope leads nowhere in time."""
    return torch.tanh(2 * z) + 0.05 * torch.sin(5 * z)


def _joint(likelihood: Likelihood, u: Tensor) -> Tensor:
    value, prior = likelihood(u.unsqueeze(1))[0], likelihood.log_prior(u.unsqueeze(1))[0]
    return (value + prior)[:, 0]


@pytest.mark.parametrize("heat", [1.0, 8.0])
def test_a_descent_ends_at_the_mode_under_its_noise_at_its_cost(heat: float) -> None:
    generator = linear(6, 32)
    likelihood, made = simulated(generator, SIGMA2, 4)
    model = model_curvature(generator, made.u, SIGMA2)
    found = descend(likelihood, model, numbers(4, 3, 6), 30, heat)
    mode, _ = generator.tempered(made.image, SIGMA2, 1 / heat)
    torch.testing.assert_close(found.double(), mode.unsqueeze(1).expand(-1, 3, -1), rtol=0, atol=2e-3)
    assert likelihood.evaluations.tolist() == [3 * 30] * 4


def test_noise_that_cools_down_finds_modes_that_a_plain_descent_does_not() -> None:
    likelihood, made = simulated(Network(_plateaus, 4, 4), SIGMA2, 12)
    model = Curvature(torch.full((4,), 100.0).double(), torch.eye(4), torch.tensor(False))
    fresh = 2 * numbers(12, 4, 4)
    near = _joint(likelihood, descend(likelihood, model, made.u.unsqueeze(1), 60).squeeze(1))
    straight = _joint(likelihood, best_mode(likelihood, model, fresh, fresh, Descents(60, ())))
    cooled = _joint(likelihood, best_mode(likelihood, model, fresh, fresh, Descents(20, (100.0, 10.0, 1.0))))
    assert (cooled > near - 0.1).all() and (straight < near - 3).any()


def test_a_start_that_is_not_finite_never_wins() -> None:
    whole = linear(3, 16)
    likelihood, made = simulated(whole, SIGMA2, 2)
    model = model_curvature(whole, made.u, SIGMA2)
    likelihood.generator = Network(lambda z: whole.decode(torch.where(z > 50, torch.nan, z)).flatten(1), 3, 16)
    ends = torch.stack([torch.full((2, 3), 60.0), numbers(2, 3)], dim=1)
    assert torch.equal(descend(likelihood, model, ends, 30)[:, 0], ends[:, 0])
    found = best_mode(likelihood, model, ends, ends, Descents(30, (1.0,)))
    mode, _ = whole.tempered(made.image, SIGMA2, 1.0)
    torch.testing.assert_close(found.double(), mode, rtol=0, atol=2e-3)
