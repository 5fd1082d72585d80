"""The three samplers behind their interface: against closed forms, image by image, at their cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path as Folder
from typing import NamedTuple

import numpy as np
import pytest
import torch
from exact_models import Fixed, Labelled, Linear, exactly, linear, simulated, streams, tuned
from torch import Tensor

from preimage.harness.errors import UsageError
from preimage.harness.generator import Generator
from preimage.harness.samplers.bounds import gap_of
from preimage.harness.samplers.curvature import chart_metric, curvature_of
from preimage.harness.samplers.interface import SHARES, Estimate, Exact, Sampler
from preimage.harness.samplers.laplace import Laplace
from preimage.harness.samplers.likelihood import Likelihood
from preimage.harness.samplers.prior_path import PriorPath
from preimage.harness.samplers.published import Published
from preimage.harness.streams import Streams

SIGMA2 = 0.01
SAMPLERS: dict[str, Callable[[int], Sampler]] = {"published": Published, "prior-path": PriorPath, "laplace": Laplace}
BY_NAME = pytest.mark.parametrize("name", SAMPLERS)


def _estimate(
    name: str, evaluations: int, likelihood: Likelihood, fixed: Fixed, own: Streams, exact: Exact | None = None
) -> Estimate:
    return SAMPLERS[name](evaluations).estimate(likelihood, fixed.curve, fixed.numbers, own, exact)


def _measure(
    name: str, evaluations: int, generator: Generator, images: int, sigma2: float = SIGMA2
) -> tuple[Estimate, Tensor]:
    """Both bounds on simulated images, and the images."""
    likelihood, made = simulated(generator, sigma2, images)
    fixed = tuned(generator, sigma2)
    return _estimate(name, evaluations, likelihood, fixed, streams("chains", images), exactly(made)), made.image


@pytest.mark.parametrize(("dim", "sigma2"), [(1, 0.1), (3, 1e-4), (16, 0.01), (64, 0.01)])
def test_the_default_is_right_on_every_linear_gaussian_model(dim: int, sigma2: float) -> None:
    generator = linear(dim, 128, condition=30.0)
    likelihood, made = simulated(generator, sigma2, 8)
    fixed = tuned(generator, sigma2)
    found = Laplace().estimate(likelihood, fixed.curve, fixed.numbers, streams("chains", 8))
    off = found.lower - generator.log_density(made.image, sigma2)
    assert off.mean().abs() < 0.3 and off.abs().max() < 0.5


class Golden(NamedTuple):
    """The reference model, its noise, images [16, 1, 1, 256] and their exact log p(x), [16]."""

    generator: Linear
    sigma2: float
    x: Tensor
    truth: Tensor


@pytest.fixture(scope="module")
def golden(shared: Folder) -> Golden:
    with np.load(shared / "golden" / "linear-gaussian" / "linear_gaussian.npz") as file:
        found = {name: torch.from_numpy(file[name]) for name in file.files}
    generator = Linear(found["W"], found["b"])
    return Golden(generator, float(found["sigma"]) ** 2, found["x"].reshape(16, 1, 1, 256), found["log_px"])


@pytest.mark.parametrize(("name", "mean", "largest"), [("prior-path", 1.0, 2.5), ("laplace", 0.3, 0.5)])
def test_the_reference_linear_gaussian_model(name: str, mean: float, largest: float, golden: Golden) -> None:
    generator, sigma2, x, truth = golden
    torch.testing.assert_close(generator.log_density(x, sigma2), truth, rtol=1e-6, atol=1e-5)
    off = _estimate(name, 2500, Likelihood(generator, x, sigma2), tuned(generator, sigma2), streams("chains", 16)).lower
    assert (off - truth).mean().abs() < mean and (off - truth).abs().max() < largest


def test_the_published_settings_are_far_off_there(golden: Golden) -> None:
    likelihood = Likelihood(golden.generator, golden.x, golden.sigma2)
    off = Published(4991).estimate(likelihood, None, {}, streams("chains", 16)).lower - golden.truth
    assert -60 < off.mean() < -5


@BY_NAME
@pytest.mark.parametrize(("dim", "sigma2"), [(1, 0.1), (16, 0.01), (64, 0.01)])
def test_the_truth_lies_between_the_bounds(name: str, dim: int, sigma2: float) -> None:
    generator = linear(dim, 128, condition=30.0)
    found, image = _measure(name, 450, generator, 64, sigma2)
    truth = generator.log_density(image, sigma2)
    assert found.upper is not None
    for bound, sign in ((found.lower, 1.0), (found.upper, -1.0)):
        over = sign * (bound - truth)
        assert over.mean() < 3 * over.std() / 8  # standard errors over 64 images
        assert over.max() < 5  # P(w / p(x) > e^5) is below 0.007 for an unbiased w
    assert gap_of(found.lower, found.upper).mean < {"published": 250, "prior-path": 12, "laplace": 3}[name]


@pytest.mark.parametrize("name", ["published", "prior-path"])
def test_more_evaluations_raise_the_estimate_and_close_the_gap(name: str) -> None:
    generator = linear(16, 128, condition=30.0)
    (few, _), (many, _) = (_measure(name, count, generator, 16) for count in (100, 800))
    assert few.upper is not None and many.upper is not None
    assert many.lower.mean() > few.lower.mean() + 0.5 and many.upper.mean() < few.upper.mean()
    assert gap_of(many.lower, many.upper).mean < 0.5 * gap_of(few.lower, few.upper).mean


def test_more_evaluations_close_the_gap_of_a_start_that_is_far_off() -> None:
    generator = linear(16, 128, condition=30.0)
    likelihood, made = simulated(generator, SIGMA2, 16)
    fixed = tuned(generator, SIGMA2)
    hot = fixed.numbers | {"b0": 1e-4}  # nearly the prior
    few, many = (
        Laplace(count, pilot_least=50).estimate(likelihood, fixed.curve, hot, streams("chains", 16), exactly(made))
        for count in (160, 1200)
    )
    assert few.upper is not None and many.upper is not None
    assert many.lower.mean() > few.lower.mean() + 0.5 and many.upper.mean() < few.upper.mean()
    assert gap_of(many.lower, many.upper).mean < 0.5 * gap_of(few.lower, few.upper).mean


@BY_NAME
def test_an_image_depends_on_no_other_bit_for_bit(name: str) -> None:
    generator = linear(5, 32)
    fixed = tuned(generator, SIGMA2)
    _, made = simulated(generator, SIGMA2, 4)
    other = made.image.clone()
    other[[0, 2, 3]] += 0.7

    def run(images: Tensor, seed: int = 0) -> Estimate:
        own = Likelihood(generator, images, SIGMA2)
        return _estimate(name, 450, own, fixed, streams("chains", 4, seed))

    first, second, again, reseeded = run(made.image), run(other), run(made.image), run(made.image, 1)
    for value, beside in zip(first, second, strict=True):
        if value is not None and beside is not None:
            assert torch.equal(value[1], beside[1])
    assert (first.lower[[0, 2, 3]] != second.lower[[0, 2, 3]]).all()
    assert torch.equal(first.lower, again.lower)
    assert (first.lower != reseeded.lower).all()


@BY_NAME
def test_an_estimate_says_how_far_to_believe_it_and_costs_what_was_said(name: str) -> None:
    generator, sampler = linear(5, 32), SAMPLERS[name](450)
    fixed = tuned(generator, SIGMA2)
    likelihood, made = simulated(generator, SIGMA2, 3)
    generator.differentiated = 0
    alone = sampler.estimate(likelihood, fixed.curve, fixed.numbers, streams("chains", 3))
    forward = 64 + 5 if name == "laplace" else 0  # draws, and products with the Jacobian
    assert alone.upper is None and alone.evaluations.tolist() == [sampler.cost(5)] * 3
    assert generator.differentiated == 3 * (sampler.cost(5) - forward)
    assert sampler.cost(5) <= 4 * 450 < sampler.cost(5) + 4 * 12
    beside = sampler.estimate(likelihood, fixed.curve, fixed.numbers, streams("chains", 3), exactly(made))
    assert beside.evaluations.tolist() == [sampler.cost(5, upper=True)] * 3
    assert torch.equal(likelihood.evaluations, alone.evaluations + beside.evaluations)
    for field in ("lower", "acceptance", "profile", "step", "log_weight", "code"):
        assert torch.equal(getattr(alone, field), getattr(beside, field)), field
    assert alone.acceptance.shape == alone.log_weight.shape == (3, 4) and alone.profile.shape == (3, SHARES)
    torch.testing.assert_close(alone.acceptance.mean(dim=1), alone.profile.mean(dim=1), rtol=0.05, atol=0)
    assert (alone.ess >= 1).all() and (alone.ess <= 4).all() and (alone.step > 0).all()
    assert not alone.dead.any() and not alone.non_finite.any() and not alone.borrowed.any()
    found = Likelihood(generator, made.image, SIGMA2)(alone.code.unsqueeze(1))[0][:, 0]
    mode = generator.tempered(made.image, SIGMA2, 1.0)[0].float()
    assert (found > Likelihood(generator, made.image, SIGMA2)(mode.unsqueeze(1))[0][:, 0] - 15).all()


@pytest.mark.parametrize("name", ["prior-path", "laplace"])
def test_tuning_costs_what_was_said_and_gives_numbers_by_name(name: str) -> None:
    generator = linear(5, 32)
    likelihood, made = simulated(generator, SIGMA2, 2)
    sampler: Sampler = PriorPath(100) if name == "prior-path" else Laplace(150, pilot_least=40, b0=(0.1, 0.5))
    curve = tuned(generator, SIGMA2).curve
    found = sampler.tune(likelihood, curve, streams("chains", 2), exactly(made))
    assert int(likelihood.evaluations.sum()) == sampler.tuning_cost(5, 2)
    assert sampler.needs_tuning and sampler.needs_curvature
    assert all(type(value) is float for value in found.values())
    assert [key for key in found if key.startswith("prior_step")] == [f"prior_step_{i:02d}" for i in range(33)]
    assert found.get("b0") in ((0.1, 0.5) if name == "laplace" else (None,))
    assert found.get("share") in ((0.9, 0.99) if name == "laplace" else (None,))


def test_the_published_sampler_needs_nothing_and_tunes_nothing() -> None:
    likelihood, made = simulated(linear(2), SIGMA2, 1)
    sampler = Published()
    assert not sampler.needs_curvature and not sampler.needs_tuning and sampler.tuning_cost(2, 8) == 0
    assert sampler.tune(likelihood, None, streams("chains", 1), exactly(made)) == {}


def test_each_label_has_its_own_curvature() -> None:
    sigma2 = 0.05
    generator = Labelled(linear(3, 16), linear(3, 16, condition=2.0, seed=9))
    metrics = [chart_metric(generator, torch.zeros(1, 3), torch.tensor([k])).matrix for k in (0, 1)]
    label = torch.tensor([1, 0, 1])
    images = torch.cat([generator.decode(torch.full((1, 3), 0.4), label[i : i + 1]) for i in range(3)])
    numbers = tuned(linear(3, 16), sigma2).numbers
    sampler = Laplace(300, pilot_least=100)

    def run(chosen: Tensor) -> Estimate:
        likelihood = Likelihood(generator, images[chosen], sigma2, label[chosen])
        curve = curvature_of(torch.stack(metrics), 16, sigma2, label[chosen])
        return sampler.estimate(likelihood, curve, numbers, streams("chains", 3).select(chosen))

    together = run(torch.arange(3))
    for i in range(3):
        torch.testing.assert_close(run(torch.tensor([i])).lower[0], together.lower[i], rtol=0, atol=1e-3)
        truth = generator.parts[label[i]].log_density(images[i : i + 1], sigma2)
        assert abs(float(together.lower[i] - truth)) < 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *[(lambda s=s: s(chains=1), "chains is 1; at least 2") for s in (Published, PriorPath, Laplace)],
        *[(lambda s=s: s(leapfrogs=0), "leapfrogs is 0") for s in (Published, PriorPath, Laplace)],
        *[(lambda s=s: s(evaluations=2), "evaluations is 2; a chain with") for s in (Published, PriorPath, Laplace)],
        *[(lambda s=s: s(persistence=1.0), "persistence is 1.0") for s in (PriorPath, Laplace)],
        *[(lambda s=s: s(acceptance=1.0), "acceptance is 1.0; it must be above 0") for s in (PriorPath, Laplace)],
        (lambda: Laplace(b0=(0.1, 1.0)), "b0 is 1.0; it must be above 0"),
        (lambda: Laplace(b0=()), "b0 is empty"),
        (lambda: Laplace(share=(0.0,)), "share is 0.0; it must be above 0"),
        (lambda: Laplace(share=()), r"share is empty; .*share=\[0.9\]"),
        (lambda: Laplace(pilot=math.nan), "pilot is nan"),
        (lambda: Laplace(pilot_least=1), "evaluations is 1"),
        (lambda: Laplace(blend=1.5), "blend is 1.5"),
        (lambda: Laplace(search=1.0), "search is 1.0; it must be above 0"),
        (lambda: Laplace(heat=0.0), "heat is 0.0; it multiplies sigma2"),
        (lambda: Laplace(starts=65), "draws, starts and kept are 64, 65 and 2; each is at most the one before it"),
        (lambda: Laplace(kept=3, chains=2), r"kept at least 1 and at most chains \(2\)"),
        (lambda: Laplace(350).cost(64), r"350 evaluations per chain leave .* Raise evaluations"),
    ],
)
def test_settings_that_cannot_be_meant(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("sampler", [PriorPath(100), Laplace(400)], ids=lambda s: s.name)
def test_what_is_missing_is_told(sampler: Sampler) -> None:
    likelihood, _ = simulated(linear(2), SIGMA2, 1)
    fixed = tuned(linear(5, 32), SIGMA2)
    with pytest.raises(UsageError, match=r"works in the model's curvature, and none was given"):
        sampler.estimate(likelihood, None, fixed.numbers, streams("chains", 1))
    with pytest.raises(UsageError, match=r"lack 'prior_step_00' .*tune the sampler on this model first"):
        sampler.estimate(likelihood, fixed.curve, {}, streams("chains", 1))


@pytest.mark.parametrize("sigma2", [0.0, -1.0, math.nan, math.inf])
def test_a_noise_variance_that_is_none_is_refused(sigma2: float) -> None:
    generator = linear(2)
    with pytest.raises(UsageError, match="the noise variance per pixel must be above 0"):
        Likelihood(generator, torch.zeros(1, *generator.image), sigma2)
