"""Adam and RMSprop against torch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_generators import numbers, smooth_network

from preimage.harness.distances import SquaredL2
from preimage.harness.errors import UsageError
from preimage.harness.solvers import Adam, RMSprop
from preimage.harness.solvers.energy import RecoveryEnergy
from preimage.harness.solvers.metric import MetricPreconditioner, measure_metric
from preimage.harness.solvers.minimise import minimise


def energy_of(images: int, metric: bool = False) -> RecoveryEnergy:
    generator = smooth_network()
    preconditioner = MetricPreconditioner([measure_metric(generator, SquaredL2(), numbers(8, 6))]) if metric else None
    return RecoveryEnergy(generator, numbers(images, 1, 1, 40, seed=9), SquaredL2(), preconditioner=preconditioner)


def trajectory(solver: Any, energy: RecoveryEnergy, steps: int, images: int) -> torch.Tensor:
    """The codes evaluated, [steps, images, dim]."""
    state, codes = solver.init(energy, numbers(images, 6, seed=1)), []
    for _ in range(steps):
        state, info = solver.step(energy, state, None, None)
        codes.append(info.code)
    return torch.stack(codes)


@pytest.mark.parametrize(
    ("solver", "theirs", "cosine"),
    [
        (Adam(steps=60), lambda p: torch.optim.Adam(p, lr=0.05), True),
        (
            Adam(steps=60, schedule="constant", lr=0.02, beta1=0.8, beta2=0.9, eps=1e-3),
            lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.9), eps=1e-3),
            False,
        ),
        (RMSprop(), torch.optim.RMSprop, False),
        (RMSprop(lr=0.03, alpha=0.9, eps=1e-4), lambda p: torch.optim.RMSprop(p, lr=0.03, alpha=0.9, eps=1e-4), False),
    ],
    ids=["adam-cosine", "adam-settings", "rmsprop", "rmsprop-settings"],
)
def test_each_image_walks_as_torch_walks_it(solver: Any, theirs: Any, cosine: bool) -> None:
    for image in range(3):
        alone, code = energy_of(3).select(torch.tensor([image])), numbers(1, 6, seed=1).requires_grad_()
        ours = trajectory(solver, alone, 60, 1)
        optimiser = theirs([code])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 60) if cosine else None
        for step in range(60):
            torch.testing.assert_close(ours[step], code.detach(), rtol=1e-5, atol=1e-5)
            code.grad = alone(code.detach()).gradient
            optimiser.step()
            if schedule is not None:
                schedule.step()


def test_whitened_adam_is_adam_in_whitened_coordinates() -> None:
    """``z = z0 + L u``: the same steps as torch's Adam on u."""
    energy = energy_of(1, metric=True)
    metric = energy.preconditioner
    assert metric is not None
    ours, start = trajectory(Adam(steps=40, whitened=True), energy, 40, 1), numbers(1, 6, seed=1)
    white = torch.zeros(1, 6, requires_grad=True)
    optimiser = torch.optim.Adam([white], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 40)
    for step in range(40):
        code = start + metric.colour(white.detach())
        torch.testing.assert_close(ours[step], code, rtol=1e-4, atol=1e-4)
        white.grad = metric.adjoint(energy(code).gradient)
        optimiser.step()
        schedule.step()


def test_whitened_adam_wants_a_metric() -> None:
    with pytest.raises(UsageError, match="whitened=false"):
        minimise(energy_of(2), Adam(whitened=True), numbers(2, 6))
    assert Adam(whitened=True).needs_metric
    assert not Adam().needs_metric


def test_cosine_ends_at_zero() -> None:
    codes = trajectory(Adam(steps=30), energy_of(2), 30, 2)
    first, last = (codes[1] - codes[0]).abs().max(), (codes[-1] - codes[-2]).abs().max()
    assert last < first * 0.5 * (1 + math.cos(math.pi * 27 / 30))
