"""Transitions: they keep their law, go back where they came from, and survive what is not finite."""

from __future__ import annotations

import math

import pytest
import torch
from exact_models import Network, exactly, linear, model_curvature, numbers, simulated, streams, tuned
from torch import Tensor

from preimage.harness.errors import UsageError
from preimage.harness.samplers.anneal import anneal
from preimage.harness.samplers.bounds import lower_bound
from preimage.harness.samplers.estimating import transition
from preimage.harness.samplers.hmc import Hmc, Noise, Rung, State, leapfrog, noises
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.prior_annealing import prior_path
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.ranges import LONGEST
from preimage.harness.samplers.schedules import sigmoid_schedule, spectral_schedule
from preimage.harness.samplers.stepping import AdaptedSteps, FrozenSteps, Steps, TunedSteps

SIGMA2 = 0.05


def _size(step: float) -> Tensor:
    return torch.full((1, 1, 1), step, dtype=torch.float64)


@pytest.mark.parametrize(
    ("persistence", "shift", "step", "metric"),
    [
        (0.0, 1.0, 1.7, True),
        (0.7, 1.0, 1.7, True),
        (0.7, 0.1, 1.7, True),
        (0.7, 1.0, 0.35, False),
        (0.7, 0.1, 0.35, False),
        (0.95, 1.0, 1.5, True),
        (0.95, 0.03, 1.5, True),
    ],
)
def test_every_tempered_law_is_left_as_it_was(persistence: float, shift: float, step: float, metric: bool) -> None:
    generator, chains, beta = linear(3, 8, condition=4.0), 20_000, 0.3
    likelihood, made = simulated(generator, SIGMA2, 1)
    curve = model_curvature(generator, made.u, SIGMA2)
    eigenvalues = curve.eigenvalues if metric else torch.zeros(3, dtype=torch.float64)
    framed = likelihood.rotated(curve.rotation)
    path = Path(framed, torch.tensor([0.0, beta, 1.0], dtype=torch.float64), eigenvalues)
    mean, cov = generator.tempered(made.image, SIGMA2, beta)
    draws = (mean + numbers(chains, 3).double() @ torch.linalg.cholesky(cov).T).float()
    sampler, own = Hmc(2, persistence, shift), streams("own", 1)
    state = sampler.init(path, framed.to_frame(draws.unsqueeze(0)), own)
    accepted = []
    for _ in range(12):
        state, info = sampler.step(path, state, Rung(1, _size(step)), next(noises(own, chains, 3, 1)))
        accepted.append(float(info.accepted.double().mean()))
    assert 0.3 < sum(accepted) / len(accepted) < 0.97  # enough rejections for a wrong ratio to show
    now = framed.to_chart(state.position)[0].double()
    white = (now - mean) @ torch.linalg.inv(torch.linalg.cholesky(cov)).T
    level = state.level[0].unsqueeze(1) * math.sqrt(3)  # of variance 1, were it uniform still
    assert level.abs().max() <= math.sqrt(3)
    assert float((state.level.abs() < 0.5).double().mean()) == pytest.approx(0.5, abs=0.015)
    for sample in (torch.cat([white, level], dim=1), torch.cat([state.momentum[0].double(), level], dim=1)):
        assert sample.mean(dim=0).abs().max() < 4.5 / math.sqrt(chains)
        assert (sample.T @ sample / chains - torch.eye(4)).abs().max() < 6.5 / math.sqrt(chains)
    assert (now - draws).square().mean() > 0.1 * cov.diagonal().mean()  # it moves


def _curved() -> Path:
    generator = Network(lambda z: torch.tanh(z @ numbers(3, 8)) + z[:, :1] ** 2, 3, 8)
    likelihood, _ = simulated(generator, 1.0, 4)
    return Path(likelihood, sigmoid_schedule(6), torch.tensor([0.0, 3.0, 40.0]))


