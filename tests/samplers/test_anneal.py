"""Bounds on log p(x): against closed forms, against each other, and image by image."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path as Folder

import numpy as np
import pytest
import torch
from exact_models import Fixed, Linear, exactly, linear, model_curvature, numbers, simulated, streams, tuned
from torch import Tensor

from preimage.harness.errors import EmptySplit, UsageError
from preimage.harness.generator import Generator
from preimage.harness.samplers.anneal import anneal, anneal_back
from preimage.harness.samplers.bounds import (
    bits_per_dim,
    effective_chains,
    gap_of,
    lower_bound,
    mixed,
    upper_bound,
)
from preimage.harness.samplers.curvature import image_curvature
from preimage.harness.samplers.hmc import Hmc
from preimage.harness.samplers.interface import Estimate, Exact, Sampler
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.laplace_start import laplace_path, polish
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.path import Path
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.samplers.ranges import intervals_for
from preimage.harness.samplers.schedules import sigmoid_schedule, spectral_schedule
from preimage.harness.samplers.simulate import simulate
from preimage.harness.samplers.stepping import FrozenSteps
from preimage.harness.streams import Streams, seed_of

SIGMA2 = 0.01


SAMPLERS: dict[str, Callable[[int], Sampler]] = {"published": Published, "prior-path": PriorPath, "laplace": Laplace}


def _estimate(
    name: str, evaluations: int, likelihood: Likelihood, fixed: Fixed, own: Streams, exact: Exact | None = None
) -> Estimate:
    sampler = SAMPLERS[name](evaluations)
    return sampler.estimate(likelihood, fixed.curve, fixed.numbers, own, exact)


def _measure(
    sampler: str, evaluations: int, generator: Generator, images: int, seed: int = 0
) -> tuple[Estimate, Tensor]:
    """Both bounds on simulated images, and the images."""
    likelihood, made = simulated(generator, SIGMA2, images, seed)
    own, exact = streams("chains", images, seed), exactly(made, seed)
    return _estimate(sampler, evaluations, likelihood, tuned(generator, SIGMA2), own, exact), made.image


@pytest.mark.parametrize("sampler", ["prior-path", "laplace"])
def test_the_reference_linear_gaussian_within_its_tolerance(sampler: str, shared: Folder) -> None:
    with np.load(shared / "golden" / "linear-gaussian" / "linear_gaussian.npz") as file:
        golden = {name: torch.from_numpy(file[name]) for name in file.files}
    generator, sigma2 = Linear(golden["W"], golden["b"]), float(golden["sigma"]) ** 2
    x, truth = golden["x"].reshape(16, 1, 1, 256), golden["log_px"]
    torch.testing.assert_close(generator.log_density(x, sigma2), truth, rtol=1e-6, atol=1e-5)
    likelihood, fixed = Likelihood(generator, x, sigma2), tuned(generator, sigma2)
    off = _estimate(sampler, 2500, likelihood, fixed, streams("chains", 16)).lower - truth
    assert off.mean().abs() < 0.3 and off.abs().max() < (0.5 if sampler == "laplace" else 2.0)
    if sampler == "laplace":
        published = Published(4991).estimate(likelihood, None, {}, streams("chains", 16)).lower - truth
        assert -120 < published.mean() < -20  # METHODS: 51 nats low on average


@pytest.mark.parametrize("sampler", ["published", "prior-path", "laplace"])
@pytest.mark.parametrize("dim", [1, 16, 64])
def test_the_truth_lies_between_the_bounds(sampler: str, dim: int) -> None:
    generator = linear(dim, 128)
    found, image = _measure(sampler, 600, generator, 16)
    truth = generator.log_density(image, SIGMA2)
    assert found.upper is not None
    for bound, sign in ((found.lower, 1.0), (found.upper, -1.0)):
        over = sign * (bound - truth)
        assert over.mean() < 2 * over.std() / 4
        assert over.max() < 5  # P(w / p(x) > e^5) is below 0.007 for an unbiased w
    assert gap_of(found.lower, found.upper).mean < {"published": 150, "prior-path": 9, "laplace": 3}[sampler]


@pytest.mark.parametrize("persistence", [0.0, 0.7])
@pytest.mark.parametrize("start", ["prior", "laplace"])
def test_weights_are_unbiased_forward_and_backward(start: str, persistence: float) -> None:
    images, chains = 200, 100
    generator = linear(2, 4, condition=2.0)
    likelihood, made = simulated(generator, 1.0, images)
    truth = generator.log_density(made.image, 1.0).unsqueeze(1)
    curve = model_curvature(generator, made.u, 1.0)
    if start == "prior":
        path = Path(likelihood.rotated(curve.rotation), spectral_schedule(6, curve.eigenvalues), curve.eigenvalues)
    else:
        mode = generator.tempered(made.image, 1.0, 1.0)[0].float()
        off = mode + 0.3 * numbers(images, 2, seed=5)  # a bad z*: the start is off, the weights must make up for it
        path = laplace_path(likelihood, off, image_curvature(likelihood, off, curve), 0.3, 5)
    sampler = Hmc(2, persistence)
    steps = FrozenSteps(torch.tensor([0.95]), 2)
    forward = anneal(path, sampler, steps, streams("forward", images), chains)
    at = path.likelihood.to_frame(made.u.unsqueeze(1)).expand(-1, chains, -1)
    back = anneal_back(path, sampler, steps, streams("back", images), at)
    assert forward.acceptance.mean() < 0.99 and back.acceptance.mean() < 0.99
    for weights in ((forward.log_weight - truth).exp(), (truth - back.log_weight).exp()):
        per_image = weights.mean(dim=1)  # images are independent draws; chains of one image share it
        error = float(per_image.std() / math.sqrt(images))
        assert abs(float(per_image.mean()) - 1) < 3.5 * error
        assert error < 0.04  # else the line above could not fail
        assert weights.std() > 0.1


def test_fifty_seeds_are_below_the_truth_and_cover_it() -> None:
    generator = linear(4, 64)
    fixed = tuned(generator, SIGMA2)
    made = [simulate(generator, streams("images", 2, seed), SIGMA2) for seed in range(50)]
    likelihood = Likelihood(generator, torch.cat([part.image for part in made]), SIGMA2)
    own, back = (Streams([seed_of(k, name, i) for k in range(50) for i in range(2)]) for name in ("chains", "back"))
    exact = Exact(torch.cat([part.u for part in made]), back)
    found = PriorPath(300).estimate(likelihood, fixed.curve, fixed.numbers, own, exact)
    truth = generator.log_density(likelihood.target, SIGMA2)
    assert found.upper is not None
    below, above = found.lower - truth, found.upper - truth
    for over in (below, -above):
        assert -1.5 < over.mean() < 2 * over.std() / 10
        ratio = over.exp()  # unbiased: w / p(x), and p(x) / w of reverse chains
        assert abs(float(ratio.mean()) - 1) < 3.5 * float(ratio.std()) / 10 < 0.6
    assert ((below < 1) & (above > -1)).double().mean() > 0.95


@pytest.mark.parametrize("sampler", ["published", "prior-path"])
def test_more_evaluations_raise_the_estimate_and_close_the_gap(sampler: str) -> None:
    generator = linear(16, 128, condition=30.0)
    (few, _), (many, _) = (_measure(sampler, count, generator, 16) for count in (100, 1000))
    assert few.upper is not None and many.upper is not None
    assert many.lower.mean() > few.lower.mean() + 0.5 and many.upper.mean() < few.upper.mean()
    assert gap_of(many.lower, many.upper).mean < 0.5 * gap_of(few.lower, few.upper).mean


def test_the_laplace_start_is_the_tempered_posterior_where_the_model_is_linear() -> None:
    generator, b0 = linear(6, 32), 0.05
    likelihood, made = simulated(generator, SIGMA2, 4)
    model = model_curvature(generator, made.u, SIGMA2)
    u = polish(likelihood, made.u + 0.5, model, 2)
    mode, _ = generator.tempered(made.image, SIGMA2, 1.0)
    torch.testing.assert_close(u.double(), mode, rtol=0, atol=1e-3)
    path = laplace_path(likelihood, u, image_curvature(likelihood, u, model), b0, 10)
    mean, cov = generator.tempered(made.image, SIGMA2, b0)
    assert path.start is not None
    torch.testing.assert_close(path.likelihood.to_chart(path.start.mean)[:, 0].double(), mean, rtol=0, atol=2e-3)
    Q = path.likelihood.rotation
    assert Q is not None
    torch.testing.assert_close(
        ((Q / path.start.precision) @ Q.mT).double(), cov.expand(4, -1, -1), rtol=1e-3, atol=1e-5
    )
    assert path.temperatures.shape == (11, 4)
    assert path.temperatures[0].tolist() == [0.0] * 4 and path.temperatures[-1].tolist() == [1.0] * 4
    value = path.value(path.draw(streams("q0", 4), 7))
    law = torch.distributions.MultivariateNormal(mean.unsqueeze(1), cov)
    drawn = path.draw(streams("q0", 4), 7)
    torch.testing.assert_close(value.start, law.log_prob(path.likelihood.to_chart(drawn).double()), rtol=0, atol=2e-2)


def test_the_laplace_budget_counts_its_pilot_and_jacobians() -> None:
    generator = linear(16, 64)
    fixed = tuned(generator, SIGMA2)
    likelihood, _ = simulated(generator, SIGMA2, 3)
    found = Laplace(1000).estimate(likelihood, fixed.curve, fixed.numbers, streams("chains", 3))
    assert torch.equal(found.evaluations, likelihood.evaluations)
    assert (found.evaluations <= 4000).all() and (found.evaluations > 3980).all()
    with pytest.raises(UsageError, match=r"350 evaluations per chain leave .* Raise evaluations"):
        wide = simulated(linear(64, 64), SIGMA2, 2)[0]
        Laplace(350).estimate(wide, fixed.curve, fixed.numbers, streams("chains", 2))


@pytest.mark.parametrize("sampler", ["published", "prior-path", "laplace"])
def test_an_image_depends_on_no_other_bit_for_bit(sampler: str) -> None:
    generator = linear(5, 32)
    fixed = tuned(generator, SIGMA2)
    _, made = simulated(generator, SIGMA2, 4)
    other = made.image.clone()
    other[[0, 2, 3]] += 0.7

    def run(images: Tensor, seed: int = 0) -> Estimate:
        own = Likelihood(generator, images, SIGMA2)
        return _estimate(sampler, 500, own, fixed, streams("chains", 4, seed))

    first, second, again, reseeded = run(made.image), run(other), run(made.image), run(made.image, 1)
    assert first.lower[1] == second.lower[1] and (first.lower[[0, 2, 3]] != second.lower[[0, 2, 3]]).all()
    assert torch.equal(first.lower, again.lower)
    assert (first.lower != reseeded.lower).all()


@pytest.mark.parametrize("sampler", ["prior-path", "laplace"])
def test_lower_bounds_are_the_same_with_and_without_upper_ones(sampler: str) -> None:
    generator = linear(5, 32)
    fixed = tuned(generator, SIGMA2)
    likelihood, made = simulated(generator, SIGMA2, 4)
    alone = _estimate(sampler, 500, likelihood, fixed, streams("chains", 4))
    beside = _estimate(sampler, 500, likelihood, fixed, streams("chains", 4), exactly(made))
    assert torch.equal(alone.lower, beside.lower) and alone.upper is None


def test_the_sigmoid_schedule_is_the_published_one(shared: Folder) -> None:
    with np.load(shared / "golden" / "bdmc-vae50" / "results.npz") as file:
        np.testing.assert_allclose(sigmoid_schedule(499).numpy(), file["betas_sigmoid_500"], atol=1e-6)


def test_the_spectral_schedule_is_the_reference_one_and_even_in_length(shared: Folder) -> None:
    with np.load(shared / "golden" / "bdmc-vae50" / "results.npz") as file:
        eigenvalues, reference = torch.from_numpy(file["gn_eig"]), file["betas_spectral_2495"]
    schedule = spectral_schedule(2495, eigenvalues)
    np.testing.assert_allclose(schedule.numpy(), reference, atol=2e-4)
    middle, width = (schedule[1:] + schedule[:-1]) / 2, schedule.diff()
    lam = eigenvalues.double().clamp_min(0)
    lengths = width * (0.5 * (lam / (1 + middle.unsqueeze(1) * lam)).square().sum(dim=1)).sqrt()
    torch.testing.assert_close(lengths, lengths.mean().expand_as(lengths), rtol=0.02, atol=0)
    assert (width > 0).all() and schedule[0] == 0 and schedule[-1] == 1
    torch.testing.assert_close(spectral_schedule(4, torch.zeros(3)), torch.linspace(0, 1, 5).double())


def test_the_best_budget_fits_exactly() -> None:
    assert [intervals_for(count, 10) for count in (4991, 1000, 11, 1)] == [500, 100, 2, 1]


def test_bounds_from_weights() -> None:
    weights = torch.tensor([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(lower_bound(weights.log()).exp(), torch.tensor([2.0, 2.0]).double())
    torch.testing.assert_close(upper_bound(weights.log()).exp(), torch.tensor([1.5, 2.0]).double())
    torch.testing.assert_close(effective_chains(weights.log()), torch.tensor([64 / 20, 4.0]).double())
    far = torch.tensor([[-1e5, -math.inf]], dtype=torch.float64)
    assert lower_bound(far).item() == pytest.approx(-1e5 - math.log(2))


def test_the_mixture_costs_a_tenth_of_a_nat_where_the_start_holds_and_two_where_it_fails() -> None:
    laplace, pilot = torch.tensor([10.0, -500.0]).double(), torch.tensor([4.0, 4.0]).double()
    assert mixed(laplace, pilot).tolist() == pytest.approx([10 + math.log(0.9 + 0.1 * math.exp(-6)), 4 + math.log(0.1)])
    assert (-mixed(-torch.tensor([900.0]), -torch.tensor([12.0]))).item() == pytest.approx(12 - math.log(0.1))


def test_bits_per_dim_of_a_uniform_image_are_minus_eight() -> None:
    assert bits_per_dim(torch.tensor([0.0, 784 * math.log(2)]), 784).tolist() == pytest.approx([-8.0, -7.0])


def test_the_gap_has_an_error_and_quantiles() -> None:
    gap = gap_of(torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, 10.0]))
    assert (
        gap.mean == 4.0 and gap.error == pytest.approx(np.std([1, 2, 3, 10], ddof=1) / 2) and gap.median in (2.0, 2.5)
    )
    assert gap.largest == 10.0 and gap.images == 4
    assert math.isnan(gap_of(torch.zeros(1), torch.ones(1)).error)
    with pytest.raises(EmptySplit, match="simulate at least 1"):
        gap_of(torch.zeros(0), torch.zeros(0))


def test_one_chain_is_refused() -> None:
    for sampler in (Published, PriorPath, Laplace):
        with pytest.raises(UsageError, match="chains is 1; at least 2"):
            sampler(chains=1)


@pytest.mark.parametrize("sigma2", [0.0, -1.0, math.nan, math.inf])
def test_a_noise_variance_that_is_none_is_refused(sigma2: float) -> None:
    generator = linear(2)
    with pytest.raises(UsageError, match="the noise variance per pixel must be above 0"):
        Likelihood(generator, numbers(1, *generator.image), sigma2)
