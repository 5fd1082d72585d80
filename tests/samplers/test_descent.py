"""The search for the best code: it finds the mode, each image by itself, past plateaus that noise covers."""

from __future__ import annotations

import pytest
import torch
from exact_models import Network, linear, model_curvature, numbers, simulated
from torch import Tensor

from preimage.harness.samplers.curvature import Curvature
from preimage.harness.samplers.descent import Descents, best_mode, descend, joint, nearest

SIGMA2 = 0.01


def _plateaus(z: Tensor) -> Tensor:
    """Where a coordinate is large the image hardly depends on it: far away, the slope leads nowhere in time."""
    return torch.tanh(2 * z) + 0.05 * torch.sin(5 * z)


@pytest.mark.parametrize("heat", [1.0, 8.0])
def test_a_descent_ends_at_the_mode_under_its_noise_at_its_cost(heat: float) -> None:
    generator = linear(6, 32)
    likelihood, made = simulated(generator, SIGMA2, 4)
    model = model_curvature(generator, made.u, SIGMA2)
    found = descend(likelihood, model, numbers(4, 3, 6), 30, heat)
    mode, _ = generator.tempered(made.image, SIGMA2, 1 / heat)
    torch.testing.assert_close(found.double(), mode.unsqueeze(1).expand(-1, 3, -1), rtol=0, atol=2e-3)
    assert likelihood.evaluations.tolist() == [3 * 30] * 4


def test_a_search_begins_near_the_image_and_under_noise_so_it_finds_modes_that_a_plain_descent_does_not() -> None:
    likelihood, made = simulated(Network(_plateaus, 4, 4), SIGMA2, 12)
    model = Curvature(torch.full((4,), 100.0).double(), torch.eye(4), torch.tensor(False))
    fresh = 2 * numbers(12, 32, 4)
    near = joint(likelihood, descend(likelihood, model, made.u.unsqueeze(1), 60))
    straight = joint(likelihood, descend(likelihood, model, fresh[:, :2], 60)).max(dim=1, keepdim=True).values
    before = likelihood.evaluations.clone()
    found = best_mode(likelihood, model, fresh[:, :2], fresh, Descents(20, starts=8, kept=2, heat=30.0))
    assert (likelihood.evaluations - before).tolist() == [32 + 8 * 20 + 8 + 4 * 40 + 4] * 12
    assert (joint(likelihood, found.unsqueeze(1)) > near - 0.1).all() and (straight < near - 3).any()


def test_the_nearest_draws_are_those_of_brute_force_whatever_the_parts() -> None:
    likelihood, _ = simulated(linear(5, 16), SIGMA2, 3)
    fresh = numbers(3, 13, 5)
    images = torch.stack([likelihood.generator.decode(fresh[:, k]) for k in range(13)], dim=1)
    away = (images - likelihood.target.unsqueeze(1)).flatten(2).norm(dim=2)
    expected = torch.stack([fresh[i, away[i].argsort()[:4]] for i in range(3)])
    assert torch.equal(nearest(likelihood, fresh, 4), expected)
    assert likelihood.evaluations.tolist() == [13] * 3


def test_a_start_that_is_not_finite_never_wins() -> None:
    whole = linear(3, 16)
    likelihood, made = simulated(whole, SIGMA2, 2)
    model = model_curvature(whole, made.u, SIGMA2)
    likelihood.generator = Network(lambda z: whole.decode(torch.where(z > 50, torch.nan, z)).flatten(1), 3, 16)
    starts = torch.stack([torch.full((2, 3), 60.0), numbers(2, 3)], dim=1)
    assert torch.equal(descend(likelihood, model, starts, 30)[:, 0], starts[:, 0])
    assert torch.equal(nearest(likelihood, starts, 1)[:, 0], starts[:, 1])
    found = best_mode(likelihood, model, starts[:, :1], starts, Descents(30, starts=2, kept=1))
    mode, _ = whole.tempered(made.image, SIGMA2, 1.0)
    torch.testing.assert_close(found.double(), mode, rtol=0, atol=2e-3)
