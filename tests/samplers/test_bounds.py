"""From log-weights to bounds, and how far apart they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from preimage.harness.errors import EmptySplit
from preimage.harness.likelihood_scores import bits_per_dim
from preimage.harness.samplers.bounds import effective_chains, gap_of, lower_bound, mixed, upper_bound
from preimage.harness.samplers.ranges import chain_cost, intervals_for


def test_bounds_from_weights() -> None:
    weights = torch.tensor([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(lower_bound(weights.log()).exp(), torch.tensor([2.0, 2.0]).double())
    torch.testing.assert_close(upper_bound(weights.log()).exp(), torch.tensor([1.5, 2.0]).double())
    torch.testing.assert_close(effective_chains(weights.log()), torch.tensor([64 / 20, 4.0]).double())
    far = torch.tensor([[-1e5, -math.inf]], dtype=torch.float64)
    assert lower_bound(far).item() == pytest.approx(-1e5 - math.log(2))


def test_the_mixture_costs_a_tenth_of_a_nat_where_the_start_holds_and_two_where_it_fails() -> None:
    laplace, pilot = torch.tensor([10.0, -500.0]).double(), torch.tensor([4.0, 4.0]).double()
    assert mixed(laplace, pilot, 0.9).tolist() == pytest.approx(
        [10 + math.log(0.9 + 0.1 * math.exp(-6)), 4 + math.log(0.1)]
    )
    assert (-mixed(-torch.tensor([900.0]), -torch.tensor([12.0]), 0.9)).item() == pytest.approx(12 - math.log(0.1))


def test_bits_per_dim_of_a_uniform_image_are_minus_eight() -> None:
    assert bits_per_dim(np.array([0.0, 784 * math.log(2)]), np.full(2, 784.0)).tolist() == pytest.approx([-8.0, -7.0])


def test_the_gap_has_an_error_and_quantiles() -> None:
    gap = gap_of(torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, 10.0]))
    assert (
        gap.mean == 4.0 and gap.error == pytest.approx(np.std([1, 2, 3, 10], ddof=1) / 2) and gap.median in (2.0, 2.5)
    )
    assert gap.largest == 10.0 and gap.images == 4
    assert math.isnan(gap_of(torch.zeros(1), torch.ones(1)).error)
    with pytest.raises(EmptySplit, match="simulate at least 1"):
        gap_of(torch.zeros(0), torch.zeros(0))


def test_the_best_budget_fits_exactly() -> None:
    assert [intervals_for(count, 10) for count in (4991, 1000, 11, 1)] == [500, 100, 2, 1]
    assert [chain_cost(count, 10) for count in (4991, 1000, 11, 1)] == [4991, 991, 11, 1]