def _state(path: Path, chains: int) -> State:
    position = numbers(4, chains, 3) * 0.3
    return State(position, numbers(4, chains, 3, seed=1), torch.zeros(4, chains).double(), path.value(position))


def test_leapfrog_goes_back_where_it_came_from() -> None:
    path = _curved()
    start = _state(path, 5)
    rung = Rung(3, torch.tensor([0.05, 0.1, 0.2, 0.02]).reshape(4, 1, 1))
    there = leapfrog(path, start, rung, 7)
    back = leapfrog(path, there._replace(momentum=-there.momentum), rung, 7)
    assert (there.position - start.position).abs().mean() > 0.05
    torch.testing.assert_close(back.position, start.position, rtol=0, atol=2e-4)
    torch.testing.assert_close(-back.momentum, start.momentum, rtol=0, atol=2e-3)


def test_the_energy_error_falls_with_the_square_of_the_step() -> None:
    path = _curved()
    start = _state(path, 50)
    t = path.at(3)

    def error(step: float, count: int) -> float:
        end = leapfrog(path, start, Rung(3, _size(step)), count)
        energies = [s.value.log_density(t) - 0.5 * s.momentum.square().sum(dim=2).double() for s in (start, end)]
        return float((energies[1] - energies[0]).abs().median())

    assert 2.5 < error(0.08, 5) / error(0.04, 10) < 6.5


def test_a_rejection_keeps_the_position_and_negates_the_momentum() -> None:
    path, sampler = _curved(), Hmc(2, 0.7)
    state = sampler.init(path, numbers(4, 2, 3), streams("own", 4))
    after, info = sampler.step(path, state, Rung(3, _size(1e3)), next(noises(streams("next", 4), 2, 3, 1)))
    assert not info.accepted.any()
    refreshed = 0.7 * state.momentum + math.sqrt(1 - 0.49) * streams("next", 4).normal(2, 3)
    torch.testing.assert_close(after.momentum, -refreshed)
    assert torch.equal(after.position, state.position) and torch.equal(after.value.ratio, state.value.ratio)


def test_a_transition_leads_back_where_it_came_from_level_and_all() -> None:
    path, sampler = _curved(), Hmc(2, 0.7, 0.2)
    state = sampler.init(path, numbers(4, 200, 3) * 0.3, streams("own", 4))
    rung, noise = Rung(3, _size(0.4)), next(noises(streams("next", 4), 200, 3, 1))
    after, info = sampler.step(path, state, rung, noise)
    assert 0.2 < info.accepted.double().mean() < 0.9
    level = state.level + 0.4 * noise.uniform
    level = torch.where(level > 1, level - 2, level)
    assert torch.equal(info.accepted, level.abs() < info.chance)
    unshifted = Noise(-after.momentum, torch.zeros_like(noise.uniform))
    back, again = Hmc(2, 0.0, 0.2).step(path, after, rung, unshifted)
    assert torch.equal(again.accepted, info.accepted)
    torch.testing.assert_close(back.position, state.position, rtol=0, atol=1e-4)
    torch.testing.assert_close(back.level, level, rtol=0, atol=1e-3)


@pytest.mark.parametrize("leapfrogs", [1, 2, 10])
def test_a_transition_costs_its_leapfrogs_and_nothing_more(leapfrogs: int) -> None:
    generator = linear(4)
    likelihood, _ = simulated(generator, SIGMA2, 3)
    path = Path(likelihood, sigmoid_schedule(20), torch.zeros(4))
    generator.differentiated = 0
    run = anneal(path, Hmc(leapfrogs), AdaptedSteps(), streams("own", 3), 5)
    assert generator.differentiated == 3 * 5 * (1 + leapfrogs * 19)
    assert run.evaluations.tolist() == likelihood.evaluations.tolist() == [5 * (1 + leapfrogs * 19)] * 3


