"""Priors: moments of the draws, densities against scipy and closed forms, projections."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from preimage.harness.priors import Prior, SphereUniform, StandardNormal, TruncatedNormal, Uniform
from preimage.harness.streams import Streams

PRIORS: list[Prior] = [
    StandardNormal(),
    TruncatedNormal(),
    TruncatedNormal(0.7),
    Uniform(),
    Uniform(0.25, 3.0),
    SphereUniform(),
    SphereUniform(2.5),
]
LAWS = [
    (StandardNormal(), stats.norm()),
    (TruncatedNormal(), stats.truncnorm(-2, 2)),
    (TruncatedNormal(0.7), stats.truncnorm(-0.7, 0.7)),
    (Uniform(), stats.uniform(-1, 2)),
    (Uniform(0.25, 3.0), stats.uniform(0.25, 2.75)),
]


def code_of(seed: int, scale: float) -> Tensor:
    return Streams([seed, seed + 1, seed + 2, seed + 3]).normal(6) * scale


codes = st.builds(code_of, st.integers(0, 2**32), st.sampled_from([0.0, 1e-40, 1e-30, 1e-3, 0.3, 1.0, 3.0, 30.0, 1e6]))


def many(prior: Prior, dim: int, count: int = 4000) -> Tensor:
    return prior.sample(Streams(range(count)), dim)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_a_draw_is_float32_and_depends_on_its_stream_alone(prior: Prior) -> None:
    draws = many(prior, 5, 10)
    assert draws.shape == (10, 5)
    assert draws.dtype == torch.float32
    assert torch.equal(prior.sample(Streams([7]), 5)[0], draws[7])


@pytest.mark.parametrize(("prior", "law"), LAWS, ids=[repr(prior) for prior, _ in LAWS])
def test_draws_and_density_against_scipy(prior: Prior, law: Any) -> None:
    draws = many(prior, 6).double().numpy()
    mean, variance = law.stats(moments="mv")
    spread = float(variance) ** 0.5
    assert np.allclose(draws.mean(axis=0), mean, atol=4.5 * spread / len(draws) ** 0.5)
    covariance = np.cov(draws.T)
    assert np.allclose(covariance, variance * np.eye(6), atol=4.5 * 1.5 * variance / len(draws) ** 0.5)
    assert stats.kstest(draws.ravel(), law.cdf).pvalue > 1e-3
    log_prob = prior.log_prob(torch.from_numpy(draws[:50]).float())
    assert log_prob.dtype == torch.float64
    assert log_prob.shape == (50,)
    assert np.allclose(log_prob.numpy(), law.logpdf(draws[:50].astype(np.float32)).sum(axis=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS[1:], ids=repr)
def test_outside_the_support_the_density_is_zero(prior: Prior) -> None:
    inside = many(prior, 4, 6)
    outside = inside.clone()
    outside[1, 2] = 9.0
    density = prior.log_prob(outside)
    assert density[1] == -math.inf
    assert torch.equal(density[[0, 2, 3, 4, 5]], prior.log_prob(inside)[[0, 2, 3, 4, 5]])
    assert torch.isfinite(prior.log_prob(inside)).all()


def test_the_edge_of_a_box_belongs_to_it() -> None:
    bound = 0.7  # not a float32
    assert torch.isfinite(TruncatedNormal(bound).log_prob(torch.full((1, 3), bound))).all()
    assert torch.isfinite(Uniform(0.1, 0.3).log_prob(torch.tensor([[0.1, 0.3]]))).all()


@pytest.mark.parametrize(("dim", "area"), [(1, 2.0), (2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_the_sphere_has_its_area(dim: int, area: float, radius: float) -> None:
    prior = SphereUniform(radius)
    expected = -math.log(area * radius ** (dim - 1))
    assert prior.log_prob(many(prior, dim, 3)).tolist() == pytest.approx([expected] * 3, abs=1e-12)


def test_the_sphere_is_covered_evenly() -> None:
    draws = many(SphereUniform(2.5), 3).double().numpy()
    assert np.allclose(np.linalg.norm(draws, axis=1), 2.5, atol=1e-5)
    for axis in range(3):  # Archimedes: on S^2 each coordinate is uniform
        assert stats.kstest(draws[:, axis], stats.uniform(-2.5, 5).cdf).pvalue > 1e-3
    assert np.allclose(draws.T @ draws / len(draws), 2.5**2 / 3 * np.eye(3), atol=0.2)


def test_densities_are_differentiable_inside() -> None:
    for prior in PRIORS:
        code = many(prior, 3, 2).clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(prior.log_prob(code).sum(), code)
        normal = isinstance(prior, (StandardNormal, TruncatedNormal))
        assert torch.allclose(gradient, -code if normal else torch.zeros_like(code), atol=1e-6), prior


def test_the_ball_has_three_standard_deviations_of_the_chi_squared_law() -> None:
    for dim in (1, 64, 512):
        chi2 = stats.chi2(dim)
        radius = math.sqrt(chi2.mean() + 3 * chi2.std())
        far = StandardNormal().project(torch.full((1, dim), 10.0))
        assert float(far.norm()) == pytest.approx(radius, rel=1e-6)
        assert torch.allclose(far / far[0, 0], torch.ones(1, dim))
        near = torch.full((1, dim), 0.999 * radius / dim**0.5)
        assert torch.equal(StandardNormal().project(near), near)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@settings(max_examples=30, deadline=None)
@given(code=codes)
def test_projection_is_idempotent_and_lands_in_the_plausible_set(prior: Prior, code: Tensor) -> None:
    once = prior.project(code)
    assert torch.allclose(prior.project(once), once, rtol=1e-5, atol=0)
    norm = once.double().norm(dim=1)
    match prior:
        case StandardNormal():
            assert (norm <= math.sqrt(6 + 3 * math.sqrt(12)) * (1 + 1e-6)).all()
        case SphereUniform(radius):
            assert torch.allclose(norm, torch.full_like(norm, radius), rtol=1e-5)
        case _:
            assert torch.isfinite(prior.log_prob(once)).all()


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@settings(max_examples=30, deadline=None)
@given(code=codes, other=codes)
def test_no_plausible_code_is_nearer_than_the_projection(prior: Prior, code: Tensor, other: Tensor) -> None:
    plausible = prior.project(other)
    nearest = (prior.project(code) - code).norm(dim=1)
    assert (nearest <= (plausible - code).norm(dim=1) * (1 + 1e-5) + 1e-5).all()


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_most_draws_are_plausible(prior: Prior) -> None:
    draws = many(prior, 64, 500)
    moved = (prior.project(draws) - draws).norm(dim=1) > 1e-4
    assert moved.double().mean() < 0.02


def test_an_unfinished_prior_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="Prior does not say how to sample"):
        Prior().sample(Streams([1]), 2)
    with pytest.raises(NotImplementedError, match="Prior does not give a density"):
        Prior().log_prob(torch.zeros(1, 2))
    with pytest.raises(NotImplementedError, match="Prior does not say which codes are plausible"):
        Prior().project(torch.zeros(1, 2))


@pytest.mark.parametrize("make", [lambda: TruncatedNormal(0.0), lambda: Uniform(1.0, 1.0), lambda: Uniform(2.0, 1.0)])
def test_an_empty_support_is_refused(make: Callable[[], Prior]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        make()
