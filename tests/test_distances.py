"""Distances without weights, weighted sums and their names."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preimage.harness import distance
from preimage.harness.distances import CrossEntropy, identity_of, terms
from preimage.harness.errors import UnknownName, UsageError


def images(seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(4, 1, 6, 5, generator=torch.Generator().manual_seed(seed))


def test_cross_entropy_is_that_of_torch() -> None:
    x, y = images(0), images(1)
    wanted = functional.binary_cross_entropy(x, y, reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(CrossEntropy()(x, y), wanted)
    assert not torch.allclose(CrossEntropy()(y, x), wanted), "it is not symmetric: y is the target"


def test_cross_entropy_is_least_at_the_target() -> None:
    y = images(1, 0.05, 0.95)
    x = y.clone().requires_grad_()
    value = CrossEntropy()(x, y)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.abs().max() < 1e-6
    assert (CrossEntropy()(images(2), y) > value).all()
    assert (value > 0).all(), "the target's own entropy, not 0"


def test_the_gradient_of_cross_entropy_is_exact() -> None:
    x, y = images(0, -0.2, 1.2), images(1)
    inside = ((x > 0) & (x < 1)).float()
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(CrossEntropy()(leaf, y).sum(), leaf)
    wanted = -(y / x - (1 - y) / (1 - x)) / x[0].numel()
    torch.testing.assert_close(gradient * inside, wanted * inside, rtol=1e-5, atol=1e-7)


def test_outside_the_unit_interval_cross_entropy_leads_back() -> None:
    x, y = images(0, -0.5, 1.5).requires_grad_(), images(1)
    value = CrossEntropy()(x, y)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(value).all() and torch.isfinite(gradient).all()
    assert (gradient[x < 0] < 0).all() and (gradient[x > 1] > 0).all()


def test_sums_of_distances_without_weights_have_no_identity() -> None:
    x, y = images(0), images(1)
    both = distance("squared-l2 + 0.5*cross-entropy")
    torch.testing.assert_close(both(x, y), distance("squared-l2")(x, y) + 0.5 * CrossEntropy()(x, y))
    assert identity_of(both) == ""
    assert both.embed(x) is None, "cross-entropy has no embedding"
    assert distance("squared-l2+l2").embed(x) is None, "l2 is not squared"


def test_terms_of_a_name() -> None:
    assert terms("squared-l2+0.1*lpips-alex") == [(1.0, "squared-l2"), (0.1, "lpips-alex")]
    assert terms("2e-1*l2") == [(0.2, "l2")]


@pytest.mark.parametrize("name", ["l2+", "+l2", "l2++squared-l2"])
def test_a_sum_without_a_part_is_told(name: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(repr(name))}: a part of the sum is empty"):
        distance(name)


@pytest.mark.parametrize("weight", ["x", "-1", "0", "nan", "inf", ""])
def test_a_weight_that_is_none(weight: str) -> None:
    with pytest.raises(UsageError, match=r"is not a positive number\. Write a sum as e\.g\. squared-l2"):
        distance(f"l2+{weight}*squared-l2")


@pytest.mark.parametrize("name", ["lpips-alexx", "squared-l2+0.1*lpips-alexx"])
def test_a_misspelt_distance_is_told(name: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown distance 'lpips-alexx'\. Did you mean 'lpips-alex'"):
        distance(name)