def test_half_a_turn_is_accepted_and_does_not_mix_so_it_is_refused() -> None:
    generator, images = linear(16, 128, condition=30.0), 6
    likelihood, made = simulated(generator, 0.01, images)
    curve = model_curvature(generator, made.u, 0.01)
    path = Path(likelihood.rotated(curve.rotation), spectral_schedule(100, curve.eigenvalues), curve.eigenvalues)
    truth = generator.log_density(made.image, 0.01)

    class Mirror(AdaptedSteps):
        def size(self, steps: Steps, share: float) -> Tensor:
            return torch.full_like(steps.size, 2 * math.sin(math.pi / 20))  # a leapfrog then turns by pi / 10

    mirrored = anneal(path, Hmc(10, 0.0), Mirror(), streams("own", images), 4)
    short = anneal(path, Hmc(2, 0.7), FrozenSteps(torch.tensor([0.5]), 2), streams("own", images), 4)
    assert mirrored.acceptance.mean() > 0.97 and mirrored.evaluations[0] > 4 * short.evaluations[0]
    miss, hit = ((truth - lower_bound(run.log_weight)).mean() for run in (mirrored, short))
    assert miss > 10 and miss > 4 * hit.abs()
    with pytest.raises(UsageError, match=r"leapfrogs x step at most 2.0 \(it is 3.14\)"):
        FrozenSteps(torch.tensor([math.pi / 10]), 10)
    for leapfrogs in (2, 10):
        found = PriorPath(600, leapfrogs=leapfrogs).tune(likelihood, curve, streams("tuning", images), exactly(made))
        assert max(found.values()) * leapfrogs <= LONGEST


def test_steps_that_are_not_above_zero_are_refused() -> None:
    with pytest.raises(UsageError, match="steps must be above 0"):
        FrozenSteps(torch.tensor([0.3, 0.0]), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [((0, 0.5, 1.0), "leapfrogs is 0"), ((2, 1.0, 1.0), "persistence is 1.0"), ((2, 0.5, 0.0), "shift is 0.0")],
)
def test_settings_that_cannot_be_meant(settings: tuple[int, float, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Hmc(*settings)


def test_adapted_steps_follow_each_images_own_acceptance() -> None:
    rule = AdaptedSteps()
    steps = rule.init(3)
    for _ in range(20):
        steps = rule.update(steps, torch.tensor([[1.0, 1.0], [0.0, 0.2], [0.66, 0.66]], dtype=torch.float64))
    expected = torch.tensor([0.05 * 1.02**20, 0.05 * 0.98**20, 0.05 * 1.02**20], dtype=torch.float64)
    torch.testing.assert_close(rule.size(steps, 0.5), expected)
    for _ in range(400):
        steps = rule.update(steps, torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64))
    torch.testing.assert_close(steps.size, torch.tensor([0.5, 1e-4, 1e-4], dtype=torch.float64))


def test_tuned_steps_come_to_the_acceptance_they_aim_at() -> None:
    generator = linear(16, 128, condition=30.0)
    likelihood, made = simulated(generator, 0.01, 8)
    curve = model_curvature(generator, made.u, 0.01)
    sampler, rule = PriorPath(700), TunedSteps(target=0.9)
    run = anneal(prior_path(sampler, likelihood, curve), transition(sampler), rule, streams("own", 8), 4)
    assert run.acceptance[:, 50:].mean() == pytest.approx(0.9, abs=0.02)
    assert torch.equal(run.steps, run.steps[:1].expand(8, -1))  # one for all images
    frozen = FrozenSteps.of("prior_step", tuned(generator, 0.01).numbers, 2)
    assert frozen.size(frozen.init(2), 0.0).tolist() == [float(frozen.table[0])] * 2
    assert frozen.size(frozen.init(2), 1.0).tolist() == [float(frozen.table[-1])] * 2
    half = frozen.size(frozen.init(1), 0.5 / (len(frozen.table) - 1))
    assert float(half) == pytest.approx(float(frozen.table[:2].mean()))
