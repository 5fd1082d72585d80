"""log p(x) in closed form: against scipy, against averages over draws, and what `check` says of a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from preimage.adapters.closed_form.family import Constant, LinearGaussian
from preimage.adapters.composites.per_class import PerClass
from preimage.harness import ImageSpec
from preimage.harness.cards import ModelCard
from preimage.harness.check import Finding, check_model
from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator
from preimage.harness.likelihood_by_draws import against_draws
from preimage.harness.plugins import installed

IMAGE = ImageSpec(1, 3, 4)


def linear(dim: int, seed: int = 0) -> LinearGaussian:
    rng = np.random.default_rng(seed)
    generator = LinearGaussian(dim, IMAGE)
    generator.W += torch.from_numpy(rng.normal(size=(12, dim))).float()
    generator.b += torch.from_numpy(rng.normal(size=12)).float()
    return generator.eval()


def images(n: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((n, *IMAGE))).float()


@pytest.mark.parametrize("dim", [1, 5, 12, 20])
@pytest.mark.parametrize("sigma2", [1e-4, 0.01, 2.0])
def test_a_linear_generator_is_a_normal_law(dim: int, sigma2: float) -> None:
    generator, x = linear(dim), images(7)
    W, b = generator.W.double().numpy(), generator.b.double().numpy()
    law = stats.multivariate_normal(b, W @ W.T + sigma2 * np.eye(12))
    found = generator.log_likelihood(x, sigma2=sigma2)
    assert found.dtype == torch.float64 and found.shape == (7,)
    np.testing.assert_allclose(found.numpy(), law.logpdf(x.flatten(1).double().numpy()), rtol=1e-8)


def test_a_constant_is_noise_about_one_image() -> None:
    generator = Constant(IMAGE)
    generator.mean += images(1)[0]
    x = images(5, seed=2)
    apart = (x - generator.mean).flatten(1).double().numpy()
    wanted = stats.norm(scale=np.sqrt(0.02)).logpdf(apart).sum(axis=1)
    np.testing.assert_allclose(generator.log_likelihood(x, sigma2=0.02).numpy(), wanted, rtol=1e-6)


def test_one_generator_per_class_has_the_law_of_each_label() -> None:
    whole = PerClass([linear(3, 0), linear(3, 5)])
    x, label = images(6), torch.tensor([1, 0, 0, 1, 1, 0])
    found = whole.log_likelihood(x, label, sigma2=0.1)
    for i, y in enumerate(label.tolist()):
        alone = linear(3, 5 if y else 0).log_likelihood(x[i : i + 1], sigma2=0.1)
        assert float(found[i]) == pytest.approx(float(alone), rel=1e-12)
    swapped = whole.log_likelihood(x, 1 - label, sigma2=0.1)
    assert not torch.allclose(found, swapped)
    with pytest.raises(GeneratorError, match="give a label per row"):
        whole.log_likelihood(x, sigma2=0.1)


class Bent(LinearGaussian):
    """One that has no closed form."""

    log_likelihood = Generator.log_likelihood


def test_who_has_one_says_so() -> None:
    assert linear(2).has_log_likelihood and Constant(IMAGE).has_log_likelihood
    bent = Bent(3, IMAGE)
    assert not bent.has_log_likelihood
    assert PerClass([linear(3), linear(3)]).has_log_likelihood
    assert not PerClass([linear(3), bent]).has_log_likelihood
    with pytest.raises(GeneratorError, match="Bent has no likelihood in closed form"):
        bent.log_likelihood(images(1), sigma2=0.1)


def test_averages_over_draws_agree_and_say_how_well() -> None:
    found = against_draws(linear(3), 40, 4000)
    apart = ((found.closed - found.average) / found.error).abs()
    assert float(apart.max()) < 5
    assert 0.5 < float(apart.square().mean().sqrt()) < 2, "the error is the one made"
    assert float(found.error.max()) < 0.5


def verdicts(model: ModelCard) -> dict[str, Finding]:
    return {finding.rule: finding for finding in check_model(model, installed())}


@pytest.mark.parametrize("name", ["ppca", "mean-image", "ppca-per-class"])
def test_the_shipped_ones_are_checked(name: str) -> None:
    assert verdicts(installed().models[name])["likelihood"].verdict == "held"


class Flat(LinearGaussian):
    """Forgets the volume of W."""

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        return super().log_likelihood(image, sigma2=sigma2) + float(torch.linalg.slogdet(self.W.T @ self.W)[1])


class Half(LinearGaussian):
    """Takes sigma2 for a standard deviation."""

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        return super().log_likelihood(image, sigma2=sigma2**2)


class Single(LinearGaussian):
    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        return super().log_likelihood(image, sigma2=sigma2).float()


@pytest.mark.parametrize(
    ("kind", "verdict", "said"),
    [
        (LinearGaussian, "held", "as 4096 prior draws average"),
        (Bent, "skipped", "no likelihood in closed form"),
        (Flat, "broken", "it must be the law of decode(code) + noise of variance sigma2 per pixel"),
        (Half, "broken", "it must be the law of decode(code) + noise of variance sigma2 per pixel"),
        (Single, "broken", "log_likelihood gave (8,) torch.float32; it must be (8,) float64, and finite"),
    ],
)
def test_a_wrong_closed_form_is_told(kind: type[LinearGaussian], verdict: str, said: str, tmp_path: Path) -> None:
    def load(device: object) -> Generator:
        generator = kind(3, IMAGE)
        generator.load_state_dict({name: 0.2 * value for name, value in linear(3).state_dict().items()})
        return generator.eval().requires_grad_(False)

    card = ModelCard("m", "own", "fashion-mnist", IMAGE, 0, load=load)
    found = verdicts(card)["likelihood"]
    assert found.verdict == verdict, found.detail
    assert said in found.detail
