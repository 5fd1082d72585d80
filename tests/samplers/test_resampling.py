"""Resampled chains: each goes on as often as its weight says, beside an exact chain too, and the dead stay dead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_models import numbers, short_path, streams

from preimage.harness.errors import UsageError
from preimage.harness.samplers.anneal import anneal
from preimage.harness.samplers.bounds import effective_chains, log_mean
from preimage.harness.samplers.hmc import Hmc, State
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.path import Value
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.resampling import Resampled, resample, resampling_points, systematic, systematic_beside
from preimage.harness.samplers.stepping import FrozenSteps

WEIGHTS = [[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.15, 0.05], [0.1, 0.6, 0.3, 0.0], [0.02, 0.0, 0.98, 0.0]]


def _counts(ancestor: torch.Tensor, chains: int = 4) -> torch.Tensor:
    """How often each chain is continued, [n, chains]."""
    return torch.nn.functional.one_hot(ancestor, chains).sum(dim=1).double()


def _uniform(rows: int, seed: int) -> torch.Tensor:
    return torch.rand(rows, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_chain_goes_on_as_often_as_its_weight_says_rounded_down_or_up(weights: list[float]) -> None:
    weight = torch.tensor(weights, dtype=torch.float64).expand(20_000, 4)
    counts = _counts(systematic(weight, _uniform(20_000, 1)))
    exact = 4 * weight[0]
    assert ((counts - exact).abs() < 1 - 1e-9).all() and (counts.sum(dim=1) == 4).all()
    torch.testing.assert_close(counts.mean(dim=0), exact, rtol=0, atol=0.015)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_beside_the_first_chain_the_draw_is_that_of_sets_in_which_it_goes_on(weights: list[float]) -> None:
    """The conditional law against rejection: of all draws those in which a place picked at random continues chain 0."""
    weight = torch.tensor(weights, dtype=torch.float64)
    tries = round(40_000 / weights[0])
    drawn = systematic(weight.expand(tries, 4), _uniform(tries, 2))
    place = torch.randint(4, (tries, 1), generator=torch.Generator().manual_seed(3))
    kept = _counts(drawn[(drawn.gather(1, place) == 0).squeeze(1)])
    beside = systematic_beside(weight.expand(40_000, 4), _uniform(40_000, 4))
    assert (beside[:, 0] == 0).all()
    counts = _counts(beside)
    torch.testing.assert_close(counts.mean(dim=0), kept.mean(dim=0), rtol=0, atol=0.02)
    torch.testing.assert_close(counts.T @ counts / 40_000, kept.T @ kept / len(kept), rtol=0, atol=0.06)


def _state(images: int, chains: int, seed: int) -> State:
    def of(*shape: int) -> torch.Tensor:
        return numbers(images, chains, *shape, seed=seed)

    return State(of(3), of(3), of().double(), Value(of().double(), of(3), of().double(), of(3)))


def test_a_chain_is_continued_whole_with_the_common_weight_and_fresh_momentum() -> None:
    state, log_weight = _state(5, 4, 1), 2 * numbers(5, 4, seed=2).double()
    found = resample(state, log_weight, streams("own", 5))
    torch.testing.assert_close(found.log_weight, log_mean(log_weight).unsqueeze(1).expand(5, 4))
    assert len(found.ancestor.unique()) > 1
    for i in range(5):
        for j, parent in enumerate(found.ancestor[i].tolist()):
            assert torch.equal(found.state.position[i, j], state.position[i, parent])
            assert all(
                torch.equal(new[i, j], old[i, parent]) for new, old in zip(found.state.value, state.value, strict=True)
            )
            assert not torch.equal(found.state.momentum[i, j], state.momentum[i, parent])
            assert found.state.level[i, j] != state.level[i, parent]


def test_beside_a_traced_chain_the_others_may_continue_it() -> None:
    traced, others = _state(40, 1, 1), _state(40, 3, 2)
    log_weight = torch.tensor([3.0, 0.0, 0.0, 0.0]).double().expand(40, 4)
    found = resample(others, log_weight, streams("own", 40), traced)
    assert found.ancestor.shape == (40, 3) and found.log_weight.shape == (40, 4)
    heirs = found.ancestor == 0
    assert heirs.double().mean() > 0.7
    assert torch.equal(found.state.position[heirs], traced.position.expand(40, 3, 3)[heirs])


def test_images_without_a_living_chain_stay_as_they_are() -> None:
    state = _state(2, 4, 1)
    log_weight = torch.tensor([[-torch.inf] * 4, [-torch.inf, 0.0, -torch.inf, 1.0]]).double()
    found = resample(state, log_weight, streams("own", 2))
    assert found.ancestor[0].tolist() == [0, 1, 2, 3] and (found.log_weight[0] == -torch.inf).all()
    assert set(found.ancestor[1].tolist()) == {1, 3} and torch.isfinite(found.log_weight[1]).all()


def test_points_lie_evenly_after_the_first_share_of_the_path() -> None:
    assert resampling_points(101, 10, 0.3) == {40, 50, 60, 70, 80, 90}
    assert resampling_points(101, 10, 0.0) == {10, 20, 30, 40, 50, 60, 70, 80, 90}
    assert resampling_points(101, 0, 0.3) == frozenset()
    assert resampling_points(4, 50, 0.3) == {1, 2}  # a short path is resampled after each transition


def test_the_effective_number_is_the_least_before_any_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = short_path("prior", 5)
    seen = []

    def watched(state: State, log_weight: torch.Tensor, *others: Any) -> Resampled:
        seen.append(effective_chains(log_weight))
        return resample(state, log_weight, *others)

    monkeypatch.setattr("preimage.harness.samplers.anneal.resample", watched)
    steps = FrozenSteps(torch.tensor([0.95]), 2)
    run = anneal(path, Hmc(2, 0.7, 0.1), steps, streams("own", 5), 4, frozenset({2, 4}))
    least = torch.stack([*seen, effective_chains(run.log_weight)]).min(dim=0).values
    assert len(seen) == 2 and torch.equal(run.ess, least) and (run.ess >= 1).all() and (run.ess <= 4).all()


@pytest.mark.parametrize("sampler", [PriorPath, Laplace])
def test_resampling_that_cannot_be_is_told(sampler: type[PriorPath] | type[Laplace]) -> None:
    with pytest.raises(UsageError, match="resamplings is -1; it is how often"):
        sampler(resamplings=-1)
    with pytest.raises(UsageError, match=r"resampled_after is 1\.0; a share of the path"):
        sampler(resampled_after=1.0)
